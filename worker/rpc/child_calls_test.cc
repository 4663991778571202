// What tasks call, against a coordinator of the test's own, over loopback.
#include "worker/rpc/child_calls.h"

#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/time.h"
#include "haul/v1/cluster.grpc.pb.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::worker {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kLimitUs = 30'000'000;
constexpr ExecutorId kExecutor(1);

class SilentCluster final : public v1::Cluster::Service {
 public:
  grpc::Status Info(grpc::ServerContext*, const v1::InfoRequest*, v1::InfoReply*) override {
    return grpc::Status::OK;
  }
};

// Takes jobs and ends them as the test says. Its handlers run on gRPC's threads.
class FakeJobs final : public v1::Jobs::Service {
 public:
  grpc::Status Submit(grpc::ServerContext*, grpc::ServerReader<v1::SubmitRequest>* reader,
                      v1::SubmitReply* reply) override {
    v1::SubmitRequest request;
    std::optional<v1::JobSpec> spec;
    while (reader->Read(&request)) {
      if (request.has_spec()) spec = request.spec();
    }
    const absl::MutexLock lock(&mutex);
    if (!submit_error.ok()) return submit_error;
    reply->set_job_id(++last_job);
    specs[last_job] = spec.value_or(v1::JobSpec());
    return grpc::Status::OK;
  }

