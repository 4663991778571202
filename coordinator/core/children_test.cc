// Story tests of jobs that tasks submit: whose cpus they use, and that they end with their parent.
#include "coordinator/core/core_fixture.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;

class ChildrenTest : public CoreFixture {
 protected:
  static JobSpec ChildOf(const SendAssignment& parent, TaskIndex task, std::uint64_t count = 1) {
    JobSpec spec = Tasks(count);
    spec.parent = {parent.id, parent.job, task};
    return spec;
  }
  void Block(const SendAssignment& assignment, std::uint64_t count) {
    Send(BlockedReported{assignment.session, assignment.id, count});
  }
};

TEST_F(ChildrenTest, FiveDeepOnOneCpu) {
  Connect("w", 1000);
  Submit(Tasks(3));
  std::vector<SendAssignment> waiting;
  Turn();
  for (int depth = 0; depth < 5; ++depth) {
    waiting.push_back(TakeAssignment());
    const JobId child = Submit(ChildOf(waiting.back(), 0));
    EXPECT_EQ(JobOf(child).facts.spec.depth, depth + 1);
    Turn();
    ExpectNoMore();  // the cpu is taken
    Block(waiting.back(), 1);
    Turn();
  }
  const SendAssignment deepest = TakeAssignment();
  ExpectNoMore();
  Finish(deepest, {0, 1});
  for (; !waiting.empty(); waiting.pop_back()) {
    Turn();
    ExpectNoMore();  // what waited goes on
    Block(waiting.back(), 0);
    Finish(waiting.back(), {0, 1});
  }
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.first, 1u) << "the next parent";
}

TEST_F(ChildrenTest, WhatAWaitingTaskGaveBackIsNotForTasksLikeIt) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(10));
  Turn();
  const SendAssignment parents = TakeAssignment();
  EXPECT_EQ(parents.width, 2u);
  Block(parents, 2);
  EXPECT_EQ(WorkerOf(session).free_milli(0), 0u);
  EXPECT_EQ(WorkerOf(session).free_milli(1), 2000u);
  Submit(Tasks(5));
  Turn();
  ExpectNoMore();
  const JobId child = Submit(ChildOf(parents, 1, 4));
  Turn();
  const SendAssignment children = TakeAssignment();
  EXPECT_EQ(children.job, child);
  EXPECT_EQ(children.width, 2u);
  ExpectNoMore();
  EXPECT_EQ(JobOf(job).running_width, 2u);
}

TEST_F(ChildrenTest, ChildrenComeBeforeTheirParentsLikeAndBehindHigherPriorities) {
  const SessionId session = Connect("w", 1000);
  JobSpec first = Tasks(1);
  first.priority = 1;
  Submit(first);
  Turn();
  const SendAssignment parent = TakeAssignment();
  Submit(Tasks(1));
  const JobId child = Submit(ChildOf(parent, 0));
  Block(parent, 1);
  Turn();
  EXPECT_EQ(TakeAssignment().job, child);
  EXPECT_EQ(WorkerOf(session).free_milli(1), 0u);
}

TEST_F(ChildrenTest, AWorkerThatIsKeptFreeStillRunsWhatItsTasksWaitFor) {
  Connect("w", 2000);
  Submit(Tasks(1));
  Turn();
  const SendAssignment parent = TakeAssignment();
  JobSpec wide = Tasks(1);
  wide.priority = 1;
  wide.cpus_milli = 2000;
  const JobId first_in_line = Submit(wide);
  Pass(2000, {parent.session});
  EXPECT_GT(JobOf(first_in_line).blocked_since_us, 0);
  const JobId child = Submit(ChildOf(parent, 0));
  Submit(Tasks(1));
  Block(parent, 1);
  Turn();
  EXPECT_EQ(TakeAssignment().job, child);
  ExpectNoMore();
}

TEST_F(ChildrenTest, ASuspectThatWaitsLetsItsChildrenIn) {
  Connect("w", 1000);
  Submit(Tasks(1));
  Turn();
  SendAssignment parent = TakeAssignment();
  Send(WorkerDeathReported{"w-1", "killed"});
  const SessionId session = Connect("w2", 2000);
  Turn();
  parent = TakeAssignment();
  EXPECT_TRUE(parent.alone);
  const JobId child = Submit(ChildOf(parent, 0));
  Turn();
  EXPECT_FALSE(Has<SendAssignment>()) << "it has the worker for itself";
  Block(parent, 1);
  Turn();
  EXPECT_EQ(TakeAssignment().job, child);
  Block(parent, 0);
  EXPECT_EQ(WorkerOf(session).exclusive_assignments, 1u);
  Block(parent, 1);
  Finish(parent, {0, 1});
  EXPECT_EQ(WorkerOf(session).exclusive_assignments, 0u);
}

TEST_F(ChildrenTest, TheyEndWithTheirParentsStart) {
  Connect("w", 4000);
  JobSpec parents = Tasks(2);
  parents.max_attempts = 2;
  Submit(parents);
  Turn();
  const SendAssignment parent = TakeAssignment();
  const JobId of_first = Submit(ChildOf(parent, 0, 100));
  const JobId of_second = Submit(ChildOf(parent, 1));
  Turn();
  Forget();
  Finish(parent, {0, 1}, 1, TaskStatus::kFailed);  // and is started again
  EXPECT_TRUE(Has<SendCancel>());
  EXPECT_EQ(Take<SendCancel>().job, of_first);
  EXPECT_THAT(JobOf(of_first).facts.cancel->by, HasSubstr("the end of its parent, task 0 of job"));
  EXPECT_FALSE(JobOf(of_second).facts.cancel);
  EXPECT_THAT(SubmitRefused(ChildOf(parent, 0)).message(), HasSubstr("parent: task 0 of job"));
  HandBack(parent, {1, 1}, HandBackReason::kExecutorDied);
  EXPECT_TRUE(JobOf(of_second).facts.cancel) << "the next start of its parent has its own";
}

