#include "worker/core/core.h"

#include <gtest/gtest.h>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

constexpr AssignmentId kFirst{1, 1};
constexpr AssignmentId kSecond{1, 2};
constexpr JobId kJob{7};
constexpr JobId kOtherJob{8};
constexpr ExecutorId kExecutor{1};

AssignmentReceived Commands(AssignmentId id, JobId job, TaskRange tasks, std::uint32_t width) {
  return {.assignment = id, .job = job, .tasks = tasks, .width = width, .charged = {}};
}

AssignmentReceived Functions(AssignmentId id, JobId job, TaskRange tasks, std::uint32_t width) {
  AssignmentReceived event = Commands(id, job, tasks, width);
  event.kind = WorkKind::kFunction;
  return event;
}

OutcomeArrived CommandDone(AssignmentId id, TaskIndex task,
                           TaskStatus status = TaskStatus::kSucceeded) {
  return {.assignment = id, .tasks = {task, 1}, .status = status, .byte_count = 100};
}

OutcomeArrived RunDone(AssignmentId id, TaskRange tasks, ExecutorId executor = kExecutor) {
  return {.executor = executor, .assignment = id, .tasks = tasks, .byte_count = 100};
}

// A worker of two threads that has been welcomed.
class CoreTest : public testing::Test {
 protected:
  void Welcome(CoreOptions options, std::uint32_t threads = 2) {
    options.threads = threads;
    worker_ = std::make_unique<Recorder>(options);
    worker().Send(Started{});
    if (options.serves_functions) {
      for (std::uint32_t i = 0; i < options.processes; ++i) worker().Take<StartExecutor>();
      for (std::uint32_t i = 0; i < options.processes; ++i) {
        worker().Send(ExecutorReady{ExecutorId(i + 1)});
      }
    }
    worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  }
  void WelcomeForCommands() { Welcome({.commands_ahead_limit = 0}); }
  void WelcomeForFunctions(std::uint32_t processes = 1) {
    Welcome({.processes = processes, .serves_functions = true});
  }
  Recorder& worker() { return *worker_; }

  void ExpectStart(AssignmentId id, TaskIndex task) {
    const StartCommand start = worker().Take<StartCommand>();
    EXPECT_EQ(start.assignment, id);
    EXPECT_EQ(start.task, task);
  }
  void ExpectRun(TaskRange tasks, std::uint32_t width, ExecutorId executor = kExecutor) {
    const StartRun run = worker().Take<StartRun>();
    EXPECT_EQ(run.executor, executor);
    EXPECT_EQ(run.tasks, tasks);
    EXPECT_EQ(run.width, width);
  }
  void ExpectHandedBack(const std::vector<TaskRange>& tasks, HandBackReason reason) {
    const SendHandedBack handed = worker().Take<SendHandedBack>();
    EXPECT_EQ(handed.tasks, tasks);
    EXPECT_EQ(handed.reason, reason);
  }
  // The outcomes that are owed leave as batches of these sizes, numbered from `sequence`.
  void ExpectSealed(std::uint64_t sequence, const std::vector<std::size_t>& outcome_counts) {
    worker().Send(SendSlotFree{});
    for (const std::size_t count : outcome_counts) {
      const SealBatch seal = worker().Take<SealBatch>();
      EXPECT_EQ(seal.sequence, sequence);
      EXPECT_EQ(seal.outcome_count, count);
      EXPECT_EQ(worker().Take<SendBatch>().sequence, sequence);
      ++sequence;
    }
    worker().ExpectNoMore();
  }

 private:
  std::unique_ptr<Recorder> worker_;
};

TEST_F(CoreTest, CommandsStartUpToTheCpusAndTheNextWhenOneEnds) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {10, 3}, 5));
  ExpectStart(kFirst, 10);
  ExpectStart(kFirst, 11);
  worker().Send(CommandDone(kFirst, 11));
  EXPECT_EQ(worker().Take<KeepOutcome>().assignment, kFirst);
  ExpectStart(kFirst, 12);
}

