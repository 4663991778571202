// A whole coordinator in the test's process, over a directory of the test's own, and what tests say
// to it over the wire: plain stubs, raw bytes, and a worker that says what it is told to say.
//
// Threads: the test's. Every call has a deadline far beyond what it takes, so that a test of what
// never comes fails instead of hanging.
#pragma once

#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/ids.h"
#include "common/rpc/token.h"
#include "coordinator/coordinator.h"
#include "haul/v1/cluster.grpc.pb.h"
#include "haul/v1/jobs.grpc.pb.h"
#include "haul/v1/session.grpc.pb.h"

namespace haul::coordinator {

inline constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

constexpr char kToken[] = "the-Token-of-the-test-0123456789abcdef";

// A status that is an error of that code whose message says that.
MATCHER_P2(Fails, code, text, "") {
  *result_listener << "which is " << arg.error_code() << " '" << arg.error_message() << "'";
  return arg.error_code() == code && arg.error_message().find(text) != std::string::npos;
}
MATCHER(Succeeds, "") {
  *result_listener << "which is " << arg.error_code() << " '" << arg.error_message() << "'";
  return arg.ok();
}

class Context : public grpc::ClientContext {
 public:
  explicit Context(const std::string& token = kToken) {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    if (!token.empty()) rpc::AddToken(token, *this);
  }
};

// A worker's stream, in the words of the test.
class TestWorker {
 public:
  explicit TestWorker(v1::WorkerSession::Stub& stub) : stream_(stub.Attach(&context_)) {}
  ~TestWorker() { Break(); }

