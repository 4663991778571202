// Tasks that wait for what they submitted: their cpus are for deeper tasks alone, and they go on
// before anything new starts.
#include <gtest/gtest.h>

#include <string>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

constexpr ExecutorId kWhereTheyRun{1};

class BlockingTest : public testing::Test {
 protected:
  explicit BlockingTest(const CoreOptions& options = {.threads = 1, .serves_functions = true})
      : worker_(options) {
    worker_.Send(Started{});
    worker_.Take<StartExecutor>();
    worker_.Send(ExecutorReady{kWhereTheyRun});
    worker_.Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  }
  // Tasks of a job of its own.
  static AssignmentReceived Tasks(std::uint64_t number, TaskRange tasks, std::uint32_t depth) {
    return {.assignment = Held(number),
            .job = JobId(number),
            .tasks = tasks,
            .width = 1,
            .kind = WorkKind::kFunction,
            .depth = depth,
            .charged = {}};
  }
  static AssignmentId Held(std::uint64_t number) { return {1, number}; }
  void ExpectRun(std::uint64_t number, TaskRange tasks) {
    const StartRun run = worker_.Take<StartRun>();
    EXPECT_EQ(run.assignment, Held(number));
    EXPECT_EQ(run.tasks, tasks);
  }
  void ExpectReport(std::uint64_t number, std::uint64_t count) {
    const ReportBlocked report = worker_.Take<ReportBlocked>();
    EXPECT_EQ(report.assignment, Held(number));
    EXPECT_EQ(report.count, count);
  }
  void Block(std::uint64_t number, TaskIndex task = 0) {
    worker_.Send(TaskBlocked{kWhereTheyRun, Held(number), task});
    ExpectReport(number, 1);
  }
  void AskToResume(std::uint64_t number, TaskIndex task = 0) {
    worker_.Send(ResumeAsked{kWhereTheyRun, Held(number), task});
  }
  void ExpectResumed(std::uint64_t number, TaskIndex task = 0) {
    ExpectReport(number, 0);
    const ResumeTask resume = worker_.Take<ResumeTask>();
    EXPECT_EQ(resume.executor, kWhereTheyRun);
    EXPECT_EQ(resume.assignment, Held(number));
    EXPECT_EQ(resume.task, task);
  }
  void End(std::uint64_t number, TaskIndex task = 0) {
    worker_.Send(
        OutcomeArrived{.executor = kWhereTheyRun, .assignment = Held(number), .tasks = {task, 1}});
    worker_.Take<KeepOutcome>();
  }

  Recorder worker_;
};

class BlockingTwoTest : public BlockingTest {
 protected:
  BlockingTwoTest() : BlockingTest({.threads = 2, .serves_functions = true}) {}
};

// They would pass the cpu on to each other for as long as there are some.
TEST_F(BlockingTest, CommandsThatWereGivenAheadDoNotKeepATaskFromGoingOn) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  Block(1);
  AssignmentReceived children = Tasks(2, {0, 3}, 1);
  children.kind = WorkKind::kCommand;
  worker_.Send(children);
  for (TaskIndex task = 0; task < 3; ++task) {
    const StartCommand start = worker_.Take<StartCommand>();
    EXPECT_EQ(start.task, task);
    EXPECT_EQ(start.ahead, task > 0);
  }
  AskToResume(1);
  EXPECT_EQ(worker_.Take<WithdrawCommands>().assignment, Held(2));
  worker_.Send(CommandsWithdrawn{Held(2), {1, 2}});
  worker_.Send(OutcomeArrived{.assignment = Held(2), .tasks = {0, 1}});
  worker_.Take<KeepOutcome>();
  ExpectResumed(1);
  End(1);
  EXPECT_FALSE(worker_.Take<StartCommand>().ahead);
  EXPECT_TRUE(worker_.Take<StartCommand>().ahead);
}

TEST_F(BlockingTest, FiveDeepOnOneThread) {
  for (std::uint32_t depth = 0; depth < 5; ++depth) {
    worker_.Send(Tasks(depth + 1, {0, 1}, depth));
    ExpectRun(depth + 1, {0, 1});
    if (depth < 4) Block(depth + 1);
  }
  End(5);
  for (std::uint64_t number = 4; number > 0; --number) {
    AskToResume(number);
    ExpectResumed(number);
    End(number);
  }
  EXPECT_TRUE(worker_.core.state().blocked_milli.empty());
}

TEST_F(BlockingTest, WhatIsGivenBackIsNotForTasksLikeIt) {
  worker_.Send(Tasks(1, {0, 2}, 0));
  ExpectRun(1, {0, 2});  // the executor starts the second when the first has ended
  Block(1);
  worker_.Send(Tasks(2, {0, 1}, 0));
  worker_.ExpectNoMore();
  worker_.Send(Tasks(3, {0, 1}, 1));
  ExpectRun(3, {0, 1});
  EXPECT_EQ(worker_.core.Held()[0].blocked, 1u) << "which the next hello says";
}