TEST_F(CoreTest, WidthLimitsAJobAcrossItsAssignments) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 1}, 1));
  ExpectStart(kFirst, 0);
  worker().Send(Commands(kSecond, kJob, {1, 2}, 1));
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectStart(kSecond, 1);
}

TEST_F(CoreTest, HigherPriorityGoesFirstAndNothingOvertakesWhatDoesNotFit) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 1}, 1));
  ExpectStart(kFirst, 0);
  AssignmentReceived wide = Commands(AssignmentId(1, 3), kOtherJob, {0, 1}, 1);
  wide.cpus_milli = 2000;
  wide.priority = 5;
  worker().Send(wide);
  worker().Send(Commands(kSecond, JobId(9), {0, 1}, 1));
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectStart(AssignmentId(1, 3), 0);
}

TEST_F(CoreTest, AChargedTaskStartsWithItsNextAttempt) {
  WelcomeForCommands();
  AssignmentReceived event = Commands(kFirst, kJob, {4, 1}, 1);
  event.charged = {{4, 2}};
  worker().Send(event);
  EXPECT_EQ(worker().Take<StartCommand>().attempt, 3u);
}

TEST_F(CoreTest, OutcomesAreOwedUntilTheyAreDurableAndResentUnchanged) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 2}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectSealed(1, {1});
  EXPECT_FALSE(worker().core.HasUnsent());

  worker().Send(Disconnected{});
  worker().Send(CommandDone(kFirst, 1));
  worker().Take<KeepOutcome>();
  const std::vector<HeldLine> held = worker().core.Held();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].tasks, (std::vector<TaskRange>{{0, 2}}));
  worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  worker().Send(SendSlotFree{});
  EXPECT_EQ(worker().Take<SendBatch>().sequence, 1u);
  EXPECT_EQ(worker().Take<SealBatch>().sequence, 2u);
  EXPECT_EQ(worker().Take<SendBatch>().sequence, 2u);

  worker().Send(BatchesDurable{1});
  EXPECT_EQ(worker().Take<ForgetBatches>().through, 1u);
  EXPECT_EQ(worker().core.Held()[0].tasks, (std::vector<TaskRange>{{1, 1}}));
  worker().Send(BatchesDurable{2});
  EXPECT_EQ(worker().Take<ForgetAssignment>().assignment, kFirst);
  worker().Take<ForgetBatches>();
  EXPECT_TRUE(worker().core.Held().empty());
}

