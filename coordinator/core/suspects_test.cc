// Tasks that may have taken their worker down: found by running suspects alone.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SuspectsTest : public CoreFixture {
 protected:
  // A worker of a name that nobody had before.
  SessionId NewWorker(std::uint64_t cpus_milli = 2000) {
    return Connect("w" + std::to_string(++workers_), cpus_milli);
  }
  void Die(SessionId session) {
    const std::string incarnation = WorkerOf(session).facts.incarnation;
    Send(SessionClosed{session});
    Send(WorkerDeathReported{incarnation, "killed by signal 9"});
  }
  std::vector<SendAssignment> TakeTurn() {
    Turn();
    return TakeAll<SendAssignment>();
  }

 private:
  int workers_ = 0;
};

TEST_F(SuspectsTest, OfSeveralNobodyIsChargedAndEachRunsAloneOnAWorker) {
  const SessionId first = NewWorker();
  const JobId job = Submit(Tasks(2));
  TakeTurn();
  Die(first);
  for (const TaskIndex task : {0, 1}) {
    EXPECT_EQ(JobOf(job).ChargeOf(task).crashes, 0u);
    EXPECT_TRUE(JobOf(job).ChargeOf(task).run_alone);
  }
  const SessionId second = NewWorker();
  const JobId other = Submit(Tasks(1));
  const auto alone = TakeTurn();
  ASSERT_THAT(alone, SizeIs(1)) << "the whole worker is its own";
  EXPECT_EQ(alone[0].job, job);
  EXPECT_EQ(alone[0].tasks, (TaskRange{0, 1}));
  EXPECT_TRUE(alone[0].alone);
  EXPECT_EQ(rested_on_, core_->last_sequence() - 1) << "all but the other job's acceptance";
  EXPECT_THAT(TakeTurn(), IsEmpty());
  Finish(alone[0], {0, 1});
  // It was not the one; the worker is as good as any other again.
  const auto next = TakeTurn();
  ASSERT_THAT(next, SizeIs(1));
  if (next[0].job == job) {
    Finish(next[0], next[0].tasks);
    EXPECT_THAT(TakeTurn(), SizeIs(1));
  } else {
    EXPECT_EQ(next[0].job, other);
    Finish(next[0], next[0].tasks);
    const auto last = TakeTurn();
    ASSERT_THAT(last, SizeIs(1));
    Finish(last[0], last[0].tasks);
  }
  EXPECT_EQ(WorkerOf(second).exclusive_assignments, 0u);
}