  static v1::Hello Hello(const std::string& name, const std::string& incarnation = "") {
    v1::Hello hello;
    hello.set_name(name);
    hello.set_incarnation(incarnation.empty() ? name + "-1" : incarnation);
    hello.set_host("test-host");
    hello.set_cpus_milli(64'000);  // so that a small job is one assignment
    return hello;
  }

  bool Write(const v1::WorkerMessage& message) { return stream_->Write(message); }
  void HalfClose() { stream_->WritesDone(); }
  void Say(const v1::Hello& hello) {
    v1::WorkerMessage message;
    *message.mutable_hello() = hello;
    Write(message);
  }
  v1::Welcome Attach(const v1::Hello& hello) {
    Say(hello);
    return ReadUntil([](const v1::CoordinatorMessage& m) { return m.has_welcome(); }).welcome();
  }

  // The next message of which that is true. Assignments on the way are kept for NextAssignment.
  v1::CoordinatorMessage ReadUntil(
      const std::function<bool(const v1::CoordinatorMessage&)>& wanted) {
    v1::CoordinatorMessage message;
    while (stream_->Read(&message)) {
      assignments_.insert(assignments_.end(), message.assignments().begin(),
                          message.assignments().end());
      if (wanted(message)) return message;
    }
    ADD_FAILURE() << "the stream ended: " << Finish().error_message();
    return {};
  }
  v1::Assignment NextAssignment() {
    if (assignments_.empty()) {
      ReadUntil([](const v1::CoordinatorMessage& m) { return m.assignments_size() > 0; });
    }
    if (assignments_.empty()) return {};
    v1::Assignment next = assignments_.front();
    assignments_.pop_front();
    return next;
  }

  // One outcome of an assignment, without waiting.
  void Report(const v1::Assignment& assignment, const v1::Outcome& outcome) {
    v1::WorkerMessage message;
    v1::OutcomeBatch& batch = *message.add_outcomes();
    batch.set_sequence(++last_sequence_);
    batch.set_assignment_id(assignment.assignment_id());
    batch.set_job_id(assignment.job_id());
    *batch.add_outcomes() = outcome;
    Write(message);
  }
  void AwaitDurable() {
    ReadUntil(
        [this](const v1::CoordinatorMessage& m) { return m.durable_through() >= last_sequence_; });
  }

  // What the coordinator ends the stream with.
  grpc::Status Finish() {
    v1::CoordinatorMessage message;
    while (stream_ != nullptr && stream_->Read(&message)) continue;
    if (stream_ != nullptr) status_ = stream_->Finish();
    stream_ = nullptr;
    return status_;
  }
  void Break() {
    context_.TryCancel();
    Finish();
  }

 private:
  Context context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  std::deque<v1::Assignment> assignments_;
  std::uint64_t last_sequence_ = 0;
  grpc::Status status_;
};

// As the hello of a worker that comes back says it.
inline v1::HeldAssignment Held(const v1::Assignment& assignment) {
  v1::HeldAssignment held;
  held.set_assignment_id(assignment.assignment_id());
  held.set_job_id(assignment.job_id());
  held.set_width(assignment.width());
  v1::TaskRange& range = *held.add_ranges();
  range.set_first(assignment.first());
  range.set_count(assignment.count());
  return held;
}

inline v1::Outcome Succeeded(std::uint64_t first, std::uint64_t count = 1) {
  v1::Outcome outcome;
  outcome.set_first(first);
  outcome.set_count(count);
  outcome.set_status(v1::TASK_STATUS_SUCCEEDED);
  return outcome;
}

// A command of `tasks` tasks that is valid in every respect.
inline v1::JobSpec ArrayJob(std::uint64_t tasks) {
  v1::JobSpec spec;
  spec.mutable_command()->add_arguments("echo");
  spec.mutable_command()->set_directory("/tmp");
  spec.mutable_array()->set_step(1);
  spec.set_task_count(tasks);
  return spec;
}

inline v1::SubmitRequest Whole(const v1::JobSpec& spec) {
  v1::SubmitRequest request;
  *request.mutable_spec() = spec;
  request.set_complete(true);
  return request;
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    // For the whole process: otherwise gRPC ends after the last test, in a thread that the leak
    // check may find half made.
    static const bool initialized = (grpc_init(), true);
    HAUL_CHECK(initialized);
    std::string pattern = std::filesystem::temp_directory_path() / "haul-test-XXXXXX";
    HAUL_CHECK(::mkdtemp(pattern.data()) != nullptr);
    options_.data_dir = pattern;
    options_.listen = "127.0.0.1:0";
    options_.lease_ms = 60'000;
    std::ofstream(pattern + "/token") << kToken;
    std::filesystem::permissions(pattern + "/token", std::filesystem::perms::owner_read);
    Start();
  }
  ~ServerTest() override {
    coordinator_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(options_.data_dir, ignored);
  }

  void Start() {
    auto coordinator = Coordinator::Start(options_);
    ASSERT_TRUE(coordinator.ok()) << coordinator.status();
    coordinator_ = *std::move(coordinator);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(coordinator_->address(),
                                         grpc::InsecureChannelCredentials(), arguments);
    jobs_ = v1::Jobs::NewStub(channel_);
    sessions_ = v1::WorkerSession::NewStub(channel_);
    cluster_ = v1::Cluster::NewStub(channel_);
  }

