// Executors against a job that goes as the test wants it to: what is cancelled, abandoned and
// terminated while nobody answers, or somebody does not answer well.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "haul/executor.h"
#include "haul/v1/cluster.grpc.pb.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul {
namespace {

// How many threads this one may still start.
constexpr int kAnyNumber = -1;
thread_local int threads_to_start = kAnyNumber;

}  // namespace
}  // namespace haul

// Every std::thread that our code starts, as the linker's --wrap gives it (CMakeLists.txt): gRPC's
// are not among them.
#define HAUL_START_THREAD(prefix) \
  prefix##_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE
// NOLINTBEGIN(bugprone-reserved-identifier)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {
void HAUL_START_THREAD(__real_)(void* thread, void* state, void (*depend)());
void HAUL_START_THREAD(__wrap_)(void* thread, void* state, void (*depend)()) {
  if (haul::threads_to_start == 0) {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  }
  if (haul::threads_to_start > 0) --haul::threads_to_start;
  HAUL_START_THREAD(__real_)(thread, state, depend);
}
}
#pragma GCC diagnostic pop
// NOLINTEND(bugprone-reserved-identifier)

namespace haul {
namespace {

using client::ErrorKind;
using client::TaskState;

class AnyCluster : public v1::Cluster::Service {
 public:
  grpc::Status Info(grpc::ServerContext*, const v1::InfoRequest*, v1::InfoReply*) override {
    return grpc::Status::OK;
  }
};

// One open job. What stands here is guarded by `mutex`, and set before `changed` is told.
class OneOpenJob : public v1::Jobs::Service {
 public:
  grpc::Status Submit(grpc::ServerContext*, grpc::ServerReader<v1::SubmitRequest>* reader,
                      v1::SubmitReply* reply) override {
    for (v1::SubmitRequest request; reader->Read(&request);) continue;
    reply->set_job_id(7);
    return grpc::Status::OK;
  }

  grpc::Status Extend(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ExtendReply, v1::ExtendRequest>* stream) override {
    for (v1::ExtendRequest request; stream->Read(&request);) {
      v1::ExtendReply reply;
      {
        std::unique_lock lock(mutex);
        task_count = std::max(task_count, request.first() + request.input_count());
        closed = closed || request.close();
        changed.notify_all();
        if (!Await(lock, context, [this] { return answers_extends; })) break;
        reply.set_task_count(task_count);
        reply.set_open(!closed);
      }
      stream->Write(reply);
    }
    return grpc::Status::OK;
  }

  grpc::Status Follow(grpc::ServerContext* context, const v1::FollowRequest*,
                      grpc::ServerWriter<v1::FollowReply>* writer) override {
    std::unique_lock lock(mutex);
    if (Await(lock, context, [this] { return ended; })) writer->Write(last_words);
    return grpc::Status::OK;
  }

  grpc::Status FetchOutput(grpc::ServerContext*, const v1::FetchOutputRequest*,
                           grpc::ServerWriter<v1::OutputPiece>*) override {
    const std::lock_guard lock(mutex);
    ++fetches;
    changed.notify_all();
    return {grpc::StatusCode::UNAVAILABLE, "it starts anew"};
  }

  grpc::Status Cancel(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                      v1::JobStatus*) override {
    std::unique_lock lock(mutex);
    cancels.push_back(*request);
    changed.notify_all();
    if (!Await(lock, context, [this] { return answers_cancels; })) {
      ++cancels_given_up;
      changed.notify_all();
    }
    if (cancels_to_break-- > 0) return {grpc::StatusCode::UNAVAILABLE, "it starts anew"};
    return grpc::Status::OK;
  }

  // For the test.
  void Do(const std::function<void()>& change) {
    const std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), condition);
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool answers_extends = true;
  bool answers_cancels = true;
  int cancels_to_break = 0;
  bool ended = false;
  v1::FollowReply last_words;  // to who follows it
  // What came.
  std::uint64_t task_count = 0;
  bool closed = false;
  int fetches = 0;
  std::vector<v1::CancelJobRequest> cancels;
  int cancels_given_up = 0;  // by the client, before they were answered