TEST_F(CoreTest, OutcomesGatherWhileThereIsMoreToStart) {
  Welcome({.commands_ahead_limit = 0, .gather_us = 4'000});
  worker().now.monotonic_us += 1'000'000;
  worker().Send(Commands(kFirst, kJob, {0, 4}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  // The first after a quiet time goes at once, the next waits for company, but not for ever.
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectStart(kFirst, 2);
  EXPECT_TRUE(worker().core.WantsToSend());
  ExpectSealed(1, {1});
  worker().Send(CommandDone(kFirst, 1));
  worker().Take<KeepOutcome>();
  ExpectStart(kFirst, 3);
  worker().Send(Commands(kSecond, kJob, {10, 1}, 2));
  EXPECT_FALSE(worker().core.WantsToSend());
  ASSERT_EQ(worker().core.NextDeadlineUs(), worker().now.monotonic_us + 4'000);
  worker().now.monotonic_us += 4'000;
  worker().Send(TimePassed{});
  EXPECT_TRUE(worker().core.WantsToSend());
  ExpectSealed(2, {1});
  // The last task to start has started: who waits for the rest shall not wait longer.
  worker().Send(CommandDone(kFirst, 2));
  worker().Take<KeepOutcome>();
  ExpectStart(kSecond, 10);
  EXPECT_TRUE(worker().core.WantsToSend());
}

TEST_F(CoreTest, WhatWaitsBehindAWriteIsOneBatchAndAMessageIsBounded) {
  Welcome({.message_byte_limit = 250, .commands_ahead_limit = 0});
  worker().Send(Commands(kFirst, kJob, {0, 5}, 5));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  for (TaskIndex task = 0; task < 5; ++task) {
    worker().Send(CommandDone(kFirst, task));
    worker().Take<KeepOutcome>();
    if (task + 2 < 5) ExpectStart(kFirst, task + 2);
  }
  ExpectSealed(1, {2, 1});
  ExpectSealed(3, {2});
  worker().Send(SendSlotFree{});
  worker().Send(Disconnected{});
  worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  worker().Send(SendSlotFree{});
  EXPECT_EQ(worker().Take<SendBatch>().sequence, 1u);
  worker().Send(SendSlotFree{});
  EXPECT_EQ(worker().Take<SendBatch>().sequence, 2u);
  worker().Send(SendSlotFree{});
  EXPECT_EQ(worker().Take<SendBatch>().sequence, 3u);
}

TEST_F(CoreTest, PastTheCapOfOwedBytesNothingStarts) {
  Welcome({.owed_byte_limit = 150, .commands_ahead_limit = 0});
  worker().Send(Commands(kFirst, kJob, {0, 4}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectStart(kFirst, 2);
  worker().Send(CommandDone(kFirst, 1));
  worker().Take<KeepOutcome>();
  ExpectSealed(1, {2});
  worker().Send(BatchesDurable{1});
  worker().Take<ForgetBatches>();
  ExpectStart(kFirst, 3);
}

TEST_F(CoreTest, PastTheLeaseNothingStartsUntilTheCoordinatorIsHeard) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 2}, 1));
  ExpectStart(kFirst, 0);
  worker().Send(Disconnected{});
  worker().now.monotonic_us += 15'000'001;
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  ExpectStart(kFirst, 1);
}

TEST_F(CoreTest, ADroppedAssignmentIsStoppedAndNothingOfItReported) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 3}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectStart(kFirst, 2);
  ExpectSealed(1, {1});
  worker().Send(Disconnected{});
  worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {kFirst}});
  EXPECT_EQ(worker().Take<StopCommand>().task, 1u);
  EXPECT_EQ(worker().Take<StopCommand>().task, 2u);
  EXPECT_EQ(worker().Take<VoidBatch>().sequence, 1u);
  worker().Take<ForgetAssignment>();
  // What still runs keeps its cpu until it has ended, and then says nothing.
  worker().Send(Commands(kSecond, kOtherJob, {0, 1}, 1));
  worker().Send(CommandDone(kFirst, 1, TaskStatus::kFailed));
  ExpectStart(kSecond, 0);
  worker().Send(CommandDone(kFirst, 2, TaskStatus::kFailed));
}

TEST_F(CoreTest, ARevokeTakesFromTheEndOfWhatHasNotStarted) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 10}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(RevokeReceived{kFirst, 3});
  ExpectHandedBack({{7, 3}}, HandBackReason::kRevoked);
  worker().Send(RevokeReceived{kFirst, 100});
  ExpectHandedBack({{2, 5}}, HandBackReason::kRevoked);
  worker().Send(RevokeReceived{kFirst, 1});
  ExpectHandedBack({}, HandBackReason::kRevoked);
  worker().Send(RevokeReceived{AssignmentId(1, 99), 1});
  ExpectHandedBack({}, HandBackReason::kRevoked);
}

TEST_F(CoreTest, CancelReportsWhatHasNotStartedAndStopsWhatRuns) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 9}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(CancelReceived{kFirst, "ada", {}});
  EXPECT_EQ(worker().Take<StopCommand>().task, 0u);
  EXPECT_EQ(worker().Take<StopCommand>().task, 1u);
  const Outcome rest = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(rest.tasks, (TaskRange{2, 7}));
  EXPECT_EQ(rest.status, TaskStatus::kCancelled);
  EXPECT_EQ(rest.message, "ada");
  worker().Send(CommandDone(kFirst, 0, TaskStatus::kFailed));
  EXPECT_TRUE(worker().Take<KeepOutcome>().cancelled);
  worker().Send(CommandDone(kFirst, 1));
  EXPECT_FALSE(worker().Take<KeepOutcome>().cancelled);
}

