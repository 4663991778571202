#include "worker/executor/pool.h"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "worker/executor/pool_test_harness.h"

namespace haul::executor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::int32_t Fail(const haul_call& call, const std::string& message) {
  call.host->set_error(call.task, message.data(), message.size());
  return 1;
}

void Append(const haul_call& call, const std::string& bytes) {
  call.host->append_result(call.task, bytes.data(), bytes.size());
}

v1::Run RunOf(std::uint64_t assignment, const char* function, TaskRange tasks,
              std::uint32_t width) {
  return PoolHarness::MakeRun(assignment, function, tasks, width);
}

TEST(PoolTest, AMillionTasksAreReportedOnceInFewOutcomes) {
  constexpr std::uint64_t kTasks = 1'000'000;
  TestFunctions functions;
  std::atomic<std::uint64_t> calls{0};
  functions.Serve("noop", "void()", [&](const haul_call&) {
    calls.fetch_add(1, std::memory_order_relaxed);
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 4});
  // In several runs, as an assignment grows.
  for (std::uint64_t first = 0; first < kTasks; first += kTasks / 4) {
    harness.pool().Run(RunOf(1, "noop", {first, kTasks / 4}, 4));
  }
  harness.WaitUntilIdle();
  EXPECT_EQ(calls.load(), kTasks);
  EXPECT_EQ(harness.succeeded(1), IntervalSet({0, kTasks}));
  EXPECT_TRUE(harness.failed(1).empty());
  // How few depends on how fast a task is, and a sanitizer makes it slow.
  EXPECT_LT(harness.outcomes(1).size(), kTasks / 10);
  for (const Outcome& outcome : harness.outcomes(1)) {
    EXPECT_EQ(outcome.results.count(), 0u);
    EXPECT_EQ(outcome.attempt, 1u);
    EXPECT_LE(outcome.started_unix_us, outcome.finished_unix_us);
    EXPECT_GT(outcome.started_unix_us, 0);
  }
}

TEST(PoolTest, ResultsBelongToTheirTasks) {
  constexpr std::uint64_t kTasks = 50'000;
  TestFunctions functions;
  functions.Serve("spell", "str(i64)", [](const haul_call& call) {
    std::int64_t value = 0;
    std::memcpy(&value, call.arguments, call.argument_bytes);
    Append(call, std::to_string(value));
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 3});
  v1::Run run = RunOf(1, "spell", {100, kTasks}, 3);
  run.mutable_array()->set_start(-1000);
  run.mutable_array()->set_step(3);
  harness.pool().Run(run);
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1), IntervalSet({100, kTasks}));
  for (const Outcome& outcome : harness.outcomes(1)) {
    ASSERT_EQ(outcome.results.count(), outcome.tasks.count);
    for (std::uint64_t i = 0; i < outcome.tasks.count; ++i) {
      const auto task = static_cast<std::int64_t>(outcome.tasks.first + i);
      ASSERT_EQ(outcome.results[i], std::to_string(-1000 + 3 * task));
    }
  }
}

TEST(PoolTest, InputsAreThoseOfTheTask) {
  TestFunctions functions;
  functions.Serve("echo", "str(str)", [](const haul_call& call) {
    Append(call, std::string(static_cast<const char*>(call.arguments), call.argument_bytes));
    return 0;
  });
  PoolHarness harness(std::move(functions));
  PackedBytes inputs;
  for (int i = 0; i < 1000; ++i) inputs.Append("input " + std::to_string(i));
  v1::Run run = RunOf(1, "echo", {5, 1000}, 2);
  run.clear_array();
  wire::ToWire(inputs, run.mutable_inputs());
  harness.pool().Run(run);
  harness.WaitUntilIdle();
  PackedBytes results;
  ASSERT_EQ(harness.succeeded(1), IntervalSet({5, 1000}));
  for (const Outcome& outcome : harness.outcomes(1)) {
    for (std::uint64_t i = 0; i < outcome.tasks.count; ++i) {
      ASSERT_EQ(outcome.results[i], "input " + std::to_string(outcome.tasks.first + i - 5));
    }
  }
}

