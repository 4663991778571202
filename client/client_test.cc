// The client against a small coordinator of its own kind: what it sends, and what it makes of lost
// connections and of errors.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "haul/client.h"
#include "haul/v1/cluster.grpc.pb.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

grpc::Status CheckToken(grpc::ServerContext* context) {
  const auto [begin, end] = context->client_metadata().equal_range("authorization");
  if (begin != end && begin->second == "Bearer secret") return grpc::Status::OK;
  return {grpc::StatusCode::UNAUTHENTICATED, "the token is wrong"};
}

class FakeCluster : public v1::Cluster::Service {
 public:
  grpc::Status Info(grpc::ServerContext* context, const v1::InfoRequest*,
                    v1::InfoReply* reply) override {
    reply->set_version("fake");
    reply->set_resident_bytes(4096);
    return CheckToken(context);
  }
};

// Accepts jobs, counting what arrives, and tells the outcomes of job 7: tasks 0 to 9, one a
// message.
class FakeJobs : public v1::Jobs::Service {
 public:
  grpc::Status Submit(grpc::ServerContext* context, grpc::ServerReader<v1::SubmitRequest>* reader,
                      v1::SubmitReply* reply) override {
    v1::SubmitRequest request;
    std::string request_id;
    std::uint64_t inputs = 0;
    bool complete = false;
    while (reader->Read(&request)) {
      const std::lock_guard lock(mutex_);
      if (request.has_spec()) {
        spec_ = request.spec();
        request_id = request.request_id();
      }
      inputs += request.input_count();
      complete = request.complete();
      largest_message_bytes_ = std::max(largest_message_bytes_, request.ByteSizeLong());
    }
    if (context->IsCancelled() || !complete) return grpc::Status::CANCELLED;
    const std::lock_guard lock(mutex_);
    request_ids_.push_back(request_id);
    inputs_.push_back(inputs);
    if (submits_to_break_-- > 0) return {grpc::StatusCode::UNAVAILABLE, "broken"};
    if (!submit_error_.ok()) return submit_error_;
    reply->set_job_id(7);
    reply->set_already_accepted(request_ids_.size() > 1);
    return grpc::Status::OK;
  }

  grpc::Status Follow(grpc::ServerContext* context, const v1::FollowRequest* request,
                      grpc::ServerWriter<v1::FollowReply>* writer) override {
    if (request->job().by_case() == v1::JobSelector::kName && request->job().name() != "seven") {
      return {grpc::StatusCode::NOT_FOUND, "no job of that name"};
    }
    {
      const std::lock_guard lock(mutex_);
      follows_.push_back(*request);
    }
    constexpr std::uint64_t kTasks = 10;
    for (std::uint64_t task = request->cursor(); task < kTasks && !request->status_only(); ++task) {
      v1::FollowReply reply;
      v1::Outcome* outcome = reply.add_outcomes();
      outcome->set_first(task);
      outcome->set_count(1);
      outcome->set_status(v1::TASK_STATUS_SUCCEEDED);
      outcome->mutable_results()->set_data(std::to_string(task));
      outcome->mutable_results()->set_uniform_size(1);
      reply.set_cursor(task + 1);
      if (task == request->cursor()) FillStatus(reply.mutable_status(), false);
      writer->Write(reply);
      const std::lock_guard lock(mutex_);
      if (follows_to_break_ > 0 && (task + 1) % 3 == 0) {
        --follows_to_break_;
        return {grpc::StatusCode::UNAVAILABLE, "broken"};
      }
    }
    v1::FollowReply last;
    FillStatus(last.mutable_status(), !endless_);
    writer->Write(last);
    while (endless_ && !context->IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return grpc::Status::OK;
  }

  grpc::Status FetchOutput(grpc::ServerContext*, const v1::FetchOutputRequest* request,
                           grpc::ServerWriter<v1::OutputPiece>* writer) override {
    const std::string output = "0123456789";
    for (std::size_t at = request->offset(); at < output.size(); at += 2) {
      v1::OutputPiece piece;
      piece.set_data(output.substr(at, 2));
      writer->Write(piece);
      const std::lock_guard lock(mutex_);
      if (fetches_to_break_-- > 0) return {grpc::StatusCode::UNAVAILABLE, "broken"};
    }
    return grpc::Status::OK;
  }

  grpc::Status Get(grpc::ServerContext*, const v1::GetJobRequest* request,
                   v1::JobStatus* reply) override {
    FillStatus(reply, !endless_);
    if (request->job().by_case() != v1::JobSelector::kJobId) reply->set_job_id(8);
    return grpc::Status::OK;
  }

  grpc::Status Cancel(grpc::ServerContext*, const v1::CancelJobRequest* request,
                      v1::JobStatus* reply) override {
    std::unique_lock lock(mutex_);
    cancels_.push_back(*request);
    cancelled_.notify_all();
    const auto together = [this] { return cancels_.size() >= cancels_together_; };
    if (!cancelled_.wait_for(lock, std::chrono::seconds(20), together)) {
      return {grpc::StatusCode::INTERNAL, "it came alone"};
    }
    if (cancels_to_break_-- > 0) return {grpc::StatusCode::UNAVAILABLE, "broken"};
    if (request->job().job_id() == kNoJob) return {grpc::StatusCode::NOT_FOUND, "no such job"};
    if (request->job().job_id() == kBadJob) return {grpc::StatusCode::INTERNAL, "a bad job"};
    FillStatus(reply, false);
    return grpc::Status::OK;
  }

  static void FillStatus(v1::JobStatus* status, bool ended) {
    status->set_job_id(7);
    status->set_state(ended ? v1::JOB_STATE_SUCCEEDED : v1::JOB_STATE_RUNNING);
    status->mutable_spec()->set_task_count(10);
  }

  std::mutex mutex_;
  v1::JobSpec spec_;
  std::vector<std::string> request_ids_;
  std::vector<std::uint64_t> inputs_;
  std::vector<v1::FollowRequest> follows_;
  static constexpr std::uint64_t kNoJob = 404;
  static constexpr std::uint64_t kBadJob = 500;
  std::vector<v1::CancelJobRequest> cancels_;
  std::condition_variable cancelled_;
  std::size_t cancels_together_ = 0;  // none is answered before so many have come
  std::size_t largest_message_bytes_ = 0;
  int submits_to_break_ = 0;
  int follows_to_break_ = 0;
  int fetches_to_break_ = 0;
  int cancels_to_break_ = 0;
  grpc::Status submit_error_;
  bool endless_ = false;
};

// As many distinct values as asked for; can be rewound unless it says otherwise.
class CountingSource : public InputSource {
 public:
  explicit CountingSource(std::uint64_t count, bool can_rewind = true)
      : count_(count), can_rewind_(can_rewind) {}
  bool Next(std::string* value) override {
    if (next_ == count_) return false;
    *value = "input " + std::to_string(next_++);
    return true;
  }
  bool Rewind() override {
    if (can_rewind_) next_ = 0;
    return can_rewind_;
  }