TEST_F(CoreTest, CancelledTasksEndAndTheRestOfTheirAssignmentGoesOn) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 9}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(CancelReceived{kFirst, "ada", {{1, 2}, {5, 100}}});
  EXPECT_EQ(worker().Take<StopCommand>().task, 1u);
  EXPECT_EQ(worker().Take<RecordOutcome>().outcome.tasks, (TaskRange{2, 1}));
  const Outcome tail = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(tail.tasks, (TaskRange{5, 4}));
  EXPECT_EQ(tail.status, TaskStatus::kCancelled);
  EXPECT_EQ(tail.message, "ada");
  worker().Send(CancelReceived{kFirst, "ada", {{1, 2}}});  // said twice
  worker().Send(CommandDone(kFirst, 1, TaskStatus::kFailed));
  EXPECT_TRUE(worker().Take<KeepOutcome>().cancelled);
  ExpectStart(kFirst, 3);
  worker().Send(CommandDone(kFirst, 0, TaskStatus::kFailed));
  EXPECT_FALSE(worker().Take<KeepOutcome>().cancelled) << "it was wanted";
  ExpectStart(kFirst, 4);
}

TEST_F(CoreTest, CancelledFunctionsComeBackFromTheirExecutorOrStop) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 10}, 2));
  ExpectRun({0, 10}, 2);
  worker().Send(CancelReceived{kFirst, "ada", {{1, 3}}});
  EXPECT_EQ(worker().Take<StopTasks>().tasks, (TaskRange{1, 3}));
  worker().Send(TasksReclaimed{kExecutor, kFirst, {2, 2}});
  EXPECT_EQ(worker().Take<RecordOutcome>().outcome.tasks, (TaskRange{2, 2}));
  // The one that runs does not listen: its executor ends, and what ran beside it goes elsewhere.
  worker().now.monotonic_us = worker().core.NextDeadlineUs().value();
  worker().Send(TimePassed{});
  EXPECT_EQ(worker().Take<EndExecutor>().executor, kExecutor);
  worker().Send(ExecutorDied{
      .executor = kExecutor, .suspects = {{kFirst, 0}, {kFirst, 1}}, .code = 9, .message = {}});
  ExpectHandedBack({{0, 1}, {4, 6}}, HandBackReason::kExecutorDied);
  worker().Take<StartExecutor>();
  EXPECT_EQ(worker().Take<RecordOutcome>().outcome.tasks, (TaskRange{1, 1}));
  worker().Send(ExecutorReady{ExecutorId(2)});
}

TEST_F(CoreTest, CancelledFunctionsThatStopInTimeKillNobody) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 2}, 2));
  ExpectRun({0, 2}, 2);
  worker().Send(CancelReceived{kFirst, "ada", {{1, 1}}});
  worker().Take<StopTasks>();
  worker().Send(RunDone(kFirst, {1, 1}));
  EXPECT_FALSE(worker().Take<KeepOutcome>().cancelled) << "it succeeded in spite of it";
  worker().now.monotonic_us += 60'000'000;
  worker().Send(CoordinatorHeard{});
  worker().Send(TimePassed{});
}

TEST_F(CoreTest, AMissingDirectoryHandsTheRestBack) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 9}, 2));
  ExpectStart(kFirst, 0);
  ExpectStart(kFirst, 1);
  worker().Send(DirectoryMissing{kFirst, 0, "/nowhere"});
  ExpectHandedBack({{0, 1}, {2, 7}}, HandBackReason::kDirectoryMissing);
  worker().Send(DirectoryMissing{kFirst, 1, "/nowhere"});
  ExpectHandedBack({{1, 1}}, HandBackReason::kDirectoryMissing);
  worker().Take<ForgetAssignment>();
}