TEST(PoolTest, WidthIsNeverExceeded) {
  TestFunctions functions;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  functions.Serve("count", "void()", [&](const haul_call&) {
    const int now = ++running;
    int seen = most.load();
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    --running;
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 8});
  for (std::uint64_t i = 0; i < 20; ++i) harness.pool().Run(RunOf(1, "count", {i * 200, 200}, 3));
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1).size(), 4000u);
  EXPECT_EQ(most.load(), 3);
}

TEST(PoolTest, AWidthThatIsRaisedLetsMoreRun) {
  TestFunctions functions;
  Gate gate;
  functions.Serve("wait", "void()", [&](const haul_call&) {
    gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "wait", {0, 40}, 2));
  gate.WaitForArrivals(2);
  EXPECT_EQ(harness.pool().thread_count(), 2u);
  v1::Run more = RunOf(1, "", {0, 0}, 30);
  harness.pool().Run(more);
  gate.WaitForArrivals(30);
  EXPECT_EQ(gate.arrivals(), 30);
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1).size(), 40u);
}

TEST(PoolTest, IdleThreadsBeyondTheirNumberLeave) {
  TestFunctions functions;
  Gate gate;
  functions.Serve("wait", "void()", [&](const haul_call&) {
    gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 2, .idle_limit_ms = 20});
  harness.pool().Run(RunOf(1, "wait", {0, 50}, 50));
  gate.WaitForArrivals(50);
  EXPECT_EQ(harness.pool().thread_count(), 50u);
  gate.Open();
  harness.WaitUntilIdle();
  while (harness.pool().thread_count() > 2) std::this_thread::yield();
  // And start again when there is work.
  harness.pool().Run(RunOf(2, "wait", {0, 10}, 10));
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(2).size(), 10u);
}

// A library's object that lives as long as the thread, and whose destructor waits.
struct SlowToGo {
  Gate* gate = nullptr;
  ~SlowToGo() {
    if (gate != nullptr) gate->Pass();
  }
};

TEST(PoolTest, WhatAThreadsEndTakesKeepsNoOtherFromRunning) {
  Gate both;
  Gate end;
  TestFunctions functions;
  functions.Serve("wait", "void()", [&](const haul_call&) {
    thread_local SlowToGo object;
    object.gate = &end;
    both.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 1, .idle_limit_ms = 1});
  harness.pool().Run(RunOf(1, "wait", {0, 2}, 2));
  both.WaitForArrivals(2);
  both.Open();
  end.WaitForArrivals(1);
  // A thread is started in its place, and the other one runs what there is.
  harness.pool().Run(RunOf(2, "wait", {0, 2}, 2));
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(2).size(), 2u);
  end.Open();
}

TEST(PoolTest, HigherPriorityRunsFirstThenTheOldest) {
  TestFunctions functions;
  Gate gate;
  std::mutex mutex;
  std::vector<std::uint64_t> order;
  functions.Serve("note", "void()", [&](const haul_call& call) {
    if (call.fencing_token == 1) {
      gate.Pass();
      return 0;
    }
    const std::lock_guard lock(mutex);
    order.push_back(call.fencing_token);
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 1, .thread_limit = 1});
  harness.pool().Run(RunOf(1, "note", {0, 1}, 1));
  gate.WaitForArrivals(1);
  for (const auto& [id, priority] :
       {std::pair(2u, 0), std::pair(3u, 5), std::pair(4u, 5), std::pair(5u, -1)}) {
    v1::Run run = RunOf(id, "note", {0, 2}, 1);
    run.set_priority(priority);
    harness.pool().Run(run);
  }
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_THAT(order, ElementsAre(3, 3, 4, 4, 2, 2, 5, 5));
}