TEST_F(SuspectsTest, TheCulpritHasFailedAfterThreeDeathsAndItsNeighboursHaveNot) {
  JobSpec spec = Tasks(2);
  spec.max_attempts = 10;  // a death is no attempt of the task's
  const SessionId first = NewWorker();
  const JobId job = Submit(spec);
  TakeTurn();
  Die(first);
  int deaths = 1;
  // Task 1 takes down whatever it runs on.
  for (int turn = 0; !JobOf(job).is_ended() && turn < 20; ++turn) {
    const SessionId session = NewWorker();
    for (auto sent = TakeTurn(); !sent.empty(); sent = TakeTurn()) {
      ASSERT_THAT(sent, SizeIs(1));
      if (sent[0].tasks.first == 1) {
        Die(session);
        ++deaths;
        break;
      }
      Finish(sent[0], sent[0].tasks);
    }
  }
  EXPECT_EQ(deaths, 4) << "one with both, three alone";
  EXPECT_EQ(JobOf(job).state(), JobState::kFailed);
  EXPECT_EQ(JobOf(job).facts.counts.succeeded, 1u);
  const OutcomeRecorded outcome = Recorded<OutcomeRecorded>().back();
  EXPECT_EQ(outcome.tasks, (TaskRange{1, 1}));
  EXPECT_EQ(outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(outcome.cause, Cause::kWorkerLost);
  EXPECT_THAT(outcome.message, HasSubstr("3 times"));
  EXPECT_THAT(outcome.message, HasSubstr("killed by signal 9"));
}

TEST_F(SuspectsTest, WhoWasAloneByChanceIsASuspectLikeAnyOther) {
  const JobId job = Submit(Tasks(1));
  for (int death = 1; death <= 4; ++death) {
    const SessionId session = NewWorker();
    const auto sent = TakeTurn();
    ASSERT_THAT(sent, SizeIs(1));
    EXPECT_EQ(sent[0].alone, death > 1);
    EXPECT_EQ(sent[0].charged.size(), death > 2 ? 1u : 0u);
    Die(session);
    EXPECT_EQ(JobOf(job).is_ended(), death == 4);
  }
}

TEST_F(SuspectsTest, ALeaseThatRanOutSuspectsNobody) {
  const JobId job = Submit(Tasks(1));
  for (int loss = 0; loss < 5; ++loss) {
    const SessionId session = NewWorker();
    ASSERT_THAT(TakeTurn(), SizeIs(1));
    Send(SessionClosed{session});
    Pass(15'300);
    EXPECT_EQ(JobOf(job).ready.size(), 1u);
    EXPECT_EQ(JobOf(job).ChargeOf(0), Charge{});
  }
}

TEST_F(SuspectsTest, UntilAWorkerIsIdleTheRestOfTheJobGoesOn) {
  const SessionId first = NewWorker();
  const JobId job = Submit(Tasks(6));
  TakeTurn();  // 0 and 1
  Die(first);
  NewWorker(1000);
  const auto alone = TakeTurn();
  ASSERT_THAT(alone, SizeIs(1));
  EXPECT_EQ(alone[0].tasks.first, 0u);
  // One more comes and is taken by the second suspect; a third runs what is left.
  NewWorker(1000);
  EXPECT_EQ(TakeTurn().at(0).tasks.first, 1u);
  const SessionId third = NewWorker(1000);
  const auto rest = TakeTurn();
  ASSERT_THAT(rest, SizeIs(1));
  EXPECT_EQ(rest[0].session, third);
  EXPECT_FALSE(rest[0].alone);
  EXPECT_EQ(rest[0].tasks.first, 2u);
  EXPECT_EQ(JobOf(job).ready_alone.size(), 0u);
}

TEST_F(SuspectsTest, WhereNoWorkerIdlesOneIsKeptFree) {
  const JobId job = Submit(Tasks(2));
  const SessionId first = NewWorker();
  TakeTurn();
  const SessionId busy = NewWorker();
  const JobId long_job = Submit(Tasks(1));
  const auto long_task = TakeTurn();
  ASSERT_THAT(long_task, SizeIs(1));
  ASSERT_EQ(long_task[0].session, busy);
  Die(first);
  EXPECT_THAT(TakeTurn(), IsEmpty()) << "half of it is taken";
  EXPECT_THAT(Reason(job), HasSubstr("runs alone on a worker"));
  Pass(1'000, {busy});
  Submit(Tasks(1));
  EXPECT_THAT(TakeTurn(), IsEmpty()) << "what came later waits too, or it would never be idle";
  Finish(long_task[0], {0, 1});
  const auto alone = TakeTurn();
  ASSERT_THAT(alone, SizeIs(1));
  EXPECT_EQ(alone[0].job, job);
  EXPECT_TRUE(JobOf(long_job).is_ended());
}

TEST_F(SuspectsTest, AWorkerIsKeptFreeAlsoOfTheJobsOtherTasks) {
  const SessionId first = NewWorker(1000);
  const JobId job = Submit(Tasks(1000));
  TakeTurn();  // task 0
  const SessionId busy = NewWorker(2000);
  TakeTurn();
  Die(first);
  // Of its two tasks one ends, and is followed by the next, while the other one goes on.
  std::vector<SendAssignment> suspects;
  for (int turn = 0; turn < 20 && suspects.empty(); ++turn) {
    Advance(100);
    Send(WorkerSpoke{busy});
    if (WorkerOf(busy).assigned_tasks > 0) {
      const auto& [id, assignment] = *state().assignments().begin();
      SendAssignment oldest;
      oldest.session = busy;
      oldest.id = id;
      oldest.job = job;
      Finish(oldest, assignment.tasks.First(1), 2'000);
    }
    for (const SendAssignment& sent : TakeTurn()) {
      if (sent.alone) suspects.push_back(sent);
    }
  }
  ASSERT_THAT(suspects, SizeIs(1));
  EXPECT_EQ(suspects[0].tasks.first, 0u);
  EXPECT_GT(JobOf(job).ready.size(), 0u) << "it did not wait for the rest of the job";
}

TEST_F(SuspectsTest, SuspicionSurvivesTheCoordinatorsRestart) {
  const SessionId first = NewWorker();
  const JobId job = Submit(Tasks(2));
  TakeTurn();
  Die(first);
  Start();
  NewWorker();
  Pass(15'300, {SessionId(2)});
  const auto sent = TakeAll<SendAssignment>();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_TRUE(sent[0].alone);
  EXPECT_TRUE(JobOf(job).ChargeOf(1).run_alone);
}

TEST_F(SuspectsTest, AFunctionThatMayHaveKilledItsWorkerHasAWholeWorker) {
  WorkerProfile profile = Profile("f", 2000);
  profile.functions = {{"f", "()", "lib.so"}};
  const SessionId first = Connect(profile);
  JobSpec spec = Tasks(2);
  spec.kind = WorkKind::kFunction;
  spec.function = "f";
  spec.signature = "()";
  const JobId job = Submit(spec);
  TakeTurn();
  Die(first);
  profile.incarnation = "f-2";
  Connect(profile);
  ASSERT_THAT(TakeTurn(), SizeIs(1));
  EXPECT_TRUE(JobOf(job).suspected);
}

TEST_F(SuspectsTest, OfALongBacklogOnlyWhatMayHaveRunIsSuspected) {
  const SessionId session = NewWorker(1000);
  const JobId job = Submit(Tasks(100'000));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 0);
  TakeTurn();
  ASSERT_GT(JobOf(job).assigned_tasks, 1000u);
  Die(session);
  EXPECT_EQ(JobOf(job).ready_alone.size(), 80u);
  EXPECT_TRUE(JobOf(job).ready_alone.Contains(1));
  Cancel(job);
  EXPECT_TRUE(JobOf(job).is_ended());
}

TEST_F(SuspectsTest, HandedBackUnchargedOneStillRunsAlone) {
  NewWorker();
  const JobId job = Submit(Tasks(2));
  for (SendAssignment sent : TakeTurn()) {
    Finish(sent, sent.tasks, 1, TaskStatus::kCrashed);  // their executor died, nobody knows why
  }
  SendAssignment alone = TakeTurn().at(0);
  ASSERT_TRUE(alone.alone);
  HandBack(alone, alone.tasks, HandBackReason::kExecutorDied);
  EXPECT_EQ(JobOf(job).ChargeOf(alone.tasks.first).crashes, 0u);
  const TaskRange task = alone.tasks;
  alone = TakeTurn().at(0);
  EXPECT_EQ(alone.tasks, task);
  EXPECT_TRUE(alone.alone);
}

TEST_F(SuspectsTest, WhatIsCancelledIsNotSuspected) {
  const SessionId session = NewWorker();
  const JobId job = Submit(Tasks(2));
  TakeTurn();
  Cancel(job);
  Die(session);
  EXPECT_EQ(JobOf(job).state(), JobState::kCancelled);
  EXPECT_THAT(Recorded<AttemptsCharged>(), IsEmpty());
}

}  // namespace
}  // namespace haul::coordinator