TEST_F(CoreTest, ALargeOutputFreesItsCpuAtOnceAndIsOwedWhenItIsUploaded) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 2}, 1));
  ExpectStart(kFirst, 0);
  OutcomeArrived large = CommandDone(kFirst, 0);
  large.output_pending = true;
  worker().Send(large);
  EXPECT_EQ(worker().Take<UploadOutput>().tasks, (TaskRange{0, 1}));
  ExpectStart(kFirst, 1);
  EXPECT_FALSE(worker().core.HasUnsent());
  EXPECT_EQ(worker().core.Held()[0].tasks, (std::vector<TaskRange>{{0, 2}}));
  worker().Send(OutputUploaded{.assignment = kFirst, .tasks = {0, 1}});
  worker().Take<KeepOutcome>();
  EXPECT_TRUE(worker().core.HasUnsent());
}

TEST_F(CoreTest, DrainHandsBackFinishesDeliversAndLeaves) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 5}, 1));
  ExpectStart(kFirst, 0);
  worker().Send(DrainRequested{});
  worker().Take<SayDraining>();
  ExpectHandedBack({{1, 4}}, HandBackReason::kLeaving);
  worker().Send(Commands(kSecond, kOtherJob, {0, 5}, 1));
  ExpectHandedBack({{0, 5}}, HandBackReason::kLeaving);
  worker().Take<ForgetAssignment>();
  worker().Send(CommandDone(kFirst, 0));
  worker().Take<KeepOutcome>();
  ExpectSealed(1, {1});
  worker().Send(BatchesDurable{1});
  worker().Take<ForgetAssignment>();
  worker().Take<ForgetBatches>();
  worker().Take<Leave>();
}

TEST_F(CoreTest, AfterADrainsDeadlineWhatStillRunsIsHandedBack) {
  WelcomeForCommands();
  worker().Send(Commands(kFirst, kJob, {0, 5}, 1));
  ExpectStart(kFirst, 0);
  const std::int64_t began_us = worker().now.monotonic_us;
  worker().Send(DrainRequested{30'000'000});
  worker().Take<SayDraining>();
  ExpectHandedBack({{1, 4}}, HandBackReason::kLeaving);
  // Of several the earliest counts, and none at all is no earlier one.
  for (const std::int64_t deadline_us : {10'000'000, 20'000'000, 0}) {
    worker().Send(DrainRequested{deadline_us});
  }
  ASSERT_EQ(worker().core.NextDeadlineUs(), began_us + 10'000'000);
  worker().now.monotonic_us = began_us + 9'999'999;
  worker().Send(TimePassed{});
  worker().now.monotonic_us = began_us + 10'000'000;
  worker().Send(TimePassed{});
  worker().Take<KillCommands>();
  ExpectHandedBack({{0, 1}}, HandBackReason::kLeaving);
  worker().Take<ForgetAssignment>();
  worker().Take<Leave>();
  EXPECT_FALSE(worker().core.NextDeadlineUs().has_value());
}

TEST_F(CoreTest, StopKillsHandsEverythingBackAndLeavesWhenNothingRuns) {
  Welcome({.serves_functions = true, .commands_ahead_limit = 0});
  worker().Send(Commands(kFirst, kJob, {0, 5}, 1));
  ExpectStart(kFirst, 0);
  worker().Send(StopRequested{});
  worker().Take<SayDraining>();
  ExpectHandedBack({{1, 4}}, HandBackReason::kLeaving);
  worker().Take<KillCommands>();
  ExpectHandedBack({{0, 1}}, HandBackReason::kLeaving);
  worker().Take<ForgetAssignment>();
  worker().Take<EndExecutor>();
  worker().Send(ExecutorDied{.executor = kExecutor, .suspects = {}, .message = {}});
  worker().Take<Leave>();
}

// The simulator found the assignment still listed as one of which something may start.
TEST_F(CoreTest, WhatAnExecutorSaysAfterStopIsDropped) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 5}, 1));
  ExpectRun({0, 5}, 1);
  worker().Send(RunDone(kFirst, {0, 1}));
  worker().Take<KeepOutcome>();
  worker().Send(StopRequested{});
  worker().Take<SayDraining>();
  worker().Take<KillCommands>();
  ExpectHandedBack({{1, 4}}, HandBackReason::kLeaving);
  worker().Take<EndExecutor>();
  worker().Send(RunDone(kFirst, {1, 3}));
  worker().ExpectNoMore();
  worker().Send(SendSlotFree{});
  worker().Take<SealBatch>();
  worker().Take<SendBatch>();
  worker().Send(ExecutorDied{.executor = kExecutor, .suspects = {}, .message = {}});
  worker().Take<Leave>();
}