 private:
  // false: the client does not wait any more.
  bool Await(std::unique_lock<std::mutex>& lock, grpc::ServerContext* context,
             const std::function<bool()>& condition) {
    while (!changed.wait_for(lock, std::chrono::milliseconds(2), condition)) {
      if (context->IsCancelled()) return false;
    }
    return true;
  }
};

v1::Outcome OutcomeOf(std::uint64_t task, v1::TaskStatus status) {
  v1::Outcome outcome;
  outcome.set_first(task);
  outcome.set_count(1);
  outcome.set_status(status);
  return outcome;
}

class OpenJobTest : public ::testing::Test {
 protected:
  OpenJobTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&job_);
    builder.RegisterService(&cluster_);
    server_ = builder.BuildAndStart();
    options_.coordinator = "127.0.0.1:" + std::to_string(port);
    options_.token = "secret";
    options_.reconnect_timeout = std::chrono::seconds(30);
  }
  ~OpenJobTest() override {  // or the executor would wait for the job
    threads_to_start = kAnyNumber;
    job_.Do([this] { job_.answers_extends = job_.answers_cancels = job_.ended = true; });
  }

  Executor& Start() {
    client_ = *Client::Connect(options_);
    executor_ = std::make_unique<Executor>(*client_);
    return *executor_;
  }
  std::shared_ptr<internal::Task> Call() { return executor_->SubmitEncoded("f", "()", ""); }
  // One that the job has.
  std::shared_ptr<internal::Task> DurableCall() {
    std::shared_ptr<internal::Task> task = Call();
    EXPECT_TRUE(job_.Await([this] { return job_.task_count == 1; }));
    return task;
  }

  OneOpenJob job_;
  AnyCluster cluster_;
  std::unique_ptr<grpc::Server> server_;
  client::ConnectOptions options_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(OpenJobTest, AbandoningEndsTheFetchOfALargeResult) {
  v1::Outcome large = OutcomeOf(0, v1::TASK_STATUS_SUCCEEDED);
  large.set_output_file("0.out");
  *job_.last_words.add_outcomes() = large;
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  job_.Do([this] { job_.ended = true; });
  ASSERT_TRUE(job_.Await([this] { return job_.fetches > 0; }));
  executor.Abandon();
  ASSERT_TRUE(task->done());
  EXPECT_EQ(task->ending().broken.kind(), ErrorKind::kStopped);
}

TEST_F(OpenJobTest, WhatIsTerminatedWhileNobodyAnswersIsCancelledOnceSomebodyDoes) {
  job_.cancels_to_break = 2;
  *job_.last_words.add_outcomes() = OutcomeOf(0, v1::TASK_STATUS_CANCELLED);
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  executor.Terminate();
  EXPECT_FALSE(task->done()) << "it may run";
  ASSERT_TRUE(job_.Await([this] { return job_.cancels.size() == 3; }));
  job_.Do([this] { job_.ended = true; });
  task->Wait();
  EXPECT_TRUE(task->ending().broken.ok()) << task->ending().broken.message();
  EXPECT_EQ(task->ending().state, TaskState::kCancelled);
}

TEST_F(OpenJobTest, OfWhatIsTerminatedWhileNobodyEverAnswersNothingIsKnown) {
  options_.reconnect_timeout = std::chrono::milliseconds(100);
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  executor.Terminate();
  task->Wait();
  EXPECT_EQ(task->ending().broken.kind(), ErrorKind::kUnreachable);
}

TEST_F(OpenJobTest, WhatWasNotSentWhenItIsTerminatedNeverIs) {
  job_.answers_extends = false;
  job_.cancels_to_break = 1;
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = Call();
  executor.Terminate();
  ASSERT_TRUE(task->done());
  EXPECT_TRUE(task->ending().broken.ok()) << task->ending().broken.message();
  EXPECT_EQ(task->ending().state, TaskState::kCancelled);
  job_.Do([this] { job_.answers_extends = true; });
  ASSERT_TRUE(job_.Await([this] { return job_.closed; }));
  EXPECT_EQ(job_.task_count, 0u);
}

TEST_F(OpenJobTest, CallsWithoutArgumentsWaitWhenTooManyAreNotSent) {
  job_.answers_extends = false;
  constexpr std::uint64_t kMost = (64 << 20) / 512;
  Executor& executor = Start();
  std::atomic<std::uint64_t> calls = 0;
  std::thread calling([&] {
    try {
      for (; calls < 2 * kMost; ++calls) Call();
      ADD_FAILURE() << "none of them waited";
    } catch (const ExecutorError&) {  // it is closed
    }
  });
  while (calls < kMost) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  executor.Terminate();
  calling.join();
  EXPECT_EQ(calls, kMost);
}

TEST_F(OpenJobTest, AbandoningEndsTheCancellingOfACall) {
  job_.answers_cancels = false;
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  task->Cancel();
  ASSERT_TRUE(job_.Await([this] { return job_.cancels.size() == 1; }));
  EXPECT_EQ(job_.cancels[0].tasks_size(), 1);
  executor.Abandon();
  EXPECT_TRUE(job_.Await([this] { return job_.cancels_given_up == 1; }));
}

TEST_F(OpenJobTest, ACallForWhichNoThreadCanBeStartedThrows) {
  Start();
  // That of the client's calls, then the one that extends the job, then the one that follows it.
  for (const int threads : {0, 1, 1}) {
    threads_to_start = threads;
    EXPECT_THROW(Call(), ExecutorError);
    EXPECT_EQ(threads_to_start, 0);
  }
}

TEST_F(OpenJobTest, WhatCouldNotBeCancelledForWantOfAThreadIsCancelledWhenAskedAgain) {
  Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  threads_to_start = 0;
  EXPECT_THROW(task->Cancel(), ExecutorError);
  threads_to_start = kAnyNumber;
  task->Cancel();
  EXPECT_TRUE(job_.Await([this] { return job_.cancels.size() == 1; }));
}

TEST_F(OpenJobTest, OfWhatIsTerminatedNothingIsKnownWhereNoThreadCanAskAgain) {
  job_.cancels_to_break = 1;
  Executor& executor = Start();
  const std::shared_ptr<internal::Task> task = DurableCall();
  threads_to_start = 0;
  executor.Terminate();
  ASSERT_TRUE(task->done());
  EXPECT_EQ(task->ending().broken.kind(), ErrorKind::kUnreachable);
}

}  // namespace
}  // namespace haul