TEST_F(BlockingTest, WhatCouldGoOnWaitsForACpuAndComesBeforeWhatIsNew) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  Block(1);
  worker_.Send(Tasks(2, {0, 1}, 1));
  ExpectRun(2, {0, 1});
  worker_.Send(Tasks(3, {0, 1}, 1));
  AskToResume(1);
  worker_.ExpectNoMore();
  worker_.Send(OutcomeArrived{.executor = kWhereTheyRun, .assignment = Held(2), .tasks = {0, 1}});
  worker_.Take<KeepOutcome>();
  ExpectResumed(1);
  End(1);
  ExpectRun(3, {0, 1});
}

TEST_F(BlockingTest, ADeeperTaskOvertakesWhatDoesNotFitOfAHigherPriority) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  AssignmentReceived first = Tasks(2, {0, 1}, 0);
  first.priority = 5;
  worker_.Send(first);
  worker_.Take<ReclaimRun>();
  Block(1);
  worker_.Send(Tasks(3, {0, 1}, 1));
  ExpectRun(3, {0, 1});
}

TEST_F(BlockingTest, OfAnExecutorThatDiesNobodyWaitsAnyMore) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  Block(1);
  AskToResume(1);
  ExpectResumed(1);
  Block(1);
  worker_.Send(Tasks(2, {0, 1}, 1));
  ExpectRun(2, {0, 1});
  AskToResume(1);
  worker_.Send(ExecutorDied{.executor = kWhereTheyRun, .message = "died"});
  worker_.Take<RecordOutcome>();
  worker_.Take<RecordOutcome>();
  ExpectReport(1, 0);
  EXPECT_FALSE(worker_.Take<StartExecutor>().alone);
  EXPECT_TRUE(worker_.core.state().resumable.empty());
}

TEST_F(BlockingTest, WhatWaitsNoLongerIsNotWaitingWhenItEnds) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  Block(1);
  worker_.Send(OutcomeArrived{.executor = kWhereTheyRun,
                              .assignment = Held(1),
                              .tasks = {0, 1},
                              .status = TaskStatus::kFailed});
  ExpectReport(1, 0);
  worker_.Take<KeepOutcome>();
}

TEST_F(BlockingTest, WhatAnExecutorSaysOfTasksItDoesNotRunChangesNothing) {
  worker_.Send(Tasks(1, {0, 1}, 0));
  ExpectRun(1, {0, 1});
  worker_.Send(TaskBlocked{kWhereTheyRun, Held(1), 7});
  worker_.Send(TaskBlocked{ExecutorId(9), Held(1), 0});
  worker_.Send(TaskBlocked{kWhereTheyRun, Held(9), 0});
  AskToResume(1);
  Block(1);
  worker_.Send(TaskBlocked{kWhereTheyRun, Held(1), 0});
}

// The first was told to stop and has ended: its outcome is in its thread's batch, behind the next
// of its chunk.
TEST_F(BlockingTest, ATaskWaitsWhileTheEndOfTheOneBeforeItIsNotKnown) {
  worker_.Send(Tasks(1, {0, 2}, 0));
  ExpectRun(1, {0, 2});
  Block(1, 0);
  worker_.Send(TaskBlocked{kWhereTheyRun, Held(1), 1});
  ExpectReport(1, 2);
  worker_.Send(OutcomeArrived{.executor = kWhereTheyRun,
                              .assignment = Held(1),
                              .tasks = {0, 1},
                              .status = TaskStatus::kFailed});
  ExpectReport(1, 1);
  worker_.Take<KeepOutcome>();
  EXPECT_EQ(worker_.core.state().reserved_milli, 1000u);
  AskToResume(1, 1);
  ExpectResumed(1, 1);
  End(1, 1);
}

// Of two that run, one ends and the other may go on to the next of its chunk.
TEST_F(BlockingTwoTest, TasksWaitThatRunBeyondANarrowerWidth) {
  AssignmentReceived tasks = Tasks(1, {0, 4}, 0);
  tasks.width = 2;
  worker_.Send(tasks);
  ExpectRun(1, {0, 4});
  AssignmentReceived narrower = Tasks(1, {}, 0);
  worker_.Send(narrower);
  EXPECT_EQ(worker_.Take<StartRun>().width, 1u);
  End(1, 0);
  Block(1, 1);
  worker_.Send(TaskBlocked{kWhereTheyRun, Held(1), 2});
  ExpectReport(1, 2);
}

class BlockingProcessesTest : public BlockingTest {
 protected:
  BlockingProcessesTest()
      : BlockingTest({.threads = 1, .serves_functions = true, .process_limit = 1}) {}
};

TEST_F(BlockingProcessesTest, WaitingProcessesDoNotKeepFromStartingWhatTheyWaitFor) {
  for (std::uint32_t depth = 0; depth < 3; ++depth) {
    AssignmentReceived apart = Tasks(depth + 1, {0, 1}, depth);
    apart.own_process = true;
    worker_.Send(apart);
    EXPECT_TRUE(worker_.Take<StartExecutor>().alone);
    const ExecutorId executor(depth + 2);
    worker_.Send(ExecutorReady{executor});
    ExpectRun(depth + 1, {0, 1});
    worker_.Send(TaskBlocked{executor, Held(depth + 1), 0});
    ExpectReport(depth + 1, 1);
  }
}

}  // namespace
}  // namespace haul::worker