TEST_F(CoreTest, OneExecutorGetsTheWholeRangeAtOnce) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 1'000'000}, 2));
  ExpectRun({0, 1'000'000}, 2);
  worker().Send(Functions(kFirst, kJob, {1'000'000, 500}, 2));
  ExpectRun({1'000'000, 500}, 2);
  worker().Send(RunDone(kFirst, {0, 1'000'499}));
  worker().Take<KeepOutcome>();
  worker().Send(Functions(kSecond, kOtherJob, {0, 10}, 2));
  ExpectRun({0, 10}, 1);
  worker().Send(RunDone(kFirst, {1'000'499, 1}));
  worker().Take<KeepOutcome>();
  ExpectRun({}, 2);
}

TEST_F(CoreTest, SeveralExecutorsGetGuidedChunks) {
  WelcomeForFunctions(2);
  worker().Send(Functions(kFirst, kJob, {0, 100}, 4));
  ExpectRun({0, 25}, 2, ExecutorId(1));
  ExpectRun({25, 19}, 2, ExecutorId(2));
  worker().Send(RunDone(kFirst, {0, 10}, ExecutorId(1)));
  worker().Take<KeepOutcome>();
  worker().Send(RunDone(kFirst, {10, 13}, ExecutorId(1)));
  worker().Take<KeepOutcome>();
  ExpectRun({44, 14}, 2, ExecutorId(1));
}

TEST_F(CoreTest, AtTheEndAnIdleExecutorGetsWhatWaitsInAnother) {
  Welcome({.processes = 2, .serves_functions = true}, 1);
  worker().Send(Functions(kFirst, kJob, {0, 8}, 2));
  ExpectRun({0, 2}, 1, ExecutorId(1));
  ExpectRun({2, 2}, 1, ExecutorId(2));
  worker().Send(RunDone(kFirst, {2, 1}, ExecutorId(2)));
  worker().Take<KeepOutcome>();
  ExpectRun({4, 1}, 1, ExecutorId(2));
  worker().Send(RevokeReceived{kFirst, 3});
  ExpectHandedBack({{5, 3}}, HandBackReason::kRevoked);
  worker().Send(RunDone(kFirst, {3, 1}, ExecutorId(2)));
  worker().Take<KeepOutcome>();
  // Task 0 takes long; task 1 waits behind it while the other executor ends.
  worker().Send(RunDone(kFirst, {4, 1}, ExecutorId(2)));
  worker().Take<KeepOutcome>();
  const ReclaimRun reclaim = worker().Take<ReclaimRun>();
  EXPECT_EQ(reclaim.executor, ExecutorId(1));
  EXPECT_EQ(reclaim.count, 1u);
  worker().Send(TasksReclaimed{ExecutorId(1), kFirst, {1, 1}});
  ExpectRun({1, 1}, 1, ExecutorId(2));
}

TEST_F(CoreTest, ANarrowerWidthReachesTheExecutorAndWidensAgain) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 100}, 2));
  ExpectRun({0, 100}, 2);
  worker().Send(Functions(kFirst, kJob, {100, 1}, 1));
  ExpectRun({}, 1);
  ExpectRun({100, 1}, 1);
  worker().Send(RunDone(kFirst, {0, 1}));
  worker().Take<KeepOutcome>();
  worker().Send(Functions(kFirst, kJob, {101, 1}, 2));
  ExpectRun({101, 1}, 2);
}