 private:
  const std::uint64_t count_;
  const bool can_rewind_;
  std::uint64_t next_ = 0;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&jobs_);
    builder.RegisterService(&cluster_);
    server_ = builder.BuildAndStart();
    options_.coordinator = "127.0.0.1:" + std::to_string(port);
    options_.token = "secret";
    options_.reconnect_timeout = std::chrono::seconds(30);
  }

  std::unique_ptr<Client> Connect() {
    Result<std::unique_ptr<Client>> client = Client::Connect(options_);
    EXPECT_TRUE(client.ok()) << client.status().message();
    return *std::move(client);
  }

  FakeJobs jobs_;
  FakeCluster cluster_;
  std::unique_ptr<grpc::Server> server_;
  ConnectOptions options_;
};

JobSpec Echo() {
  JobSpec spec;
  spec.work =
      Command{.arguments = {"echo", "{}"}, .environment = {{"A", "1"}}, .directory = "/tmp"};
  return spec;
}

TEST_F(ClientTest, NobodyThereIsUnreachable) {
  server_->Shutdown();
  server_.reset();
  options_.timeout = std::chrono::milliseconds(200);
  const Status status = Client::Connect(options_).status();
  EXPECT_EQ(status.kind(), ErrorKind::kUnreachable);
  EXPECT_THAT(status.message(), HasSubstr(options_.coordinator));
}

TEST_F(ClientTest, AWrongTokenIsRefusedAtOnce) {
  options_.token = "guess";
  const Status status = Client::Connect(options_).status();
  EXPECT_EQ(status.kind(), ErrorKind::kRefused);
  EXPECT_THAT(status.message(), HasSubstr("--token-file"));
}

