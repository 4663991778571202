// Functions that want a process of their own: an executor runs one of them at a time, and then the
// next; its crash is that task's failure.
#include <gtest/gtest.h>

#include "worker/core/recorder_for_test.h"

namespace haul::worker {
namespace {

constexpr AssignmentId kHeldApart{1, 1};
constexpr JobId kJobApart{7};
constexpr ExecutorId kShared{1};

// A worker of two threads, whose shared executor is ready.
class OwnProcessTest : public testing::Test {
 protected:
  explicit OwnProcessTest(const CoreOptions& options = {.threads = 2, .serves_functions = true})
      : worker_(options) {
    worker_.Send(Started{});
    worker_.Take<StartExecutor>();
    worker_.Send(ExecutorReady{kShared});
    worker_.Send(Welcomed{.lease_us = 15'000'000, .dropped = {}});
  }
  void Receive(TaskRange tasks, std::uint32_t tasks_per_process = 0) {
    worker_.Send(AssignmentReceived{.assignment = kHeldApart,
                                    .job = kJobApart,
                                    .tasks = tasks,
                                    .width = 2,
                                    .kind = WorkKind::kFunction,
                                    .own_process = true,
                                    .tasks_per_process = tasks_per_process,
                                    .charged = {}});
  }
  void ExpectNewExecutor() { EXPECT_TRUE(worker_.Take<StartExecutor>().alone); }
  void ExpectRun(TaskIndex task, ExecutorId executor) {
    const StartRun run = worker_.Take<StartRun>();
    EXPECT_EQ(run.executor, executor);
    EXPECT_EQ(run.tasks, (TaskRange{task, 1}));
    EXPECT_EQ(run.width, 1u);
  }
  void Ready(ExecutorId executor, TaskIndex task) {
    worker_.Send(ExecutorReady{executor});
    ExpectRun(task, executor);
  }
  void Ends(TaskIndex task, ExecutorId executor) {
    worker_.Send(OutcomeArrived{
        .executor = executor, .assignment = kHeldApart, .tasks = {task, 1}, .byte_count = 10});
  }

  const ExecutorId kA{2};
  const ExecutorId kB{3};
  Recorder worker_;
};

TEST_F(OwnProcessTest, AsManyAsThereIsRoomForEachThenTakesTheNext) {
  Receive({0, 4});
  ExpectNewExecutor();
  ExpectNewExecutor();
  Ready(kA, 0);
  Ready(kB, 1);
  Ends(1, kB);
  worker_.Take<KeepOutcome>();
  ExpectRun(2, kB);
  Ends(2, kB);
  worker_.Take<KeepOutcome>();
  ExpectRun(3, kB);
}

TEST_F(OwnProcessTest, ACrashIsThatTasksFailureAndAnotherProcessGoesOn) {
  Receive({0, 3});
  ExpectNewExecutor();
  ExpectNewExecutor();
  Ready(kA, 0);
  Ready(kB, 1);
  worker_.Send(
      ExecutorDied{.executor = kA, .suspects = {{kHeldApart, 0}}, .code = 11, .message = "died"});
  const Outcome crash = worker_.Take<RecordOutcome>().outcome;
  EXPECT_EQ(crash.tasks, (TaskRange{0, 1}));
  EXPECT_EQ(crash.status, TaskStatus::kFailed);
  EXPECT_EQ(crash.cause, Cause::kSignal);
  EXPECT_EQ(crash.code, 11);
  ExpectNewExecutor();
  Ready(ExecutorId(4), 2);
}

// It may have died before the task began: so the task runs alone, and is charged if that happens
// again.
TEST_F(OwnProcessTest, OneThatDiesAndSaysNothingOfItsTaskPutsItUnderSuspicion) {
  Receive({0, 1});
  ExpectNewExecutor();
  Ready(kA, 0);
  worker_.Send(ExecutorDied{
      .executor = kA, .suspects = {}, .cause = Cause::kExecutorExit, .message = "exit code 0"});
  const Outcome outcome = worker_.Take<RecordOutcome>().outcome;
  EXPECT_EQ(outcome.status, TaskStatus::kCrashed);
  EXPECT_EQ(outcome.cause, Cause::kExecutorExit);
  EXPECT_FALSE(outcome.culprit);
}

TEST_F(OwnProcessTest, AProcessIsReplacedAfterSoManyTasks) {
  Receive({0, 3}, 2);
  ExpectNewExecutor();
  ExpectNewExecutor();
  Ready(kA, 0);
  Ready(kB, 1);
  Ends(0, kA);
  worker_.Take<KeepOutcome>();
  ExpectRun(2, kA);
  Ends(2, kA);
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, kA);
  worker_.Take<KeepOutcome>();
  Ends(1, kB);  // one task only: it waits for another
  worker_.Take<KeepOutcome>();
}

TEST_F(OwnProcessTest, OneThatNobodyNeedsEnds) {
  Receive({0, 1});
  ExpectNewExecutor();
  Ready(kA, 0);
  Ends(0, kA);
  worker_.Take<KeepOutcome>();
  worker_.now.monotonic_us += 9'000'000;
  worker_.Send(TimePassed{});
  worker_.Send(CoordinatorHeard{});
  worker_.ExpectNoMore();
  worker_.now.monotonic_us = worker_.core.NextDeadlineUs().value();
  worker_.Send(TimePassed{});
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, kA);
  worker_.Send(ExecutorDied{.executor = kA, .suspects = {}, .message = {}});
}

