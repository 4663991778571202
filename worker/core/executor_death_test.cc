// What an executor that died was given and had not reported: its worker starts none of it again
// under the same assignment, whose id is the fencing token, since it may have started.
#include <gtest/gtest.h>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

constexpr AssignmentId kGiven{1, 1};
constexpr AssignmentId kGivenLater{1, 2};
constexpr JobId kJobOfThem{7};
constexpr ExecutorId kFirstExecutor{1};
constexpr ExecutorId kNextExecutor{2};

// A worker with one executor of two threads.
class ExecutorDeathTest : public testing::Test {
 protected:
  ExecutorDeathTest() : worker_({.threads = 2, .serves_functions = true}) {
    worker_.Send(Started{});
    worker_.Take<StartExecutor>();
    worker_.Send(ExecutorReady{kFirstExecutor});
    worker_.Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  }
  void Receive(AssignmentId id, TaskRange tasks, bool own_process = false) {
    worker_.Send(AssignmentReceived{.assignment = id,
                                    .job = kJobOfThem,
                                    .tasks = tasks,
                                    .width = 2,
                                    .kind = WorkKind::kFunction,
                                    .own_process = own_process,
                                    .charged = {}});
  }
  void ExpectRun(AssignmentId id, TaskRange tasks, ExecutorId executor) {
    const StartRun run = worker_.Take<StartRun>();
    EXPECT_EQ(run.assignment, id);
    EXPECT_EQ(run.tasks, tasks);
    EXPECT_EQ(run.executor, executor);
  }
  // Task 0 took it down.
  void FirstExecutorDies() {
    worker_.Send(ExecutorDied{
        .executor = kFirstExecutor, .suspects = {{kGiven, 0, true}}, .code = 11, .message = {}});
    EXPECT_EQ(worker_.Take<RecordOutcome>().outcome.tasks, (TaskRange{0, 1}));
  }
  void ExpectHandedBack(const std::vector<TaskRange>& tasks, HandBackReason reason) {
    const SendHandedBack handed = worker_.Take<SendHandedBack>();
    EXPECT_EQ(handed.assignment, kGiven);
    EXPECT_EQ(handed.tasks, tasks);
    EXPECT_EQ(handed.reason, reason);
  }

  Recorder worker_;
};

TEST_F(ExecutorDeathTest, WhatItHadComesBackUnderALaterAssignment) {
  Receive(kGiven, {0, 10});
  ExpectRun(kGiven, {0, 10}, kFirstExecutor);
  FirstExecutorDies();
  ExpectHandedBack({{1, 9}}, HandBackReason::kExecutorDied);
  worker_.Take<StartExecutor>();
  const std::vector<HeldLine> held = worker_.core.Held();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].tasks, (std::vector<TaskRange>{{0, 1}})) << "its outcome is owed";
  Receive(kGivenLater, {1, 9});
  worker_.Send(ExecutorReady{kNextExecutor});
  ExpectRun(kGivenLater, {1, 9}, kNextExecutor);
}

TEST_F(ExecutorDeathTest, ARevokeThatAskedItIsAnsweredWithNothing) {
  Receive(kGiven, {0, 10});
  ExpectRun(kGiven, {0, 10}, kFirstExecutor);
  worker_.Send(RevokeReceived{kGiven, 5});
  worker_.Take<ReclaimRun>();
  FirstExecutorDies();
  ExpectHandedBack({{1, 9}}, HandBackReason::kExecutorDied);
  worker_.Take<StartExecutor>();
  ExpectHandedBack({}, HandBackReason::kRevoked);
}

TEST_F(ExecutorDeathTest, OfAWorkerThatDrainsNothingIsLeftToRun) {
  Receive(kGiven, {0, 10});
  ExpectRun(kGiven, {0, 10}, kFirstExecutor);
  worker_.Send(DrainRequested{});
  worker_.Take<SayDraining>();
  EXPECT_EQ(worker_.Take<ReclaimRun>().count, 10u);
  FirstExecutorDies();
  ExpectHandedBack({{1, 9}}, HandBackReason::kExecutorDied);
  worker_.Take<StartExecutor>();
  worker_.Send(ExecutorReady{kNextExecutor});
}

TEST_F(ExecutorDeathTest, OneThatWasNotReadyHasStartedNothing) {
  Receive(kGiven, {0, 1}, /*own_process=*/true);
  EXPECT_TRUE(worker_.Take<StartExecutor>().alone);
  worker_.Send(ExecutorDied{.executor = kNextExecutor, .suspects = {}, .message = {}});
  worker_.now.monotonic_us = worker_.core.NextDeadlineUs().value();
  worker_.Send(TimePassed{});
  worker_.Take<StartExecutor>();
  const ExecutorId third{3};
  worker_.Send(ExecutorReady{third});
  ExpectRun(kGiven, {0, 1}, third);
}

}  // namespace
}  // namespace haul::worker
