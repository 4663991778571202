// A loop on a thread of its own, over stores in memory whose commits and reads wait for the test,
// and workers that record what they are told.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "coordinator/loop/loop.h"
#include "coordinator/store/memory_store.h"

namespace haul::coordinator {

// Hands the loop what a test posts to it, one closure a poll.
class FakePoller final : public Poller {
 public:
  void Post(std::function<void()> fn) {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(fn));
    changed_.notify_all();
  }
  void Poll(std::int64_t) override {
    std::function<void()> fn;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(5),
                        [&] { return woken_ || !posted_.empty(); });
      woken_ = false;
      if (posted_.empty()) return;
      fn = std::move(posted_.front());
      posted_.pop_front();
    }
    fn();
  }
  void Wake() override {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;
  bool woken_ = false;
};

// A durable store whose commits wait for the test, or fail.
class GatedStore final : public Store {
  class Reader final : public StoreReader {
   public:
    Reader(std::unique_ptr<StoreReader> reader, GatedStore& store)
        : reader_(std::move(reader)), store_(store) {}
    absl::StatusOr<PackedBytes> ReadInputs(InputSetId set, TaskRange range) override {
      if (store_.inputs_are_damaged_) return absl::DataLossError("haul.db is damaged");
      return reader_->ReadInputs(set, range);
    }
    absl::StatusOr<OutcomePage> ReadOutcomes(const OutcomeQuery& query) override {
      return reader_->ReadOutcomes(query);
    }
    absl::StatusOr<std::string> ReadTemplate(JobId job) override {
      store_.AwaitReads();
      return reader_->ReadTemplate(job);
    }

   private:
    const std::unique_ptr<StoreReader> reader_;
    GatedStore& store_;
  };

 public:
  absl::StatusOr<Recovered> Recover() override { return store_.Recover(); }
  absl::Status Commit(const std::vector<Write>& writes) override {
    std::unique_lock lock(mutex_);
    at_gate_ = true;
    changed_.wait(lock, [&] { return open_ || may_pass_; });
    at_gate_ = false;
    may_pass_ = false;
    if (!failure_.ok()) return failure_;
    return store_.Commit(writes);
  }
  const std::vector<std::uint64_t>& outcome_sequences() const override {
    return store_.outcome_sequences();
  }
  absl::StatusOr<std::unique_ptr<StoreReader>> NewReader() override {
    auto reader = store_.NewReader();
    if (!reader.ok()) return reader;
    return std::make_unique<Reader>(*std::move(reader), *this);
  }
  void DamageInputs() { inputs_are_damaged_ = true; }

  void Set(bool open, absl::Status failure = absl::OkStatus()) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    failure_ = std::move(failure);
    changed_.notify_all();
  }
  // Whether templates can be read.
  void SetReads(bool open) {
    const std::lock_guard lock(mutex_);
    reads_open_ = open;
    changed_.notify_all();
  }
  bool HasReadAtGate() {
    const std::lock_guard lock(mutex_);
    return read_at_gate_;
  }
  bool HasCommitAtGate() {
    const std::lock_guard lock(mutex_);
    return at_gate_;
  }
  // The one at the closed gate, and no more.
  void LetOnePass() {
    const std::lock_guard lock(mutex_);
    may_pass_ = true;
    changed_.notify_all();
  }

 private:
  void AwaitReads() {
    std::unique_lock lock(mutex_);
    read_at_gate_ = true;
    changed_.wait(lock, [&] { return reads_open_; });
    read_at_gate_ = false;
  }

  MemoryStore store_{1 << 30};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool may_pass_ = false;
  bool at_gate_ = false;
  bool reads_open_ = true;
  bool read_at_gate_ = false;
  absl::Status failure_;
  std::atomic<bool> inputs_are_damaged_ = false;
};

struct RecordingPort final : public SessionPort {
  void Welcome(const SendWelcome&) override { said.push_back("welcome"); }
  void Assign(const SendAssignment& assignment, const std::string* job_template,
              const PackedBytes& values) override {
    said.push_back("assign");
    assignments.push_back(assignment);
    templates.push_back(job_template == nullptr ? "" : *job_template);
    inputs.push_back(values);
  }
  void Revoke(const SendRevoke&) override { said.push_back("revoke"); }
  void Cancel(const SendCancel&) override { said.push_back("cancel"); }
  void Send() override { ++sends; }
  void Durable(std::uint64_t through) override {
    said.push_back("durable");
    durable_through = through;
  }
  void Drain(std::uint64_t) override { said.push_back("drain"); }
  void Stop() override { said.push_back("stop"); }
  void Depart() override { said.push_back("depart"); }
  void Close(const absl::Status&) override { said.push_back("close"); }

