// Story tests of cancelled tasks of jobs that go on. Whole jobs: core_test.cc.
#include "coordinator/core/core_fixture.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CancelTest : public CoreFixture {
 protected:
  void CancelTasks(JobId job, std::vector<TaskRange> tasks) {
    Send(JobCancelAsked{NextRequest(), job, "somebody", std::move(tasks)});
    EXPECT_EQ(Take<AnswerJob>().job, job);
  }
};

TEST_F(CancelTest, WhatNobodyHasEndsAtOnceAndTheRestOfTheJobGoesOn) {
  Connect("w", 1000);
  const JobId job = Submit(Tasks(10));
  Turn();
  const SendAssignment sent = TakeAssignment();
  CancelTasks(job, {{4, 2}, {8, 100}});
  EXPECT_FALSE(Has<SendCancel>()) << "its worker has none of them";
  const auto outcomes = Recorded<OutcomeRecorded>();
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{4, 2}));
  EXPECT_EQ(outcomes[0].cause, Cause::kCancelled);
  EXPECT_EQ(outcomes[0].message, "somebody");
  EXPECT_EQ(outcomes[1].tasks, (TaskRange{8, 2})) << "as far as the job has them";
  Finish(sent, {0, 1});
  IntervalSet rest;
  for (Turn(); Has<SendAssignment>(); Turn()) {
    const SendAssignment next = TakeAssignment();
    rest.Add(next.tasks);
    Finish(next, next.tasks);
  }
  EXPECT_THAT(rest.ranges(), ElementsAre(TaskRange{1, 3}, TaskRange{6, 2}));
  EXPECT_EQ(JobOf(job).state(), JobState::kCancelled);
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 6, .cancelled = 4}));
}

TEST_F(CancelTest, WhoeverHoldsTheTasksIsToldAndWhatFailsThenIsNotRetried) {
  JobSpec spec = Tasks(4);
  spec.max_attempts = 5;
  Connect("w", 4000);
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  CancelTasks(job, {{1, 2}});
  const auto cancel = Take<SendCancel>();
  EXPECT_EQ(cancel.id, sent.id);
  EXPECT_EQ(cancel.by, "somebody");
  EXPECT_THAT(cancel.tasks, ElementsAre(TaskRange{1, 2}));
  Finish(sent, {1, 1}, 1, TaskStatus::kFailed);
  Finish(sent, {2, 1}, 1, TaskStatus::kCrashed, /*culprit=*/true);
  Finish(sent, {3, 1}, 1, TaskStatus::kFailed);
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.failed = 1, .cancelled = 1}));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{3, 1})) << "which is wanted";
  ExpectNoMore();
}

TEST_F(CancelTest, WhatComesBackEndsAndDoesNotGoElsewhere) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(2));
  Turn();
  TakeAssignment();
  CancelTasks(job, {{0, 1}});
  Forget();
  Send(WorkerSaidGoodbye{session});
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.cancelled = 1}));
  Connect("w2", 2000);
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{1, 1}));
}

TEST_F(CancelTest, AWorkerThatComesBackIsToldAgain) {
  const SessionId session = Connect("w", 3000);
  const JobId job = Submit(Tasks(3));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  CancelTasks(job, {{2, 1}});
  EXPECT_FALSE(Has<SendCancel>());
  Connect(Profile("w", 3000), {Held(sent, {0, 3})});
  EXPECT_THAT(Take<SendCancel>().tasks, ElementsAre(TaskRange{2, 1}));
}

TEST_F(CancelTest, OfAnOpenJobThatGoesOn) {
  JobSpec spec = Tasks(2);
  spec.is_open = true;
  const JobId job = Submit(spec);
  CancelTasks(job, {{0, 2}});
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.cancelled = 2}));
  EXPECT_FALSE(JobOf(job).is_ended());
  Send(JobExtendAsked{NextRequest(), job, 2, 1, 0, /*close=*/true});
  Connect("w");
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{2, 1}));
}

TEST_F(CancelTest, OfWhatEndedOrIsNotThere) {
  Send(JobCancelAsked{NextRequest(), JobId(7), "me", {{0, 1}}});
  EXPECT_THAT(Take<AnswerError>().status.ToString(), HasSubstr("job 7"));
  Connect("w");
  const JobId job = Submit(Tasks(2));
  Turn();
  Finish(TakeAssignment(), {0, 1});
  CancelTasks(job, {{0, 1}, {2, 5}});
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 1}));
  Turn();
  Finish(TakeAssignment(), {1, 1});
  CancelTasks(job, {{1, 1}});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(CancelTest, AfterARestartItIsForgottenUnlessAskedAgain) {
  Connect("w", 2000);
  const JobId job = Submit(Tasks(2));
  Turn();
  const SendAssignment sent = TakeAssignment();
  CancelTasks(job, {{0, 1}});
  Start();
  CancelTasks(job, {{0, 1}});
  EXPECT_TRUE(JobOf(job).facts.done.empty()) << "whoever may hold it has not come back";
  Connect(Profile("w", 2000), {Held(sent, {0, 2})});
  EXPECT_THAT(Take<SendCancel>().tasks, ElementsAre(TaskRange{0, 1}));
}

}  // namespace
}  // namespace haul::coordinator
