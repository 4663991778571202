// Workers that come, go, drain, are lost and return.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WorkerTest : public CoreFixture {};

TEST_F(WorkerTest, ClosedConnectionAloneProvesNothing) {
  const SessionId session = Connect("w");
  const JobId job = Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  Connect("other");
  Pass(14'000, {SessionId(2)});
  EXPECT_FALSE(Has<SendAssignment>());
  const SessionId again = Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  FinishOn(again, sent, {0, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  ExpectNoMore();
}

TEST_F(WorkerTest, LeaseThatRunsOutRequeuesAndTheNextStartRestsOnThat) {
  const SessionId session = Connect("w");
  const JobId job = Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  Connect("other");
  Pass(15'300, {SessionId(2)});
  EXPECT_EQ(Recorded<WorkerLeft>().size(), 1u);
  EXPECT_EQ(TakeAssignment().job, job);
  EXPECT_EQ(rested_on_, core_->last_sequence())
      << "WorkerLeft, or the lost one could be adopted yet";
  // It comes after all: its work is no longer its own.
  const SessionId again = Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent.id));
  FinishOn(again, sent, {0, 1});
  EXPECT_THAT(Recorded<OutcomeRecorded>(), IsEmpty());
}

TEST_F(WorkerTest, SilentConnectionLosesItsLeaseToo) {
  const SessionId session = Connect("w");
  Pass(15'300);
  EXPECT_EQ(Take<CloseSession>().session, session);
  EXPECT_EQ(state().FindWorker(session), nullptr);
  Send(WorkerSpoke{session});
  Send(SessionClosed{session});
  ExpectNoMore();
}

TEST_F(WorkerTest, WhenTheCoordinatorStoodStillNobodyIsBlamed) {
  const SessionId session = Connect("w");
  Advance(60'000);
  Turn();
  EXPECT_NE(state().FindWorker(session), nullptr);
  Pass(14'000);
  EXPECT_NE(state().FindWorker(session), nullptr) << "a full lease from the standstill on";
  Pass(1'500);
  EXPECT_EQ(state().FindWorker(session), nullptr);
}

TEST_F(WorkerTest, WhileNothingIsReadNobodyIsBlamed) {
  const SessionId session = Connect("w");
  for (int turn = 0; turn < 300; ++turn) {  // a disk that is slow for 30 s
    Advance(100);
    Send(TimePassed{.unread = true});
  }
  EXPECT_NE(state().FindWorker(session), nullptr);
  Pass(14'000);
  EXPECT_NE(state().FindWorker(session), nullptr) << "a full lease from then on";
  Pass(1'500);
  EXPECT_EQ(state().FindWorker(session), nullptr);
}

TEST_F(WorkerTest, ADiskThatIsBehindAgainAndAgainDelaysALeasesEndByJustSoLong) {
  const SessionId session = Connect("w");
  const auto pass = [&](int turns) {
    for (int turn = 0; turn < turns; ++turn) {
      Advance(100);
      Send(TimePassed{.unread = turn % 3 == 0});
    }
  };
  pass(222);  // 14.8 s of 22.2 s were read
  EXPECT_NE(state().FindWorker(session), nullptr);
  pass(9);
  EXPECT_EQ(state().FindWorker(session), nullptr);
}

TEST_F(WorkerTest, HelloThatListsLessRequeuesWhatWasLostOnItsWay) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(2));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  Connect(Profile("w", 2000), {Held(sent, {0, 1})});
  EXPECT_EQ(JobOf(job).ready, IntervalSet({1, 1}));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{1, 1}));
  Send(SessionClosed{SessionId(2)});
  const SessionId last = Connect(Profile("w", 2000));
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  EXPECT_EQ(JobOf(job).ready, IntervalSet({0, 2}));
  Turn();
  const SendAssignment again = TakeAssignment();
  EXPECT_EQ(again.session, last);
  EXPECT_TRUE(again.with_spec) << "it answers for nothing of the job, so it may have forgotten it";
}

TEST_F(WorkerTest, HelloThatListsMoreIsToldWhatToDrop) {
  const JobId job = Submit(Tasks(1));
  const AssignmentId unknown(1, 77);
  Connect(Profile("w"), {{.id = unknown, .job = job, .ranges = {{0, 1}}}});
  EXPECT_THAT(welcome_.dropped, ElementsAre(unknown));
  EXPECT_EQ(JobOf(job).ready.size(), 1u);
}

TEST_F(WorkerTest, NewConnectionReplacesTheOldOne) {
  const SessionId session = Connect("w");
  const JobId job = Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  const SessionId again = Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_EQ(Take<CloseSession>().session, session);
  FinishOn(session, sent, {0, 1}, 1, TaskStatus::kFailed);  // I4
  Send(SessionClosed{session});
  EXPECT_TRUE(WorkerOf(again).connected());
  FinishOn(again, sent, {0, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(WorkerTest, NewerIncarnationSupersedesAtOnce) {
  const SessionId session = Connect("w");
  Submit(Tasks(1));
  Turn();
  TakeAssignment();
  WorkerProfile newer = Profile("w");
  newer.incarnation = "w-2";
  const SessionId again = Connect(newer);
  EXPECT_EQ(Take<CloseSession>().session, session);
  EXPECT_EQ(state().workers().size(), 1u);
  Turn();
  EXPECT_EQ(TakeAssignment().session, again);
  EXPECT_EQ(rested_on_, core_->last_sequence());
}

TEST_F(WorkerTest, DeathCertificateRequeuesAtOnce) {
  const SessionId session = Connect("w");
  const SessionId other = Connect("other");
  Submit(Tasks(2));
  Turn();
  TakeAll<SendAssignment>();
  Send(SessionClosed{session});
  Send(WorkerDeathReported{"w-1", "killed by signal 9"});
  Send(WorkerDeathReported{"w-1", "killed by signal 9"});
  Send(WorkerDeathReported{"never seen", "?"});
  EXPECT_EQ(state().workers().size(), 1u);
  EXPECT_EQ(Recorded<WorkerLeft>()[0].reason, "killed by signal 9");
  Connect("third");
  Turn();
  EXPECT_NE(TakeAssignment().session, other);
}

TEST_F(WorkerTest, DrainedWorkerFinishesWhatItHasThenDeparts) {
  const SessionId session = Connect("w");
  Submit(Tasks(3));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(WorkerDrainAsked{NextRequest(), WorkerOf(session).id});
  Take<SendDrain>();
  Take<AnswerWorker>();
  Turn();
  ExpectNoMore();
  Finish(sent, sent.tasks);
  EXPECT_EQ(Take<SendDepart>().session, session);
  Send(WorkerDrainAsked{NextRequest(), WorkerOf(session).id});
  Take<AnswerWorker>();
  Turn();
  ExpectNoMore();
  Send(WorkerSaidGoodbye{session});
  EXPECT_EQ(state().workers().size(), 0u);
}

TEST_F(WorkerTest, DeadlineOfADrainIsToldAndAgainWhatIsLeftOfIt) {
  const SessionId session = Connect("w");
  Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1), 10'000});
  EXPECT_EQ(Take<SendDrain>().deadline_ms, 10'000u);
  Take<AnswerWorker>();
  // Of several deadlines the earliest counts, and none at all is no earlier one.
  Advance(1'000);
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1), 20'000});
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1)});
  EXPECT_FALSE(Has<SendDrain>());
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1), 5'000});
  EXPECT_EQ(Take<SendDrain>().deadline_ms, 5'000u);
  TakeAll<AnswerWorker>();
  Send(SessionClosed{session});
  Advance(2'000);
  const SessionId again = Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_EQ(Take<SendDrain>().deadline_ms, 3'000u);
  Send(SessionClosed{again});
  Advance(60'000);
  Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_EQ(Take<SendDrain>().deadline_ms, 1u) << "0 would be no deadline";
  ExpectNoMore();
}

TEST_F(WorkerTest, WhatADrainingWorkerGivesUpAtItsDeadlineRunsElsewhereUncharged) {
  const SessionId session = Connect("w");
  JobSpec spec = Tasks(1);
  spec.max_attempts = 2;
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1), 10'000});
  Take<SendDrain>();
  Take<AnswerWorker>();
  const SessionId other = Connect("other");
  Turn();
  EXPECT_FALSE(Has<SendAssignment>());
  HandBack(sent, {0, 1}, HandBackReason::kLeaving);
  EXPECT_EQ(Take<SendDepart>().session, session);
  Turn();
  const SendAssignment elsewhere = TakeAssignment();
  EXPECT_EQ(elsewhere.session, other);
  EXPECT_THAT(elsewhere.charged, IsEmpty());
  EXPECT_EQ(JobOf(job).facts.retried, 0u);
}

TEST_F(WorkerTest, StopAskedWhileItIsAwayIsToldWhenItReturns) {
  const SessionId session = Connect("w");
  Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  Send(WorkerStopAsked{NextRequest(), WorkerId(1)});
  Take<AnswerWorker>();
  ExpectNoMore();
  const SessionId again = Connect(Profile("w"), {Held(sent, {0, 1})});
  Take<SendDrain>();
  EXPECT_EQ(Take<SendStop>().session, again);
  ExpectNoMore();
}

TEST_F(WorkerTest, DrainAskedWhileItIsAwayIsToldWhenItReturns) {
  Send(SessionClosed{Connect("w")});
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1)});
  Take<AnswerWorker>();
  ExpectNoMore();
  Connect("w");
  Take<SendDrain>();
  Take<SendDepart>();
  ExpectNoMore();
  // The word to depart was lost with the connection, whose end is not seen yet.
  Connect("w");
  Take<CloseSession>();
  Take<SendDrain>();
  Take<SendDepart>();
  ExpectNoMore();
}

TEST_F(WorkerTest, DepartedWorkerIsGoneWhenItsConnectionIs) {
  const SessionId session = Connect("w");
  Send(WorkerStartedDraining{session});
  Take<SendDepart>();
  Send(SessionClosed{session});
  EXPECT_EQ(state().workers().size(), 0u);
}

TEST_F(WorkerTest, StoppedWorkerHandsBackAndLeaves) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(2));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(WorkerStopAsked{NextRequest(), WorkerOf(session).id});
  Take<SendStop>();
  Take<AnswerWorker>();
  HandBack(sent, {0, 2}, HandBackReason::kLeaving);
  EXPECT_EQ(JobOf(job).ready.size(), 2u);
  Take<SendDepart>();
  Send(WorkerSaidGoodbye{session});
  Connect("w2");
  Turn();
  EXPECT_EQ(TakeAssignment().job, job);
  Send(WorkerStopAsked{NextRequest(), WorkerId(1)});
  EXPECT_EQ(Take<AnswerError>().status.code(), absl::StatusCode::kNotFound);
  Send(WorkerDrainAsked{NextRequest(), WorkerId(1)});
  EXPECT_EQ(Take<AnswerError>().status.code(), absl::StatusCode::kNotFound);
}

TEST_F(WorkerTest, MissingDirectoryIsAskedElsewhere) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(4));
  Turn();
  const SendAssignment first = TakeAssignment();
  Finish(first, {0, 1});  // so that the lane is one that scheduling looks at
  HandBack(first, {1, 1}, HandBackReason::kDirectoryMissing);
  Turn();
  EXPECT_FALSE(Has<SendAssignment>()) << "not to one that refused it";
  const SessionId other = Connect("other");
  Turn();
  EXPECT_EQ(TakeAssignment().session, other);
  EXPECT_TRUE(JobOf(job).refused_by.contains(WorkerOf(session).id));
}