  std::vector<std::string> said;
  std::vector<SendAssignment> assignments;
  std::vector<std::string> templates;
  std::vector<PackedBytes> inputs;
  std::uint64_t durable_through = 0;
  int sends = 0;
};

class LoopTest : public testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void TearDown() override { End(); }

  void Start(LoopOptions options) {
    options.volatile_bytes_used = [this] { return memory_.bytes(); };
    auto loop = Loop::Create(std::move(options), store_, memory_, poller_);
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    thread_ = std::thread([this] { result_ = loop_->Run(); });
  }
  void End() {
    if (loop_ == nullptr) return;
    store_.Set(true);
    loop_->Stop();
    thread_.join();
    loop_.reset();
  }

  // Runs `fn` on the loop thread and gives what it gives.
  template <typename Fn>
  auto OnLoop(Fn fn) {
    std::optional<decltype(fn())> result;
    std::mutex mutex;
    std::condition_variable done;
    poller_.Post([&] {
      auto value = fn();
      const std::lock_guard lock(mutex);
      result = std::move(value);
      done.notify_all();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return result.has_value(); });
    return *std::move(result);
  }
  // Waits for a condition of the loop thread.
  template <typename Condition>
  void Await(Condition condition) {
    while (!OnLoop(condition)) std::this_thread::yield();
  }

  JobSpec Commands(std::uint64_t tasks, bool is_volatile = false) {
    return {.owner = "me", .task_count = tasks, .is_volatile = is_volatile};
  }
  // The place where the answer will be.
  std::shared_ptr<std::optional<Answer>> Submit(JobSpec spec, std::string job_template = "spec") {
    auto place = std::make_shared<std::optional<Answer>>();
    OnLoop([&] {
      const RequestId request =
          loop_->NewRequest([place](const Answer& answer) { *place = answer; });
      loop_->Handle(JobSubmitted{request, spec}, {.job_template = job_template});
      return true;
    });
    return place;
  }
  std::shared_ptr<std::optional<Answer>> SubmitWithInputs() {
    JobSpec spec = Commands(2);
    spec.input_set = OnLoop([&] {
      const InputSetId set = loop_->NewInputSet();
      PackedBytes values;
      values.Append("one");
      values.Append("two");
      EXPECT_TRUE(loop_->StageInputs(set, false, 0, values).ok());
      return set;
    });
    return Submit(spec);
  }
  JobId AcceptedJob(const std::shared_ptr<std::optional<Answer>>& place) {
    Await([&] { return place->has_value(); });
    return std::get<AnswerSubmit>((*place)->value()).job;
  }
  SessionId Connect(RecordingPort& port) {
    return OnLoop([&] {
      const SessionId session = loop_->OpenSession(&port);
      loop_->Handle(WorkerConnected{
          .session = session, .profile = {.name = "w", .incarnation = "i", .cpus_milli = 2000}});
      return session;
    });
  }

  // These tasks of the first assignment end. On the loop.
  void Finish(SessionId session, const RecordingPort& port, JobId job, std::uint64_t batch,
              TaskRange tasks) {
    Outcome outcome;
    outcome.tasks = tasks;
    TasksFinished event{.session = session,
                        .batch_sequence = batch,
                        .assignment = port.assignments[0].id,
                        .job = job,
                        .outcomes = {{.tasks = tasks, .busy_ns = 1000}}};
    loop_->Handle(event, {.outcomes = {std::move(outcome)}});
  }
  // So many bytes more are in use by volatile jobs.
  void FillMemory(std::size_t bytes) {
    OnLoop([&] {
      PackedBytes values;
      values.Append(std::string(bytes, 'x'));
      return memory_.Commit({AppendInputs{loop_->NewInputSet(), 0, values}}).ok();
    });
  }
  // They outlive the loop, which may have something to say until it ends.
  RecordingPort& NewPort() { return ports_.emplace_back(); }

  std::deque<RecordingPort> ports_;
  FakePoller poller_;
  GatedStore store_;
  MemoryStore memory_{1 << 30};
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  absl::Status result_;
};

}  // namespace haul::coordinator
