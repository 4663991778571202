// A pool in the test's own process, with functions that the test writes, and what it reports in
// order.
#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/interval_set.h"
#include "common/wire/convert.h"
#include "gtest/gtest.h"
#include "worker/executor/library.h"
#include "worker/executor/outbox.h"
#include "worker/executor/pool.h"
#include "worker/executor/slots.h"

namespace haul::executor {

// Unlike HAUL_SERVE's, its body may refer to the test.
class TestFunctions {
 public:
  using Body = std::function<std::int32_t(const haul_call& call)>;

  void Serve(const char* name, const char* signature, Body body) {
    bodies_.push_back(std::make_unique<Body>(std::move(body)));
    const haul_function function{name, signature, bodies_.back().get(), &Invoke};
    const haul_library library{HAUL_INTERFACE_VERSION, sizeof(haul_function), 1, &function};
    const absl::Status status = table_.Add(&library, "test");
    ASSERT_TRUE(status.ok()) << status;
  }
  const FunctionTable& table() const { return table_; }

 private:
  static std::int32_t Invoke(const void* target, const haul_call* call) {
    return (*static_cast<const Body*>(target))(*call);
  }

  std::vector<std::unique_ptr<Body>> bodies_;
  FunctionTable table_;
};

class PoolHarness {
 public:
  explicit PoolHarness(TestFunctions functions, const PoolOptions& options = {})
      : functions_(std::move(functions)),
        slots_(MakeSlots()),
        outbox_([this](const v1::FromExecutor& frame) { OnFrame(frame); }) {
    pool_ = std::make_unique<Pool>(options, &functions_.table(), &slots_, &outbox_);
  }

  static v1::Run MakeRun(std::uint64_t assignment, const char* function, TaskRange tasks,
                         std::uint32_t width) {
    v1::Run run;
    run.set_assignment_id(assignment);
    run.set_job_id(7);
    run.set_function(function);
    run.set_first(tasks.first);
    run.set_count(tasks.count);
    run.set_width(width);
    run.mutable_array()->set_step(1);
    return run;
  }

  Pool& pool() { return *pool_; }
  Slots& slots() { return slots_; }

  // Waits until everything that was given has ended or come back.
  void WaitUntilIdle() {
    while (!pool_->IsIdle()) {
      pool_->Tick();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    outbox_.WaitUntilWritten();
  }
  template <typename Condition>
  void WaitFor(Condition condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, condition);
  }

  // Of one assignment, in the order of reporting. After WaitUntilIdle, or within WaitFor.
  const std::vector<Outcome>& outcomes(std::uint64_t assignment) { return outcomes_[assignment]; }
  const std::vector<TaskRange>& reclaimed(std::uint64_t assignment) {
    return reclaimed_[assignment];
  }
  const IntervalSet& succeeded(std::uint64_t assignment) { return succeeded_[assignment]; }
  const IntervalSet& failed(std::uint64_t assignment) { return failed_[assignment]; }
  std::size_t frame_count() const { return frames_; }
  // What tasks called, and what was said of their waiting, in order. Likewise.
  const std::vector<v1::ChildCall>& calls() const { return calls_; }
  const std::vector<std::string>& said() const { return said_; }

 private:
  static std::string Said(const std::string& what, const v1::TaskRef& task) {
    return "task " + std::to_string(task.task()) + " of " + std::to_string(task.assignment_id()) +
           " " + what;
  }

  static Slots MakeSlots() {
    absl::StatusOr<int> fd = Slots::MakeFile();
    EXPECT_TRUE(fd.ok());
    absl::StatusOr<Slots> slots = Slots::Map(*fd);
    EXPECT_TRUE(slots.ok());
    ::close(*fd);
    return *std::move(slots);
  }

  void OnFrame(const v1::FromExecutor& frame) {
    const std::lock_guard lock(mutex_);
    ++frames_;
    for (const v1::ExecutorOutcomes& group : frame.outcomes()) {
      const std::uint64_t id = group.assignment_id();
      for (v1::Outcome wire : group.outcomes()) {
        absl::StatusOr<Outcome> outcome = wire::FromWire(std::move(wire));
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        IntervalSet& set = (outcome->status == TaskStatus::kSucceeded ? succeeded_ : failed_)[id];
        // Exactly once: nothing that is reported was reported before.
        EXPECT_EQ(set.Add(outcome->tasks), outcome->tasks.count) << outcome->tasks;
        outcomes_[id].push_back(*std::move(outcome));
      }
    }
    for (const v1::Reclaimed& one : frame.reclaimed()) {
      reclaimed_[one.assignment_id()].push_back({one.first(), one.count()});
    }
    for (const v1::ChildCall& call : frame.calls()) calls_.push_back(call);
    for (const v1::TaskRef& task : frame.waiting()) said_.push_back(Said("waits", task));
    for (const v1::TaskRef& task : frame.resumable()) said_.push_back(Said("could go on", task));
    changed_.notify_all();
  }

  TestFunctions functions_;
  Slots slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, std::vector<Outcome>> outcomes_;
  std::map<std::uint64_t, std::vector<TaskRange>> reclaimed_;
  std::map<std::uint64_t, IntervalSet> succeeded_;
  std::map<std::uint64_t, IntervalSet> failed_;
  std::size_t frames_ = 0;
  std::vector<v1::ChildCall> calls_;
  std::vector<std::string> said_;
  Outbox outbox_;
  std::unique_ptr<Pool> pool_;  // last: its threads use all of the above
};

// A door that tasks wait at until the test opens it.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  // Returns when so many have come to it.
  void WaitForArrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }
  int arrivals() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

}  // namespace haul::executor
