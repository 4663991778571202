// Commands that are given ahead: stories.
#include <gtest/gtest.h>

#include <memory>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

const AssignmentId kOlder(1, 1);
const AssignmentId kNewer(1, 2);
constexpr std::int64_t kLeaseUs = 15'000'000;

AssignmentReceived Commands(AssignmentId id, TaskRange tasks, std::uint32_t width = 2) {
  return {.assignment = id,
          .job = JobId(id == kOlder ? 7 : 8),
          .tasks = tasks,
          .width = width,
          .charged = {}};
}

OutcomeArrived Done(AssignmentId id, TaskIndex task) {
  return {.assignment = id, .tasks = {task, 1}, .byte_count = 100};
}

// A worker of two cpus that gives three commands ahead.
class CommandsAheadTest : public testing::Test {
 protected:
  CommandsAheadTest() : worker_({.threads = 2, .commands_ahead_limit = 3}) {
    worker_.Send(Started{});
    worker_.Send(Welcomed{.lease_us = kLeaseUs, .dropped = {}});
  }

  void ExpectStart(AssignmentId id, TaskIndex task, bool ahead) {
    const StartCommand start = worker_.Take<StartCommand>();
    EXPECT_EQ(start.assignment, id);
    EXPECT_EQ(start.task, task);
    EXPECT_EQ(start.ahead, ahead);
  }
  // Tasks 0 and 1 run, 2 to 4 are ahead, others wait.
  void Fill(std::uint64_t count = 10) {
    worker_.Send(Commands(kOlder, {0, count}));
    ExpectStart(kOlder, 0, false);
    ExpectStart(kOlder, 1, false);
    for (TaskIndex task = 2; task < 5; ++task) ExpectStart(kOlder, task, true);
  }
  void ExpectWithdrawal(AssignmentId id = kOlder) {
    EXPECT_EQ(worker_.Take<WithdrawCommands>().assignment, id);
  }

  Recorder worker_;
};

TEST_F(CommandsAheadTest, OneThatEndsIsFollowedWithoutAWordAndAnotherIsGivenAhead) {
  Fill();
  worker_.Send(Done(kOlder, 1));
  worker_.Take<KeepOutcome>();
  ExpectStart(kOlder, 5, true);
  worker_.Send(Done(kOlder, 2));  // which had its place
  worker_.Take<KeepOutcome>();
  ExpectStart(kOlder, 6, true);
}

TEST_F(CommandsAheadTest, TheEndOfTheWorkIsAsMuchAsThereIs) {
  Fill(5);
  for (TaskIndex task = 0; task < 4; ++task) {
    worker_.Send(Done(kOlder, task));
    worker_.Take<KeepOutcome>();
  }
  // One place is empty since the last but one ended.
  worker_.Send(Commands(kNewer, {0, 1}));
  ExpectStart(kNewer, 0, false);
}

TEST_F(CommandsAheadTest, RoomThatOthersLeaveIsForWhatWaitsAhead) {
  worker_.Send(Commands(kNewer, {0, 1}));
  ExpectStart(kNewer, 0, false);
  worker_.Send(Commands(kOlder, {0, 3}));
  ExpectStart(kOlder, 0, false);
  ExpectStart(kOlder, 1, true);
  ExpectStart(kOlder, 2, true);
  worker_.Send(Done(kNewer, 0));
  worker_.Take<KeepOutcome>();
  EXPECT_EQ(worker_.Take<AdvanceCommands>().assignment, kOlder);
}

TEST_F(CommandsAheadTest, WithoutALeaseTheyComeBackAndStartWhenThereIsOneAgain) {
  Fill();
  worker_.Send(Disconnected{});
  EXPECT_EQ(worker_.core.NextDeadlineUs(), 1'000'000 + kLeaseUs + 1);
  worker_.now.monotonic_us += kLeaseUs + 1;
  worker_.Send(TimePassed{});
  ExpectWithdrawal();
  worker_.Send(CommandsWithdrawn{kOlder, {3, 4}});  // 2 has started, in the place of 0
  worker_.Send(Done(kOlder, 0));
  worker_.Take<KeepOutcome>();
  worker_.Send(Welcomed{.lease_us = kLeaseUs, .dropped = {}});
  for (TaskIndex task = 3; task < 6; ++task) ExpectStart(kOlder, task, true);
}