  // Sends the messages, half-closes, and takes the answer.
  grpc::Status Submit(const std::vector<v1::SubmitRequest>& messages,
                      v1::SubmitReply* reply = nullptr) {
    Context context;
    v1::SubmitReply ignored;
    const auto writer = jobs_->Submit(&context, reply == nullptr ? &ignored : reply);
    for (const v1::SubmitRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status Submit(const v1::JobSpec& spec) { return Submit({Whole(spec)}); }
  std::uint64_t Accepted(const std::vector<v1::SubmitRequest>& messages) {
    v1::SubmitReply reply;
    EXPECT_THAT(Submit(messages, &reply), Succeeds());
    return reply.job_id();
  }
  std::uint64_t Accepted(const v1::JobSpec& spec) { return Accepted({Whole(spec)}); }

  static v1::JobSelector Job(std::uint64_t id) {
    v1::JobSelector selector;
    selector.set_job_id(id);
    return selector;
  }
  grpc::Status Get(const v1::JobSelector& job, v1::JobStatus* status) {
    Context context;
    v1::GetJobRequest request;
    *request.mutable_job() = job;
    return jobs_->Get(&context, request, status);
  }
  v1::JobStatus Get(std::uint64_t id) {
    v1::JobStatus status;
    EXPECT_THAT(Get(Job(id), &status), Succeeds());
    return status;
  }
  grpc::Status Cancel(const v1::JobSelector& job, const std::string& by = "",
                      const std::vector<TaskRange>& tasks = {}) {
    Context context;
    v1::CancelJobRequest request;
    *request.mutable_job() = job;
    request.set_by(by);
    for (const TaskRange& range : tasks) {
      v1::TaskRange& wire = *request.add_tasks();
      wire.set_first(range.first);
      wire.set_count(range.count);
    }
    v1::JobStatus status;
    return jobs_->Cancel(&context, request, &status);
  }
  v1::ListJobsReply List(const v1::ListJobsRequest& request = {}) {
    Context context;
    v1::ListJobsReply reply;
    EXPECT_THAT(jobs_->List(&context, request, &reply), Succeeds());
    return reply;
  }
  std::vector<v1::FollowReply> Follow(const v1::FollowRequest& request,
                                      grpc::Status* status = nullptr) {
    Context context;
    const auto reader = jobs_->Follow(&context, request);
    std::vector<v1::FollowReply> replies;
    for (v1::FollowReply reply; reader->Read(&reply);) replies.push_back(reply);
    const grpc::Status end = reader->Finish();
    if (status == nullptr) {
      EXPECT_THAT(end, Succeeds());
    } else {
      *status = end;
    }
    return replies;
  }
  std::vector<v1::Outcome> Outcomes(std::uint64_t job) {
    v1::FollowRequest request;
    *request.mutable_job() = Job(job);
    request.set_with_payload(true);
    std::vector<v1::Outcome> outcomes;
    for (const v1::FollowReply& reply : Follow(request)) {
      outcomes.insert(outcomes.end(), reply.outcomes().begin(), reply.outcomes().end());
    }
    return outcomes;
  }
  std::vector<v1::WorkerStatus> Workers() {
    Context context;
    v1::ListWorkersReply reply;
    EXPECT_THAT(cluster_->ListWorkers(&context, {}, &reply), Succeeds());
    return {reply.workers().begin(), reply.workers().end()};
  }
  bool Alive() {
    Context context;
    v1::InfoReply reply;
    return cluster_->Info(&context, {}, &reply).ok() && reply.epoch() > 0;
  }

  struct RawReply {
    grpc::Status status;
    std::vector<std::string> messages;
  };
  // Bytes to a method of any shape. Without half-close it is the server that ends the call.
  RawReply Raw(const std::string& method, const std::vector<std::string>& messages, bool half_close,
               grpc::ClientContext& context) {
    grpc::CompletionQueue queue;
    const auto done = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    const auto call = grpc::GenericStub(channel_).PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    bool ok = done();
    for (std::size_t i = 0; ok && i < messages.size(); ++i) {
      const grpc::Slice slice(messages[i]);
      call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
      ok = done();
    }
    if (ok && half_close) {
      call->WritesDone(nullptr);
      done();
    }
    RawReply reply;
    for (grpc::ByteBuffer buffer; call->Read(&buffer, nullptr), done(); buffer.Clear()) {
      grpc::Slice slice;
      EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
      reply.messages.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    call->Finish(&reply.status, nullptr);
    done();
    queue.Shutdown();
    while (done()) continue;
    return reply;
  }
  RawReply Raw(const std::string& method, const std::vector<std::string>& messages,
               bool half_close = false) {
    Context context;
    return Raw(method, messages, half_close, context);
  }

  // Waits for a condition that no message tells.
  static bool Eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  CoordinatorOptions options_;
  std::unique_ptr<Coordinator> coordinator_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Jobs::Stub> jobs_;
  std::unique_ptr<v1::WorkerSession::Stub> sessions_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
};

}  // namespace haul::coordinator