TEST_F(ClientTest, ManyInputsGoInBoundedMessages) {
  CountingSource inputs(200'000);
  const Result<Submitted> job = Connect()->Submit(Echo(), inputs);
  ASSERT_TRUE(job.ok()) << job.status().message();
  EXPECT_EQ(job->job.value, 7u);
  EXPECT_FALSE(job->already_accepted);
  EXPECT_THAT(jobs_.inputs_, ElementsAre(200'000u));
  EXPECT_LT(jobs_.largest_message_bytes_, 1u << 20);
  EXPECT_EQ(jobs_.spec_.command().arguments(1), "{}");
  EXPECT_EQ(jobs_.spec_.command().environment(0).name(), "A");
  EXPECT_EQ(jobs_.spec_.task_count(), 0u);
}

TEST_F(ClientTest, EverySubmitHasARequestIdOfItsOwn) {
  constexpr std::size_t kSubmits = 20;
  const auto client = Connect();
  for (std::size_t i = 0; i < kSubmits; ++i) {
    CountingSource inputs(1);
    ASSERT_TRUE(client->Submit(Echo(), inputs).ok());
  }
  const std::set<std::string> distinct(jobs_.request_ids_.begin(), jobs_.request_ids_.end());
  EXPECT_EQ(distinct.size(), kSubmits);
  // 128 random bits of this process, and a number.
  for (const std::string& id : distinct) EXPECT_GT(id.size(), 33u);
}

TEST_F(ClientTest, AnArrayIsOneMessageWithoutInputs) {
  JobSpec spec = Echo();
  spec.array = Array{.start = 5, .step = 2, .count = 10'000'000};
  ASSERT_TRUE(Connect()->Submit(spec).ok());
  EXPECT_EQ(jobs_.spec_.task_count(), 10'000'000u);
  EXPECT_EQ(jobs_.spec_.array().step(), 2);
  EXPECT_THAT(jobs_.inputs_, ElementsAre(0u));
}

TEST_F(ClientTest, ABrokenSubmitIsRepeatedUnderItsRequestId) {
  jobs_.submits_to_break_ = 1;
  CountingSource inputs(10);
  const Result<Submitted> job = Connect()->Submit(Echo(), inputs);
  ASSERT_TRUE(job.ok()) << job.status().message();
  EXPECT_TRUE(job->already_accepted);
  ASSERT_EQ(jobs_.request_ids_.size(), 2u);
  EXPECT_EQ(jobs_.request_ids_[0], jobs_.request_ids_[1]);
  EXPECT_THAT(jobs_.inputs_, ElementsAre(10u, 10u));
}

TEST_F(ClientTest, ABrokenSubmitOfAPipeSaysThatItIsInDoubt) {
  jobs_.submits_to_break_ = 1;
  CountingSource inputs(10, /*can_rewind=*/false);
  const Status status = Connect()->Submit(Echo(), inputs, "mine").status();
  EXPECT_EQ(status.kind(), ErrorKind::kUnreachable);
  EXPECT_THAT(status.message(), HasSubstr("request id mine"));
  EXPECT_EQ(jobs_.request_ids_.size(), 1u);
}

TEST_F(ClientTest, WhatTheCoordinatorRefusesHasItsKind) {
  const std::unique_ptr<Client> client = Connect();
  jobs_.submit_error_ = {grpc::StatusCode::INVALID_ARGUMENT, "cpus: 9000, at most 8"};
  EXPECT_EQ(client->Submit(Echo()).status().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(client->Submit(Echo()).status().message(), "cpus: 9000, at most 8");
  jobs_.submit_error_ = {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many jobs"};
  EXPECT_EQ(client->Submit(Echo()).status().kind(), ErrorKind::kRefused);
}

TEST_F(ClientTest, NoInputsAtAllAndAHugeOneAreInvalid) {
  const std::unique_ptr<Client> client = Connect();
  CountingSource none(0);
  EXPECT_EQ(client->Submit(Echo(), none).status().kind(), ErrorKind::kInvalid);
  ListSource huge({"fine", std::string(100 << 20, 'x')});
  const Status status = client->Submit(Echo(), huge).status();
  EXPECT_EQ(status.kind(), ErrorKind::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("value 2 has 104857600 bytes"));
  EXPECT_THAT(jobs_.request_ids_, ElementsAre());
}

TEST_F(ClientTest, FollowGoesOnWhereItsConnectionBroke) {
  jobs_.follows_to_break_ = 2;
  std::string seen;
  std::optional<JobStatus> last;
  int losses = 0;
  FollowOptions options;
  options.on_connection_lost = [&losses](const Status&) { ++losses; };
  const Status status =
      Connect()->Follow(JobRef::Named("seven"), options, [&](FollowUpdate& update) {
        for (const Outcome& outcome : update.outcomes) seen += outcome.results[0];
        if (update.status.has_value()) last = update.status;
        return true;
      });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(seen, "0123456789");
  EXPECT_TRUE(last->ended());
  EXPECT_EQ(losses, 2);
  ASSERT_EQ(jobs_.follows_.size(), 3u);
  EXPECT_EQ(jobs_.follows_[1].cursor(), 3u);
  EXPECT_EQ(jobs_.follows_[1].job().job_id(), 7u) << "a name may mean another job by now";
}

TEST_F(ClientTest, FollowEndsWhenTheCallbackOrTheTokenSaysSo) {
  jobs_.endless_ = true;
  const std::unique_ptr<Client> client = Connect();
  int updates = 0;
  EXPECT_EQ(client->Follow(JobId{7}, {}, [&](FollowUpdate&) { return ++updates < 4; }).kind(),
            ErrorKind::kStopped);
  EXPECT_EQ(updates, 4);

  std::stop_source stop;
  const Status status = client->Follow(
      JobId{7}, {},
      [&stop](FollowUpdate& update) {
        if (update.outcomes.empty()) stop.request_stop();
        return true;
      },
      stop.get_token());
  EXPECT_EQ(status.kind(), ErrorKind::kStopped);
}

TEST_F(ClientTest, AnUnknownJobIsNotFound) {
  const Status status =
      Connect()->Follow(JobRef::Named("eight"), {}, [](FollowUpdate&) { return true; });
  EXPECT_EQ(status.kind(), ErrorKind::kNotFound);
}

TEST_F(ClientTest, TasksToCancelAreNamedAndNoneIsNotAll) {
  const std::unique_ptr<Client> client = Connect();
  EXPECT_TRUE(client->CancelTasks(JobId{7}, {{3, 2}, {9, 1}}).ok());
  ASSERT_EQ(jobs_.cancels_.size(), 1u);
  ASSERT_EQ(jobs_.cancels_[0].tasks_size(), 2);
  EXPECT_EQ(jobs_.cancels_[0].tasks(0).first(), 3u);
  EXPECT_EQ(jobs_.cancels_[0].tasks(0).count(), 2u);
  EXPECT_EQ(client->CancelTasks(JobId{7}, {}).status().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(jobs_.cancels_.size(), 1u);
  EXPECT_TRUE(client->Cancel(JobId{7}).ok());
  EXPECT_EQ(jobs_.cancels_.back().tasks_size(), 0);
}

TEST_F(ClientTest, ManyJobsAreCancelledSomeAtOnceAndAgainWhereTheConnectionBreaks) {
  jobs_.cancels_together_ = 8;
  jobs_.cancels_to_break_ = 10;
  std::vector<JobId> jobs;
  std::set<std::uint64_t> expected;
  for (std::uint64_t id = 1; id <= 100; ++id) {
    jobs.push_back(JobId{id});
    expected.insert(id);
  }
  const Status status = Connect()->CancelJobs(jobs);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(jobs_.cancels_.size(), 110u);
  std::set<std::uint64_t> cancelled;
  for (const v1::CancelJobRequest& request : jobs_.cancels_) {
    cancelled.insert(request.job().job_id());
    EXPECT_EQ(request.tasks_size(), 0);
  }
  EXPECT_EQ(cancelled, expected);
}

TEST_F(ClientTest, AJobThatCannotBeCancelledLeavesTheOthersTheirTurn) {
  const std::unique_ptr<Client> client = Connect();
  EXPECT_TRUE(client->CancelJobs({JobId{FakeJobs::kNoJob}}).ok()) << "it is over anyway";
  std::vector<JobId> jobs(100, JobId{7});
  jobs.back() = JobId{FakeJobs::kBadJob};
  EXPECT_THAT(client->CancelJobs(jobs).message(), HasSubstr("a bad job"));
  EXPECT_EQ(jobs_.cancels_.size(), 101u);
}

TEST_F(ClientTest, WaitEndsWithTheJobOrAtItsTimeout) {
  const std::unique_ptr<Client> client = Connect();
  EXPECT_TRUE(client->Wait(JobId{7})->ended());
  jobs_.endless_ = true;
  EXPECT_FALSE(client->Wait(JobId{7}, std::chrono::milliseconds(20))->ended());
}

TEST_F(ClientTest, WaitTellsAtItsTimeoutOfTheJobThatItWaitedFor) {
  jobs_.endless_ = true;  // and a job 8 has its name by now
  const std::unique_ptr<Client> client = Connect();
  std::uint64_t told_of = 0;
  // Long enough that it has heard which job that is.
  for (int ms = 20; told_of != 7 && ms < 5'000; ms *= 2) {
    told_of = client->Wait(JobRef::Named("seven"), std::chrono::milliseconds(ms))->id.value;
  }
  EXPECT_EQ(told_of, 7u);
}

TEST_F(ClientTest, AnOutputIsFetchedInOnePieceOverBrokenConnections) {
  jobs_.fetches_to_break_ = 2;
  std::string output;
  const Status status = Connect()->FetchOutput(JobId{7}, "0.out", [&](std::string_view piece) {
    output += piece;
    return true;
  });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(output, "0123456789");
}

TEST_F(ClientTest, ACoordinatorThatDiesIsUnreachableAfterTheTimeGiven) {
  options_.reconnect_timeout = std::chrono::milliseconds(150);
  const std::unique_ptr<Client> client = Connect();
  server_->Shutdown();
  server_.reset();
  EXPECT_EQ(client->Info().status().kind(), ErrorKind::kUnreachable);
  EXPECT_EQ(client->Follow(JobId{7}, {}, [](FollowUpdate&) { return true; }).kind(),
            ErrorKind::kUnreachable);
}

}  // namespace
}  // namespace haul::client