TEST_F(CommandsAheadTest, WhatIsMoreUrgentHasTheNextPlace) {
  Fill();
  AssignmentReceived urgent = Commands(kNewer, {0, 1});
  urgent.priority = 5;
  worker_.Send(urgent);
  ExpectWithdrawal();
  worker_.Send(CommandsWithdrawn{kOlder, {2, 3, 4}});
  worker_.Send(Done(kOlder, 0));
  worker_.Take<KeepOutcome>();
  ExpectStart(kNewer, 0, false);
  for (TaskIndex task = 2; task < 5; ++task) ExpectStart(kOlder, task, true);
}

TEST_F(CommandsAheadTest, ARevokeIsAnsweredWithThem) {
  Fill(5);
  worker_.Send(RevokeReceived{kOlder, 2});
  ExpectWithdrawal();
  worker_.Send(CommandsWithdrawn{kOlder, {2, 3, 4}});
  EXPECT_EQ(worker_.Take<SendHandedBack>().tasks, (std::vector<TaskRange>{{3, 2}}));
  ExpectStart(kOlder, 2, true);
}

TEST_F(CommandsAheadTest, CancelledOnesEndAtOnceAndWhatHasStartedIsStopped) {
  Fill(5);
  worker_.Send(CancelReceived{kOlder, "alice", {}});
  ExpectWithdrawal();
  for (TaskIndex task = 0; task < 5; ++task) {
    EXPECT_EQ(worker_.Take<StopCommand>().task, task);
  }
  worker_.Send(CommandsWithdrawn{kOlder, {3, 4}});  // 2 has started
  const RecordOutcome record = worker_.Take<RecordOutcome>();
  EXPECT_EQ(record.outcome.tasks, (TaskRange{3, 2}));
  EXPECT_EQ(record.outcome.status, TaskStatus::kCancelled);
  for (TaskIndex task = 0; task < 3; ++task) {
    worker_.Send(Done(kOlder, task));
    EXPECT_EQ(worker_.Take<KeepOutcome>().assignment, kOlder);
  }
}

TEST_F(CommandsAheadTest, AStartThatFailsLeavesTheOrder) {
  Fill(5);
  OutcomeArrived failed = Done(kOlder, 2);  // told before the end of 0, which it followed
  failed.status = TaskStatus::kFailed;
  worker_.Send(failed);
  worker_.Take<KeepOutcome>();
  worker_.Send(Done(kOlder, 0));
  worker_.Take<KeepOutcome>();
  // 3 has the place, and 4 waits: no place is free.
  worker_.Send(Commands(kNewer, {0, 1}));
}

TEST_F(CommandsAheadTest, DrainingHandsThemBack) {
  Fill(5);
  worker_.Send(DrainRequested{});
  worker_.Take<SayDraining>();
  ExpectWithdrawal();
  worker_.Send(CommandsWithdrawn{kOlder, {2, 3, 4}});
  EXPECT_EQ(worker_.Take<SendHandedBack>().tasks, (std::vector<TaskRange>{{2, 3}}));
}

TEST_F(CommandsAheadTest, ANarrowerJobDoesNotPassItsPlacesOn) {
  Fill(6);
  worker_.Send(Commands(kOlder, {6, 1}, 1));
  ExpectWithdrawal();
  worker_.Send(CommandsWithdrawn{kOlder, {2, 3, 4}});
  worker_.Send(Done(kOlder, 0));
  worker_.Take<KeepOutcome>();
  // Behind the one that stays.
  for (TaskIndex task = 2; task < 5; ++task) ExpectStart(kOlder, task, true);
  worker_.Send(Done(kOlder, 1));
  worker_.Take<KeepOutcome>();
  ExpectStart(kOlder, 5, true);
}