TEST(PoolTest, ReclaimTakesFromTheEndOfWhatHasNotStarted) {
  TestFunctions functions;
  Gate gate;
  functions.Serve("wait", "void()", [&](const haul_call&) {
    gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "wait", {0, 50}, 2));
  harness.pool().Run(RunOf(1, "wait", {50, 50}, 2));
  gate.WaitForArrivals(2);
  harness.pool().Reclaim(AssignmentId(1), 60);
  harness.pool().Reclaim(AssignmentId(1), 1000);
  harness.pool().Reclaim(AssignmentId(1), 1000);
  harness.pool().Reclaim(AssignmentId(9), 1);  // never seen
  harness.WaitFor(
      [&] { return harness.reclaimed(1).size() == 3 && harness.reclaimed(9).size() == 1; });
  EXPECT_THAT(harness.reclaimed(1),
              ElementsAre(TaskRange{40, 60}, TaskRange{2, 38}, TaskRange{0, 0}));
  EXPECT_EQ(harness.reclaimed(9)[0].count, 0u);
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1), IntervalSet({0, 2}));
}

// A thread that took many short tasks and meets a long one gives the rest up.
TEST(PoolTest, WhatAChunkHasNotStartedCanBeTakenFromIt) {
  constexpr TaskIndex kLong = 200'000;
  TestFunctions functions;
  Gate gate;
  functions.Serve("mixed", "void()", [&](const haul_call& call) {
    if (call.task_index == kLong) gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "mixed", {0, 400'000}, 1));
  gate.WaitForArrivals(1);
  // One seat, held by the long task: nothing else runs, and all behind it is to be had.
  IntervalSet back;
  for (std::size_t answers = 1;; ++answers) {
    harness.pool().Reclaim(AssignmentId(1), 1'000'000);
    harness.WaitFor([&] { return harness.reclaimed(1).size() == answers; });
    if (harness.reclaimed(1).back().count == 0) break;
    back.Add(harness.reclaimed(1).back());
  }
  EXPECT_EQ(back, IntervalSet({kLong + 1, 400'000 - kLong - 1}));
  // What ended before it does not wait for it.
  while (true) {
    harness.pool().Tick();
    bool all = false;
    harness.WaitFor([&] {
      all = harness.succeeded(1).size() == kLong;
      return true;
    });
    if (all) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1), IntervalSet({0, kLong + 1}));
}

TEST(PoolTest, IdleThreadsTakeTheRestOfAChunk) {
  TestFunctions functions;
  Gate gate;
  functions.Serve("mixed", "void()", [&](const haul_call& call) {
    if (call.task_index >= 100'000) gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  // The chunks are long when the tasks become long: with four seats, four of these run at once all
  // the same.
  harness.pool().Run(RunOf(1, "mixed", {0, 100'004}, 4));
  gate.WaitForArrivals(4);
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1), IntervalSet({0, 100'004}));
}

// Nothing is pending any more: what more may run now is in the chunk of the one that does.
TEST(PoolTest, AWidthThatIsRaisedLetsOthersTakeTheRestOfAChunk) {
  constexpr TaskIndex kLong = 100'000;
  TestFunctions functions;
  Gate gate;
  functions.Serve("mixed", "void()", [&](const haul_call& call) {
    if (call.task_index >= kLong) gate.Pass();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  std::uint64_t assignment = 0;
  TaskIndex chunk_end = 0;
  while (chunk_end <= kLong + 1) {  // until the chunk does not end with the first long task
    harness.pool().Run(RunOf(++assignment, "mixed", {0, 1'000'000}, 1));
    gate.WaitForArrivals(static_cast<int>(assignment));
    harness.pool().Reclaim(AssignmentId(assignment), 1'000'000);
    harness.WaitFor([&] { return !harness.reclaimed(assignment).empty(); });
    chunk_end = harness.reclaimed(assignment)[0].first;
  }
  harness.pool().Run(RunOf(assignment, "mixed", {}, 2));
  gate.WaitForArrivals(static_cast<int>(assignment) + 1);
  gate.Open();
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(assignment), IntervalSet({0, chunk_end}));
}

TEST(PoolTest, StoppedTasksKnowItAndTheRestComesBack) {
  TestFunctions functions;
  Gate started;
  started.Open();
  std::atomic<int> polled{0};
  functions.Serve("until_stopped", "void()", [&](const haul_call& call) {
    started.Pass();
    if (call.task_index == 0) {
      while (call.host->stop_requested(call.task) == 0) std::this_thread::yield();
      ++polled;
      return Fail(call, "stopped");
    }
    Gate stopped;
    call.host->watch_stop(
        call.task, [](void* gate) { static_cast<Gate*>(gate)->Open(); }, &stopped);
    stopped.Pass();
    call.host->watch_stop(call.task, nullptr, nullptr);
    return Fail(call, "told to stop");
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "until_stopped", {0, 100}, 2));
  harness.pool().Run(RunOf(2, "until_stopped", {1, 1}, 1));
  started.WaitForArrivals(3);
  harness.pool().StopTasks(AssignmentId(1));
  harness.WaitFor([&] { return harness.failed(1).size() == 2; });
  EXPECT_EQ(harness.outcomes(1).size(), 2u);
  for (const Outcome& outcome : harness.outcomes(1)) {
    EXPECT_EQ(outcome.cause, Cause::kFunctionError);
    EXPECT_EQ(outcome.message, outcome.tasks.first == 0 ? "stopped" : "told to stop");
  }
  IntervalSet back;
  for (const TaskRange& range : harness.reclaimed(1)) back.Add(range);
  EXPECT_EQ(back, IntervalSet({2, 98}));
  EXPECT_TRUE(harness.outcomes(2).empty());
  // More of a stopped assignment comes back at once.
  harness.pool().Run(RunOf(1, "", {200, 5}, 2));
  harness.WaitFor([&] { return harness.reclaimed(1).back() == TaskRange{200, 5}; });
  harness.pool().StopTasks(AssignmentId(2));
  harness.WaitUntilIdle();
}

TEST(PoolTest, OneTaskIsStoppedForItsTime) {
  TestFunctions functions;
  Gate started;
  started.Open();
  functions.Serve("until_stopped", "void()", [&](const haul_call& call) {
    started.Pass();
    while (call.host->stop_requested(call.task) == 0) std::this_thread::yield();
    return 0;
  });
  PoolHarness harness(std::move(functions));
  v1::Run run = RunOf(1, "until_stopped", {0, 5}, 2);
  run.set_timeout_ms(60'000);
  harness.pool().Run(run);
  started.WaitForArrivals(2);
  std::optional<SlotReading> reading;
  for (std::uint32_t i = 0; i < harness.slots().used(); ++i) {
    const std::optional<SlotReading> slot = harness.slots().Read(i);
    if (slot.has_value() && slot->task == 1) reading = slot;
  }
  ASSERT_TRUE(reading.has_value());
  EXPECT_EQ(reading->assignment, AssignmentId(1));
  EXPECT_GT(reading->deadline_us, 59'000'000);

  harness.pool().StopSome(AssignmentId(1), {1, 1}, StopReason::kTimedOut);  // runs
  harness.WaitFor([&] { return harness.failed(1).size() == 1; });
  EXPECT_EQ(harness.outcomes(1)[0].tasks, (TaskRange{1, 1}));
  EXPECT_EQ(harness.outcomes(1)[0].cause, Cause::kTimeout);
  harness.pool().StopSome(AssignmentId(1), {3, 1}, StopReason::kTimedOut);   // has not started
  harness.pool().StopSome(AssignmentId(1), {99, 1}, StopReason::kTimedOut);  // never was
  harness.WaitFor([&] { return harness.reclaimed(1).size() == 1; });
  EXPECT_THAT(harness.reclaimed(1), ElementsAre(TaskRange{3, 1}));
  harness.pool().StopTasks(AssignmentId(1));
  harness.WaitUntilIdle();
}

TEST(PoolTest, FailuresAreReportedOneByOne) {
  TestFunctions functions;
  functions.Serve("odd_fails", "void()", [](const haul_call& call) {
    if (call.task_index % 2 == 0) return 0;
    return Fail(call, "task " + std::to_string(call.task_index) + " \xff");
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "odd_fails", {0, 1000}, 2));
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1).size(), 500u);
  EXPECT_EQ(harness.failed(1).size(), 500u);
  for (const Outcome& outcome : harness.outcomes(1)) {
    if (outcome.status == TaskStatus::kSucceeded) continue;
    EXPECT_EQ(outcome.tasks.count, 1u);
    EXPECT_EQ(outcome.status, TaskStatus::kFailed);
    EXPECT_EQ(outcome.cause, Cause::kFunctionError);
    EXPECT_EQ(outcome.message, "task " + std::to_string(outcome.tasks.first) + " \\xff");
  }
}

TEST(PoolTest, LargeResultsPassAndLargerOnesFail) {
  constexpr std::size_t kPart = 100'000;
  constexpr std::size_t kLimit = 3 * kPart;
  TestFunctions functions;
  functions.Serve("large", "str()", [](const haul_call& call) {
    // In parts, as a library may.
    for (int i = 0; i < 3; ++i)
      Append(call, std::string(kPart, static_cast<char>('a' + call.task_index)));
    if (call.task_index == 19) Append(call, "x");
    return 0;
  });
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / "large_results";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directory(directory);
  PoolHarness harness(std::move(functions),
                      {.threads = 1, .results = {.bytes = kLimit, .directory = directory}});
  harness.pool().Run(RunOf(1, "large", {0, 20}, 1));
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1).size(), 19u);
  for (const Outcome& outcome : harness.outcomes(1)) {
    EXPECT_EQ(outcome.tasks.count, 1u);
    if (outcome.tasks.first == 19) {
      EXPECT_EQ(outcome.cause, Cause::kOutputLimit);
      EXPECT_EQ(outcome.message, "the result has 300001 bytes; the limit is 300000");
    } else {
      std::ifstream file(directory / outcome.output_file);
      EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
                std::string(kLimit, static_cast<char>('a' + outcome.tasks.first)));
      EXPECT_EQ(outcome.output_bytes, kLimit);
    }
  }
  // The one over the limit left nothing, although the thread has run no task since.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory),
                          std::filesystem::directory_iterator()),
            19);
  std::filesystem::remove_all(directory);
}

TEST(PoolTest, AResultThatCannotBeKeptFailsWithTheReason) {
  TestFunctions functions;
  functions.Serve("large", "str()", [](const haul_call& call) {
    for (int i = 0; i < 2; ++i) Append(call, std::string(100'000, 'x'));
    return 0;
  });
  PoolHarness harness(std::move(functions), {.threads = 1, .results = {.directory = "/nowhere"}});
  harness.pool().Run(RunOf(1, "large", {0, 2}, 1));
  harness.WaitUntilIdle();
  ASSERT_EQ(harness.failed(1).size(), 2u);
  EXPECT_EQ(harness.outcomes(1)[0].cause, Cause::kOutputLimit);
  EXPECT_EQ(harness.outcomes(1)[0].message,
            "the worker cannot keep the result of 200000 bytes: No such file or directory");
}

TEST(PoolTest, DetailIsOneOutcomeATask) {
  TestFunctions functions;
  functions.Serve("sleep", "u8()", [](const haul_call& call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    Append(call, "r");
    return 0;
  });
  PoolHarness harness(std::move(functions));
  v1::Run run = RunOf(1, "sleep", {0, 20}, 2);
  run.set_detail(true);
  harness.pool().Run(run);
  harness.WaitUntilIdle();
  ASSERT_EQ(harness.outcomes(1).size(), 20u);
  for (const Outcome& outcome : harness.outcomes(1)) {
    EXPECT_EQ(outcome.tasks.count, 1u);
    EXPECT_GE(outcome.busy_ns, 2'000'000u);
    EXPECT_LE(outcome.started_unix_us + 2000, outcome.finished_unix_us);
    EXPECT_EQ(outcome.pid, static_cast<std::uint32_t>(::getpid()));
  }
}

TEST(PoolTest, BusyTimeIsThatOfTheTasks) {
  TestFunctions functions;
  functions.Serve("sleep", "void()", [](const haul_call& call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return call.task_index == 50 ? Fail(call, "50") : 0;
  });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "sleep", {0, 100}, 2));
  harness.WaitUntilIdle();
  std::uint64_t busy_ns = 0;
  for (const Outcome& outcome : harness.outcomes(1)) {
    EXPECT_GE(outcome.busy_ns, outcome.tasks.count * 1'000'000);
    busy_ns += outcome.busy_ns;
  }
  EXPECT_GE(busy_ns, 100'000'000u);
}

TEST(PoolTest, ChargedTasksKnowTheirAttempt) {
  TestFunctions functions;
  functions.Serve("attempt", "u8()", [](const haul_call& call) {
    Append(call, std::string(1, static_cast<char>(call.attempt)));
    return 0;
  });
  PoolHarness harness(std::move(functions));
  v1::Run run = RunOf(1, "attempt", {0, 1000}, 1);
  for (const auto& [task, charged] :
       {std::pair(500u, 2u), std::pair(501u, 1u), std::pair(999u, 1u)}) {
    run.add_charged_tasks(task);
    run.add_charged_attempts(charged);
  }
  harness.pool().Run(run);
  harness.WaitUntilIdle();
  EXPECT_EQ(harness.succeeded(1).size(), 1000u);
  for (const Outcome& outcome : harness.outcomes(1)) {
    const TaskIndex first = outcome.tasks.first;
    const std::uint32_t expected = first == 500 ? 3 : first == 501 || first == 999 ? 2 : 1;
    EXPECT_EQ(outcome.attempt, expected) << outcome.tasks;
    for (std::uint64_t i = 0; i < outcome.tasks.count; ++i) {
      ASSERT_EQ(outcome.results[i][0], static_cast<char>(expected));
    }
  }
}

TEST(PoolTest, WhatCannotRunFailsWithAReason) {
  TestFunctions functions;
  functions.Serve("noop", "void()", [](const haul_call&) { return 0; });
  PoolHarness harness(std::move(functions));
  harness.pool().Run(RunOf(1, "unknown.v1", {3, 40}, 2));
  v1::Run malformed = RunOf(2, "noop", {0, 2}, 2);
  malformed.clear_array();
  malformed.mutable_inputs()->set_uniform_size(3);
  malformed.mutable_inputs()->set_data("1234");
  harness.pool().Run(malformed);
  harness.pool().Run(RunOf(3, "", {0, 1}, 1));
  harness.WaitUntilIdle();
  ASSERT_EQ(harness.outcomes(1).size(), 1u);
  EXPECT_EQ(harness.outcomes(1)[0].tasks, (TaskRange{3, 40}));
  EXPECT_EQ(harness.outcomes(1)[0].cause, Cause::kStartFailed);
  EXPECT_THAT(harness.outcomes(1)[0].message, HasSubstr("unknown.v1"));
  EXPECT_THAT(harness.outcomes(2)[0].message, HasSubstr("do not describe 2 values"));
  EXPECT_THAT(harness.outcomes(3)[0].message, HasSubstr("run.function: missing"));
}

// The pool would else count them as few, or none.
TEST(PoolTest, MoreTasksThanCanBeCountedFail) {
  TestFunctions functions;
  functions.Serve("noop", "void()", [](const haul_call&) { return 0; });
  PoolHarness harness(std::move(functions));
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  harness.pool().Run(RunOf(1, "noop", {0, kMost}, 0));
  harness.pool().Run(RunOf(2, "noop", {0, kMost * 3}, 1));
  harness.pool().StopTasks(AssignmentId(1));
  harness.WaitUntilIdle();
  EXPECT_THAT(harness.reclaimed(1), ElementsAre(TaskRange{0, kMost}));
  ASSERT_EQ(harness.outcomes(2).size(), 1u);
  EXPECT_THAT(harness.outcomes(2)[0].message, HasSubstr("run.count: 13835058055282163712, and"));
}

}  // namespace
}  // namespace haul::executor
