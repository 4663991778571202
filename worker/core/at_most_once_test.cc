// Tasks that start at most once: what may have started is answered for as lost, never started
// again and never handed back.
#include <gtest/gtest.h>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

constexpr AssignmentId kHeldOnce{1, 1};
constexpr JobId kJobOnce{7};
constexpr ExecutorId kOnlyExecutor{1};

class AtMostOnceTest : public testing::Test {
 protected:
  explicit AtMostOnceTest(CoreOptions options = {.threads = 2, .serves_functions = true})
      : worker_(options) {
    worker_.Send(Started{});
    worker_.Take<StartExecutor>();
    worker_.Send(ExecutorReady{kOnlyExecutor});
    worker_.Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  }
  void Receive(WorkKind kind, TaskRange tasks, bool own_process = false) {
    worker_.Send(AssignmentReceived{.assignment = kHeldOnce,
                                    .job = kJobOnce,
                                    .tasks = tasks,
                                    .width = 2,
                                    .kind = kind,
                                    .at_most_once = true,
                                    .own_process = own_process,
                                    .charged = {}});
  }
  void ExpectLost(TaskRange tasks) {
    const RecordOutcome lost = worker_.Take<RecordOutcome>();
    EXPECT_EQ(lost.outcome.tasks, tasks);
    EXPECT_EQ(lost.outcome.status, TaskStatus::kLost);
    EXPECT_EQ(lost.outcome.cause, Cause::kWorkerLost);
  }

  Recorder worker_;
};

TEST_F(AtMostOnceTest, AStoppedWorkerHandsBackWhatDidNotStartAndTheRestIsLost) {
  Receive(WorkKind::kCommand, {0, 3});
  worker_.Take<StartCommand>();
  worker_.Take<StartCommand>();
  worker_.Send(StopRequested{});
  worker_.Take<SayDraining>();
  const SendHandedBack first = worker_.Take<SendHandedBack>();
  EXPECT_EQ(first.tasks, (std::vector<TaskRange>{{2, 1}}));
  worker_.Take<KillCommands>();
  ExpectLost({0, 2});
  worker_.Take<EndExecutor>();
  worker_.ExpectNoMore();
  // They are owed like any outcome, and only then it leaves.
  worker_.Send(ExecutorDied{.executor = kOnlyExecutor, .suspects = {}, .message = {}});
  worker_.ExpectNoMore();
  worker_.Send(SendSlotFree{});
  worker_.Take<SealBatch>();
  worker_.Take<SendBatch>();
  worker_.Take<Leave>();
}

TEST_F(AtMostOnceTest, AnExecutorThatDiesTakesWhatItWasGivenWithIt) {
  Receive(WorkKind::kFunction, {0, 4});
  EXPECT_EQ(worker_.Take<StartRun>().tasks, (TaskRange{0, 4}));
  worker_.Send(
      ExecutorDied{.executor = kOnlyExecutor, .suspects = {{kHeldOnce, 1, true}}, .message = {}});
  const RecordOutcome crashed = worker_.Take<RecordOutcome>();
  EXPECT_EQ(crashed.outcome.tasks, (TaskRange{1, 1}));
  EXPECT_EQ(crashed.outcome.status, TaskStatus::kCrashed);
  ExpectLost({0, 1});
  ExpectLost({2, 2});
  worker_.Take<StartExecutor>();
  worker_.Send(ExecutorReady{ExecutorId(2)});
  worker_.ExpectNoMore();
}

TEST_F(AtMostOnceTest, WhatAnExecutorThatStartsWasNotGivenYetGoesElsewhere) {
  Receive(WorkKind::kFunction, {0, 1}, /*own_process=*/true);
  EXPECT_TRUE(worker_.Take<StartExecutor>().alone);
  worker_.Send(DrainRequested{});
  worker_.Take<SayDraining>();
  worker_.Send(ExecutorReady{ExecutorId(2)});
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, ExecutorId(2));
  worker_.Send(ExecutorDied{.executor = ExecutorId(2), .suspects = {}, .message = {}});
  EXPECT_EQ(worker_.Take<SendHandedBack>().tasks, (std::vector<TaskRange>{{0, 1}}));
  worker_.Take<ForgetAssignment>();
  worker_.Take<Leave>();
}

TEST_F(AtMostOnceTest, AStoppedWorkerHandsBackWhatWaitsForItsExecutor) {
  Receive(WorkKind::kFunction, {0, 2}, /*own_process=*/true);
  worker_.Take<StartExecutor>();
  worker_.Take<StartExecutor>();
  worker_.Send(ExecutorReady{ExecutorId(2)});
  EXPECT_EQ(worker_.Take<StartRun>().tasks, (TaskRange{0, 1}));
  worker_.Send(StopRequested{});
  worker_.Take<SayDraining>();
  worker_.Take<KillCommands>();
  ExpectLost({0, 1});
  EXPECT_EQ(worker_.Take<SendHandedBack>().tasks, (std::vector<TaskRange>{{1, 1}}));
  for (int executors = 0; executors < 3; ++executors) worker_.Take<EndExecutor>();
}

TEST_F(AtMostOnceTest, CancelledOnesAreCancelledAndNotLost) {
  Receive(WorkKind::kFunction, {0, 2});
  worker_.Take<StartRun>();
  worker_.Send(CancelReceived{kHeldOnce, "me", {}});
  worker_.Take<StopRun>();
  worker_.Send(ExecutorDied{.executor = kOnlyExecutor, .suspects = {}, .message = {}});
  const RecordOutcome outcome = worker_.Take<RecordOutcome>();
  EXPECT_EQ(outcome.outcome.tasks, (TaskRange{0, 2}));
  EXPECT_EQ(outcome.outcome.status, TaskStatus::kCancelled);
}

}  // namespace
}  // namespace haul::worker