// It would start one by one, and what is urgent wait for the last.
TEST_F(CommandsAheadTest, NothingPassesItsPlaceOnThatGoesAheadOnlyBecauseItIsDeeper) {
  Recorder worker({.threads = 2, .serves_functions = true, .commands_ahead_limit = 3});
  worker.Send(Started{});
  const ExecutorId executor = worker.Take<StartExecutor>().executor;
  worker.Send(Welcomed{.lease_us = kLeaseUs, .dropped = {}});
  worker.Send(ExecutorReady{executor});
  AssignmentReceived parent{
      .assignment = AssignmentId(1, 3), .job = JobId(9), .tasks = {0, 1}, .charged = {}};
  parent.kind = WorkKind::kFunction;
  worker.Send(parent);
  worker.Take<StartRun>();
  worker.Send(TaskBlocked{executor, parent.assignment, 0});
  worker.Take<ReportBlocked>();
  AssignmentReceived deeper = Commands(kOlder, {0, 5}, 1);
  deeper.depth = 1;
  worker.Send(deeper);
  EXPECT_FALSE(worker.Take<StartCommand>().ahead);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(worker.Take<StartCommand>().ahead);
  AssignmentReceived urgent = Commands(kNewer, {0, 1});
  urgent.priority = 5;
  worker.Send(urgent);
  EXPECT_EQ(worker.Take<WithdrawCommands>().assignment, kOlder);
  worker.Take<ReclaimRun>();
  worker.Send(CommandsWithdrawn{kOlder, {1, 2, 3}});
  worker.Send(Done(kOlder, 0));
  worker.Take<KeepOutcome>();
  EXPECT_EQ(worker.Take<StartCommand>().assignment, kNewer);
  EXPECT_EQ(worker.Take<StartCommand>().assignment, kOlder) << "in the room of the one that waits";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(worker.Take<StartCommand>().ahead);
}

TEST_F(CommandsAheadTest, NoMoreProcessesThanThereMayBe) {
  Recorder worker({.threads = 8, .commands_ahead_limit = 3, .command_limit = 2});
  worker.Send(Started{});
  worker.Send(Welcomed{.lease_us = kLeaseUs, .dropped = {}});
  worker.Send(Commands(kOlder, {0, 4}, 8));
  EXPECT_FALSE(worker.Take<StartCommand>().ahead);
  EXPECT_FALSE(worker.Take<StartCommand>().ahead);
  EXPECT_TRUE(worker.Take<StartCommand>().ahead);
  EXPECT_TRUE(worker.Take<StartCommand>().ahead);
  // Those of others come when theirs is the next place.
  worker.Send(Commands(kNewer, {0, 1}, 8));
  for (TaskIndex task = 0; task < 3; ++task) {
    worker.Send(Done(kOlder, task));
    worker.Take<KeepOutcome>();
  }
  EXPECT_EQ(worker.Take<StartCommand>().assignment, kNewer);
}

TEST_F(CommandsAheadTest, TasksThatStartAtMostOnceWaitHere) {
  AssignmentReceived event = Commands(kOlder, {0, 5});
  event.at_most_once = true;
  worker_.Send(event);
  ExpectStart(kOlder, 0, false);
  ExpectStart(kOlder, 1, false);
  worker_.Send(Done(kOlder, 0));
  worker_.Take<KeepOutcome>();
  ExpectStart(kOlder, 2, false);
}

TEST_F(CommandsAheadTest, StopKillsHandsThemBackAndForgetsThem) {
  Fill(5);
  worker_.Send(StopRequested{});
  worker_.Take<SayDraining>();
  worker_.Take<KillCommands>();
  EXPECT_EQ(worker_.Take<SendHandedBack>().tasks, (std::vector<TaskRange>{{0, 5}}));
  worker_.Take<ForgetAssignment>();
  worker_.Take<Leave>();
}

}  // namespace
}  // namespace haul::worker