TEST_F(CoreTest, ARevokeAsksTheExecutorForWhatItHasNotStarted) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 100}, 2));
  ExpectRun({0, 100}, 2);
  worker().Send(RevokeReceived{kFirst, 50});
  EXPECT_EQ(worker().Take<ReclaimRun>().count, 50u);
  worker().Send(TasksReclaimed{kExecutor, kFirst, {60, 40}});
  EXPECT_EQ(worker().Take<ReclaimRun>().count, 10u);
  worker().Send(TasksReclaimed{kExecutor, kFirst, {}});
  ExpectHandedBack({{60, 40}}, HandBackReason::kRevoked);
}

// Otherwise the new ones would seem to have started.
TEST_F(CoreTest, ALateAnswerToAReclaimIsNotAboutWhatIsGivenAfterIt) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 2}, 2));
  ExpectRun({0, 2}, 2);
  worker().Send(RevokeReceived{kFirst, 5});
  worker().Take<ReclaimRun>();
  worker().Send(RunDone(kFirst, {0, 2}));
  worker().Take<KeepOutcome>();
  ExpectHandedBack({}, HandBackReason::kRevoked);
  worker().Send(Functions(kFirst, kJob, {2, 98}, 2));
  worker().ExpectNoMore();
  worker().Send(TasksReclaimed{kExecutor, kFirst, {}});
  ExpectRun({2, 98}, 2);
  worker().Send(RevokeReceived{kFirst, 5});
  EXPECT_EQ(worker().Take<ReclaimRun>().count, 5u);
}

TEST_F(CoreTest, HigherPriorityTakesTheBacklogOfLowerBackAndTheCpuThatEndsNext) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 100}, 2));
  ExpectRun({0, 100}, 2);
  AssignmentReceived urgent = Functions(kSecond, kOtherJob, {0, 1}, 1);
  urgent.priority = 1;
  worker().Send(urgent);
  EXPECT_EQ(worker().Take<ReclaimRun>().assignment, kFirst);
  worker().Send(TasksReclaimed{kExecutor, kFirst, {2, 98}});
  worker().Take<ReclaimRun>();
  worker().Send(TasksReclaimed{kExecutor, kFirst, {}});
  worker().Send(RunDone(kFirst, {0, 1}));
  worker().Take<KeepOutcome>();
  ExpectRun({0, 1}, 1);
  ExpectRun({2, 98}, 1);
}

TEST_F(CoreTest, DeathOfAnExecutorNamesItsSuspectsAndTheRestIsHandedBack) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 100}, 2));
  ExpectRun({0, 100}, 2);
  worker().Send(RunDone(kFirst, {0, 10}));
  worker().Take<KeepOutcome>();
  worker().Send(ExecutorDied{.executor = kExecutor,
                             .suspects = {{kFirst, 10, true}, {kFirst, 11}},
                             .cause = Cause::kSignal,
                             .code = 11,
                             .message = {},
                             .pid = 42});
  const Outcome culprit = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(culprit.tasks, (TaskRange{10, 1}));
  EXPECT_EQ(culprit.status, TaskStatus::kCrashed);
  EXPECT_EQ(culprit.code, 11);
  EXPECT_TRUE(culprit.culprit);
  const Outcome suspect = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(suspect.tasks, (TaskRange{11, 1}));
  EXPECT_FALSE(suspect.culprit);
  // A second start under this assignment would have the fencing token of the first.
  ExpectHandedBack({{12, 88}}, HandBackReason::kExecutorDied);
  EXPECT_EQ(worker().Take<StartExecutor>().executor, ExecutorId(2));
  worker().Send(ExecutorReady{ExecutorId(2)});
}

TEST_F(CoreTest, ATaskWhoseTimeWasUpFailsAndWhatRanBesideItIsHandedBack) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 4}, 2));
  ExpectRun({0, 4}, 2);
  worker().Send(ExecutorDied{
      .executor = kExecutor, .suspects = {{kFirst, 0, true, true}, {kFirst, 1}}, .message = {}});
  const Outcome culprit = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(culprit.status, TaskStatus::kFailed);
  EXPECT_EQ(culprit.cause, Cause::kTimeout);
  ExpectHandedBack({{1, 3}}, HandBackReason::kExecutorDied);
  worker().Take<StartExecutor>();
}