TEST_F(OwnProcessTest, ASuspectHasAFreshOneForItself) {
  Receive({0, 1});
  ExpectNewExecutor();
  Ready(kA, 0);
  Ends(0, kA);
  worker_.Take<KeepOutcome>();
  worker_.Send(AssignmentReceived{.assignment = {1, 2},
                                  .job = kJobApart,
                                  .tasks = {5, 1},
                                  .width = 2,
                                  .kind = WorkKind::kFunction,
                                  .alone = true,
                                  .own_process = true,
                                  .charged = {}});
  ExpectNewExecutor();
  Ready(kB, 5);
  worker_.Send(
      OutcomeArrived{.executor = kB, .assignment = {1, 2}, .tasks = {5, 1}, .byte_count = 10});
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, kB);
  worker_.Take<KeepOutcome>();
}

TEST_F(OwnProcessTest, ACancelledTaskThatDoesNotStopLosesItsProcessAlone) {
  Receive({0, 2});
  ExpectNewExecutor();
  ExpectNewExecutor();
  Ready(kA, 0);
  Ready(kB, 1);
  worker_.Send(CancelReceived{kHeldApart, "ada", {}});
  worker_.Take<StopRun>();
  worker_.Take<StopRun>();
  Ends(1, kB);  // it listened
  worker_.Take<KeepOutcome>();
  worker_.now.monotonic_us = worker_.core.NextDeadlineUs().value();
  worker_.Send(TimePassed{});
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, kA);
  worker_.Send(ExecutorDied{.executor = kA, .suspects = {{kHeldApart, 0}}, .message = {}});
  EXPECT_EQ(worker_.Take<RecordOutcome>().outcome.status, TaskStatus::kCancelled);
}

TEST_F(OwnProcessTest, OneThatOwesAnAnswerToAReclaimGetsNoMoreOfThatAssignment) {
  Receive({0, 1});
  ExpectNewExecutor();
  Ready(kA, 0);
  worker_.Send(RevokeReceived{kHeldApart, 1});
  worker_.Take<ReclaimRun>();
  Ends(0, kA);
  worker_.Take<KeepOutcome>();
  worker_.Take<SendHandedBack>();
  Receive({1, 1});
  ExpectNewExecutor();
  worker_.Send(TasksReclaimed{kA, kHeldApart, {}});
  Receive({2, 1});
  ExpectRun(2, kA);
}

class FewProcessesTest : public OwnProcessTest {
 protected:
  FewProcessesTest()
      : OwnProcessTest({.threads = 2, .serves_functions = true, .process_limit = 1}) {}
};

TEST_F(FewProcessesTest, TasksWaitAtTheLimitOfProcesses) {
  Receive({0, 2}, 1);
  ExpectNewExecutor();
  Ready(kA, 0);
  Ends(0, kA);
  EXPECT_EQ(worker_.Take<EndExecutor>().executor, kA);
  worker_.Take<KeepOutcome>();
  worker_.Send(ExecutorDied{.executor = kA, .suspects = {}, .message = {}});
  ExpectNewExecutor();
  Ready(kB, 1);
}

}  // namespace
}  // namespace haul::worker