  grpc::Status Extend(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ExtendReply, v1::ExtendRequest>* stream) override {
    std::uint64_t job = 0;
    std::uint64_t task_count = 0;
    for (v1::ExtendRequest request; stream->Read(&request);) {
      if (job == 0) job = request.job_id();
      task_count = std::max(task_count, request.first() + request.input_count());
      {
        const absl::MutexLock lock(&mutex);
        if (task_count > 0) called.insert(job);
      }
      v1::ExtendReply reply;
      reply.set_task_count(task_count);
      reply.set_open(true);
      stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  // Until there is an outcome for it.
  grpc::Status Follow(grpc::ServerContext* context, const v1::FollowRequest* request,
                      grpc::ServerWriter<v1::FollowReply>* writer) override {
    while (!context->IsCancelled()) {
      const absl::MutexLock lock(&mutex);
      const auto has_one = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
        return outcomes.contains(request->job().job_id());
      };
      if (!mutex.AwaitWithTimeout(absl::Condition(&has_one), absl::Milliseconds(2))) continue;
      v1::FollowReply reply;
      *reply.add_outcomes() = outcomes.at(request->job().job_id());
      writer->Write(reply);
      break;
    }
    return grpc::Status::OK;
  }

  grpc::Status Cancel(grpc::ServerContext*, const v1::CancelJobRequest* request,
                      v1::JobStatus*) override {
    const absl::MutexLock lock(&mutex);
    cancelled.insert(request->job().job_id());
    return grpc::Status::OK;
  }

  absl::Mutex mutex;
  grpc::Status submit_error ABSL_GUARDED_BY(mutex);
  std::map<std::uint64_t, v1::Outcome> outcomes ABSL_GUARDED_BY(mutex);  // by job
  // What came.
  std::uint64_t last_job ABSL_GUARDED_BY(mutex) = 0;
  std::map<std::uint64_t, v1::JobSpec> specs ABSL_GUARDED_BY(mutex);
  std::set<std::uint64_t> called ABSL_GUARDED_BY(mutex);  // jobs that have a task
  std::set<std::uint64_t> cancelled ABSL_GUARDED_BY(mutex);
};

class ChildCallsTest : public ::testing::Test, public ChildCallListener {
 protected:
  ChildCallsTest() {
    StartServer();
    calls_.emplace(reactor_, absl::StrCat("127.0.0.1:", port_), "a-token");
    calls_->SetListener(this);
  }
  ~ChildCallsTest() override {
    calls_.reset();  // before the server: it would wait for it otherwise
    StopServer();
  }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&jobs_);
    builder.RegisterService(&cluster_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void StopServer() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  void Call(std::uint64_t task, std::string arguments = "") {
    v1::ChildCall call;
    call.set_assignment_id(5);
    call.set_task(task);
    call.set_number(1);
    call.set_function("f");
    call.set_signature("()");
    call.set_arguments(std::move(arguments));
    calls_->Call(kExecutor, JobId(9), spec_, std::move(call));
  }
  // Tasks with a call each that the coordinator has; the jobs are 1, 2 and so on.
  void CallFromTasks(std::uint64_t count) {
    for (std::uint64_t task = 0; task < count; ++task) Call(task);
    Until([&] { return Of(&FakeJobs::called).size() == count; });
  }
  void OnChildAnswer(ExecutorId executor, v1::ChildAnswer answer) override {
    EXPECT_EQ(executor, kExecutor);
    answers_[answer.task()] = std::move(answer);
  }
  const v1::ChildAnswer& AnswerTo(std::uint64_t task) {
    Until([&] { return answers_.contains(task); });
    return answers_[task];
  }

  void Until(const std::function<bool()>& holds) {
    const std::int64_t limit_us = ReadClocks().monotonic_us + kLimitUs;
    while (!holds()) {
      const std::int64_t now_us = ReadClocks().monotonic_us;
      ASSERT_LT(now_us, limit_us) << "waited in vain";
      reactor_.RunOnce(now_us + 5'000);
    }
  }
  template <typename T>
  T Of(T FakeJobs::*member) {
    const absl::MutexLock lock(&jobs_.mutex);
    return jobs_.*member;
  }

  FakeJobs jobs_;
  SilentCluster cluster_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  exec::Reactor reactor_;
  v1::JobSpec spec_;
  std::optional<ChildCalls> calls_;
  std::map<std::uint64_t, v1::ChildAnswer> answers_;  // by task
};

v1::Outcome Ended(v1::TaskStatus status, v1::Cause cause, std::string message) {
  v1::Outcome outcome;
  outcome.set_count(1);
  outcome.set_status(status);
  outcome.set_cause(cause);
  outcome.set_message(std::move(message));
  return outcome;
}

TEST_F(ChildCallsTest, ACallIsAJobLikeItsParentsAndItsResultTheAnswer) {
  spec_.set_priority(3);
  spec_.set_volatile_job(true);
  v1::Outcome outcome = Ended(v1::TASK_STATUS_SUCCEEDED, v1::CAUSE_UNSPECIFIED, "");
  outcome.mutable_results()->set_data("forty-two");
  outcome.mutable_results()->set_uniform_size(9);
  {
    const absl::MutexLock lock(&jobs_.mutex);
    jobs_.outcomes[1] = outcome;
  }
  Call(2);
  EXPECT_EQ(AnswerTo(2).status(), v1::ChildAnswer::STATUS_RESULT);
  EXPECT_EQ(AnswerTo(2).data(), "forty-two");
  EXPECT_EQ(AnswerTo(2).assignment_id(), 5u);
  EXPECT_EQ(AnswerTo(2).number(), 1u);
  const v1::JobSpec spec = Of(&FakeJobs::specs).at(1);
  EXPECT_EQ(spec.parent().assignment_id(), 5u);
  EXPECT_EQ(spec.parent().job_id(), 9u);
  EXPECT_EQ(spec.parent().task(), 2u);
  EXPECT_EQ(spec.priority(), 3);
  EXPECT_TRUE(spec.volatile_job());
}

TEST_F(ChildCallsTest, ACallThatFailsIsAnsweredByHowItDid) {
  v1::Outcome senseless = Ended(v1::TASK_STATUS_SUCCEEDED, v1::CAUSE_UNSPECIFIED, "");
  senseless.mutable_results()->set_data("seven");
  senseless.mutable_results()->set_uniform_size(7);
  const std::vector<std::pair<v1::Outcome, v1::ChildAnswer::Status>> ends = {
      {Ended(v1::TASK_STATUS_FAILED, v1::CAUSE_FUNCTION_ERROR, "it threw"),
       v1::ChildAnswer::STATUS_FAILED},
      {Ended(v1::TASK_STATUS_FAILED, v1::CAUSE_OUTPUT_LIMIT, "too much"),
       v1::ChildAnswer::STATUS_FAILED},
      {Ended(v1::TASK_STATUS_FAILED, v1::CAUSE_SIGNAL, "it crashed"),
       v1::ChildAnswer::STATUS_CRASHED},
      {Ended(v1::TASK_STATUS_FAILED, v1::CAUSE_TIMEOUT, "too long"),
       v1::ChildAnswer::STATUS_TIMED_OUT},
      {Ended(v1::TASK_STATUS_CANCELLED, v1::CAUSE_CANCELLED, "by somebody"),
       v1::ChildAnswer::STATUS_CANCELLED},
      {Ended(v1::TASK_STATUS_LOST, v1::CAUSE_WORKER_LOST, "gone"), v1::ChildAnswer::STATUS_LOST},
      {senseless, v1::ChildAnswer::STATUS_REFUSED},
      {Ended(v1::TASK_STATUS_UNSPECIFIED, v1::CAUSE_UNSPECIFIED, ""),
       v1::ChildAnswer::STATUS_REFUSED},
  };
  {
    const absl::MutexLock lock(&jobs_.mutex);
    for (std::size_t i = 0; i < ends.size(); ++i) jobs_.outcomes[i + 1] = ends[i].first;
  }
  for (std::uint64_t task = 0; task < ends.size(); ++task) {
    SCOPED_TRACE(task);
    Call(task);
    EXPECT_EQ(AnswerTo(task).status(), ends[task].second) << AnswerTo(task).data();
    EXPECT_THAT(AnswerTo(task).data(), HasSubstr(ends[task].first.message()));
    EXPECT_FALSE(AnswerTo(task).data().empty());
  }
}

TEST_F(ChildCallsTest, WhatCannotBeSubmittedIsRefusedAndTheNextCallGoesOn) {
  {
    const absl::MutexLock lock(&jobs_.mutex);
    jobs_.submit_error = {grpc::StatusCode::INVALID_ARGUMENT, "function: no worker serves f"};
  }
  Call(0);
  EXPECT_EQ(AnswerTo(0).status(), v1::ChildAnswer::STATUS_REFUSED);
  EXPECT_THAT(AnswerTo(0).data(), HasSubstr("no worker serves f"));
  {
    const absl::MutexLock lock(&jobs_.mutex);
    jobs_.submit_error = {};
  }
  Call(1, std::string((128 << 10) + 1, 'x'));
  EXPECT_EQ(AnswerTo(1).status(), v1::ChildAnswer::STATUS_REFUSED);
  EXPECT_THAT(AnswerTo(1).data(), HasSubstr("arguments of f: 131073 bytes are over the limit"));
  Call(2);
  Until([&] { return Of(&FakeJobs::called).size() == 1; });
}

TEST_F(ChildCallsTest, WhatTasksOfADeadExecutorCalledIsCancelled) {
  CallFromTasks(3);
  calls_->EndExecutor(ExecutorId(2));  // another
  calls_->EndTasks(kExecutor, AssignmentId(5), {1, 1});
  calls_->EndExecutor(kExecutor);
  const std::uint64_t of_the_task_that_had_ended = 2;
  Until([&] { return Of(&FakeJobs::cancelled).size() == 2; });
  EXPECT_FALSE(Of(&FakeJobs::cancelled).contains(of_the_task_that_had_ended));
}

TEST_F(ChildCallsTest, WhileTheCoordinatorIsAwayItIsCancelledWhenItIsBack) {
  CallFromTasks(40);
  StopServer();
  calls_->EndExecutor(kExecutor);
  // Not before its calls are given up is it asked to cancel.
  Until([&] { return answers_.size() == 40; });
  EXPECT_TRUE(Of(&FakeJobs::cancelled).empty());
  StartServer();
  Until([&] { return Of(&FakeJobs::cancelled).size() == 40; });
  Call(50);
  Until([&] { return Of(&FakeJobs::last_job) == 41; });
}

TEST_F(ChildCallsTest, TheEndOfTheWorkerDoesNotWaitForACoordinatorThatIsAway) {
  CallFromTasks(3);
  StopServer();
  calls_->EndExecutor(kExecutor);
  Until([&] { return answers_.size() == 3; });
  calls_.reset();  // or this would take a year
}

}  // namespace
}  // namespace haul::worker