TEST_F(ChildrenTest, TheyEndWhenTheirParentsWorkerIsLostAndSoDoTheirOwn) {
  const SessionId first = Connect("w1", 1000);
  Submit(Tasks(1));
  Turn();
  const SendAssignment parent = TakeAssignment();
  const JobId child = Submit(ChildOf(parent, 0));
  const SessionId second = Connect("w2", 1000);
  Turn();
  const SendAssignment middle = TakeAssignment();
  EXPECT_EQ(middle.session, second);
  const JobId grandchild = Submit(ChildOf(middle, 0));
  Forget();
  Send(WorkerSaidGoodbye{first});
  EXPECT_EQ(Take<SendCancel>().job, child);
  EXPECT_FALSE(JobOf(grandchild).facts.cancel) << "its parent still runs";
  Finish(middle, {0, 1}, 1, TaskStatus::kCancelled);
  EXPECT_EQ(JobOf(child).state(), JobState::kCancelled);
  EXPECT_EQ(JobOf(grandchild).state(), JobState::kCancelled);
}

TEST_F(ChildrenTest, AfterARestartTheyGoOnWhereTheirParentDoes) {
  Connect("w1", 1000);
  Connect("w2", 1000);
  Submit(Tasks(2));
  Turn();
  const SendAssignment stays = TakeAssignment();
  const SendAssignment goes = TakeAssignment();
  const JobId child = Submit(ChildOf(stays, stays.tasks.first));
  const JobId orphan = Submit(ChildOf(goes, goes.tasks.first));
  Start();
  EXPECT_EQ(SubmitRefused(ChildOf(stays, stays.tasks.first)).code(), absl::StatusCode::kUnavailable)
      << "its worker may be on its way";
  HeldAssignment held = Held(stays, stays.tasks);
  held.blocked = 1;
  const bool first_stays = stays.session == SessionId(1);
  const SessionId session = Connect(Profile(first_stays ? "w1" : "w2"), {held});
  EXPECT_EQ(WorkerOf(session).free_milli(1), 1000u);
  EXPECT_FALSE(JobOf(orphan).facts.cancel);
  Pass(20'000, {session});
  EXPECT_TRUE(JobOf(orphan).is_ended());
  ASSERT_FALSE(JobOf(child).is_ended());
  EXPECT_EQ(TakeAssignment().job, child);
}

TEST_F(ChildrenTest, AfterARestartWithoutWorkersTheyEndAtOnce) {
  const SessionId session = Connect("w", 1000);
  Submit(Tasks(1));
  Turn();
  const JobId child = Submit(ChildOf(TakeAssignment(), 0));
  Send(WorkerSaidGoodbye{session});
  disk_.pop_back();  // the child's end was not written
  disk_.pop_back();
  Start();
  EXPECT_TRUE(JobOf(child).is_ended());
}

TEST_F(ChildrenTest, OpenOnesAreNotClosedWhileTheirParentGoesOn) {
  const SessionId session = Connect("w", 1000);
  Submit(Tasks(1));
  Turn();
  const SendAssignment parent = TakeAssignment();
  JobSpec open = ChildOf(parent, 0, 0);
  open.is_open = true;
  const JobId child = Submit(open);
  Pass(120'000, {session});
  EXPECT_TRUE(JobOf(child).facts.open);
  Finish(parent, {0, 1});
  EXPECT_TRUE(JobOf(child).is_ended());
}

TEST_F(ChildrenTest, OnlyAStartThatGoesOnHasThemAndNotTooDeep) {
  options_.max_depth = 1;
  Start();
  Connect("w", 1000);
  EXPECT_THAT(SubmitRefused(ChildOf({.id = AssignmentId(9, 9), .job = JobId(4)}, 3)).message(),
              HasSubstr("parent: task 3 of job 4"));
  const JobId job = Submit(Tasks(2));
  Turn();
  const SendAssignment parent = TakeAssignment();
  EXPECT_FALSE(SubmitRefused(ChildOf(parent, 7)).ok());
  SendAssignment other = parent;
  other.job = JobId(77);
  EXPECT_FALSE(SubmitRefused(ChildOf(other, 0)).ok());
  const JobId child = Submit(ChildOf(parent, 0));
  Block(parent, 1);
  Turn();
  const SendAssignment middle = TakeAssignment();
  EXPECT_EQ(middle.job, child);
  EXPECT_THAT(SubmitRefused(ChildOf(middle, 0)).message(), HasSubstr("no deeper than 1"));
  Cancel(job);
  EXPECT_THAT(SubmitRefused(ChildOf(parent, 0)).message(), HasSubstr("is cancelled"));
}

TEST_F(ChildrenTest, WhatASessionSaysOfOthersAssignmentsChangesNothing) {
  const SessionId session = Connect("w1", 1000);
  Submit(Tasks(1));
  Turn();
  const SendAssignment parent = TakeAssignment();
  const SessionId other = Connect("w2", 1000);
  Send(BlockedReported{other, parent.id, 1});
  Send(BlockedReported{SessionId(99), parent.id, 1});
  EXPECT_EQ(WorkerOf(session).used_milli(), 1000u);
  Block(parent, 1'000'000);
  EXPECT_EQ(WorkerOf(session).used_milli(), 0u);
  EXPECT_EQ(WorkerOf(session).free_milli(9), 1000u) << "no more than it has";
}

}  // namespace
}  // namespace haul::coordinator