TEST_F(WorkerTest, WhatADeadExecutorHadStartsUnderALaterAssignmentThatBringsTheSpec) {
  WorkerProfile profile = Profile("w", 2000);
  profile.functions = {{"f", "()", "lib"}};
  Connect(profile);
  JobSpec spec = Tasks(10);
  spec.kind = WorkKind::kFunction;
  spec.function = "f";
  spec.signature = "()";
  const JobId job = Submit(spec);
  Turn();
  Finish(TakeAssignment(), {0, 1});
  Turn();
  const SendAssignment first = TakeAssignment();
  EXPECT_TRUE(first.with_spec) << "what else it has of the job may be on its way back";
  HandBack(first, first.tasks, HandBackReason::kExecutorDied);
  Turn();
  const SendAssignment again = TakeAssignment();
  EXPECT_EQ(again.tasks, first.tasks);
  EXPECT_GT(again.id, first.id) << "the fencing token";
  EXPECT_TRUE(again.with_spec);
  EXPECT_FALSE(again.alone);
  EXPECT_THAT(JobOf(job).facts.charges, IsEmpty());
}

TEST_F(WorkerTest, CancelReachesAWorkerThatWasAway) {
  const SessionId session = Connect("w");
  const JobId job = Submit(Tasks(1));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(SessionClosed{session});
  Cancel(job, "me");
  ExpectNoMore();
  Connect(Profile("w"), {Held(sent, {0, 1})});
  const auto cancel = Take<SendCancel>();
  EXPECT_EQ(cancel.id, sent.id);
  EXPECT_EQ(cancel.by, "me");
  ExpectNoMore();
}

TEST_F(WorkerTest, OfTwoThatWereGivenOneNameTheLaterKeepsIt) {
  Connect("w");
  WorkerProfile later = Profile("w");
  later.incarnation = "w-2";
  const SessionId session = Connect(later);
  Forget();
  Send(WorkerConnected{SessionId(77), Profile("w"), {}, false, true});
  const auto closed = Take<CloseSession>();
  EXPECT_EQ(closed.session, SessionId(77));
  EXPECT_TRUE(absl::IsFailedPrecondition(closed.status)) << closed.status;
  ExpectNoMore();
  EXPECT_EQ(WorkerOf(session).facts.incarnation, "w-2");
}

}  // namespace
}  // namespace haul::coordinator