TEST_F(CoreTest, ATaskAloneHasAnExecutorOfItsOwnThatEndsWithIt) {
  WelcomeForFunctions();
  AssignmentReceived alone = Functions(kFirst, kJob, {5, 1}, 1);
  alone.alone = true;
  alone.charged = {{5, 1}};
  worker().Send(alone);
  EXPECT_TRUE(worker().Take<StartExecutor>().alone);
  worker().Send(ExecutorReady{ExecutorId(2)});
  const StartRun run = worker().Take<StartRun>();
  EXPECT_EQ(run.tasks, (TaskRange{5, 1}));
  EXPECT_EQ(run.charged, (std::vector<ChargedTask>{{5, 1}}));
  worker().Send(RunDone(kFirst, {5, 1}, ExecutorId(2)));
  EXPECT_EQ(worker().Take<EndExecutor>().executor, ExecutorId(2));
  worker().Take<KeepOutcome>();
  worker().Send(ExecutorDied{.executor = ExecutorId(2), .suspects = {}, .message = {}});
}

TEST_F(CoreTest, FunctionsThatDoNotStopAreKilledAndTheOthersAreHandedBack) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 5}, 1));
  ExpectRun({0, 5}, 1);
  worker().Send(Functions(kSecond, kOtherJob, {0, 1}, 1));
  ExpectRun({0, 1}, 1);
  worker().Send(CancelReceived{kFirst, "ada", {}});
  EXPECT_EQ(worker().Take<StopRun>().assignment, kFirst);
  worker().Send(TasksReclaimed{kExecutor, kFirst, {1, 4}});
  EXPECT_EQ(worker().Take<RecordOutcome>().outcome.tasks, (TaskRange{1, 4}));
  worker().now.monotonic_us = worker().core.NextDeadlineUs().value();
  worker().Send(TimePassed{});
  EXPECT_EQ(worker().Take<EndExecutor>().executor, kExecutor);
  worker().Send(ExecutorDied{
      .executor = kExecutor, .suspects = {{kFirst, 0}, {kSecond, 0}}, .code = 9, .message = {}});
  ExpectHandedBack({{0, 1}}, HandBackReason::kExecutorDied);
  worker().Take<StartExecutor>();
  const Outcome cancelled = worker().Take<RecordOutcome>().outcome;
  EXPECT_EQ(cancelled.tasks, (TaskRange{0, 1}));
  EXPECT_EQ(cancelled.status, TaskStatus::kCancelled);
  EXPECT_EQ(worker().Take<ForgetAssignment>().assignment, kSecond);
}

TEST_F(CoreTest, ExecutorsThatDieAtOnceAreRestartedLaterAndLater) {
  WelcomeForFunctions();
  std::int64_t previous_us = 0;
  for (std::uint64_t id = 1; id < 5; ++id) {
    worker().Send(ExecutorDied{.executor = ExecutorId(id), .suspects = {}, .message = {}});
    const std::int64_t wait_us = worker().core.NextDeadlineUs().value() - worker().now.monotonic_us;
    EXPECT_GT(wait_us, previous_us);
    previous_us = wait_us;
    worker().now.monotonic_us += wait_us;
    worker().Send(TimePassed{});
    worker().Take<StartExecutor>();
  }
}

TEST_F(CoreTest, WithoutALeaseExecutorsGiveBackWhatTheyHaveNotStarted) {
  WelcomeForFunctions();
  worker().Send(Functions(kFirst, kJob, {0, 100}, 2));
  ExpectRun({0, 100}, 2);
  worker().Send(Disconnected{});
  worker().now.monotonic_us = worker().core.NextDeadlineUs().value();
  worker().Send(TimePassed{});
  EXPECT_EQ(worker().Take<ReclaimRun>().count, 100u);
  worker().Send(TasksReclaimed{kExecutor, kFirst, {2, 98}});
  worker().Take<ReclaimRun>();
  worker().Send(TasksReclaimed{kExecutor, kFirst, {}});
  worker().Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  ExpectRun({2, 98}, 2);
}

}  // namespace
}  // namespace haul::worker
