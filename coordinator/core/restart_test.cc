// Restarts of the coordinator: recovery from the durable records, and adoption.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RestartTest : public CoreFixture {
 protected:
  // A worker that runs the one task of a job.
  void RunOne(const std::string& name) {
    Connect(name);
    job_ = Submit(Tasks(1));
    Turn();
    sent_ = TakeAssignment();
  }
  JobId job_;
  SendAssignment sent_;
};

TEST_F(RestartTest, AcceptedJobsAndRequestIdsSurvive) {
  JobSpec spec = Tasks(5);
  spec.request_id = "r";
  const JobId job = Submit(spec);
  Start();
  Send(JobSubmitted{NextRequest(), spec});
  EXPECT_EQ(Take<AnswerSubmit>().job, job);
  EXPECT_GT(Submit(Tasks(1)), job) << "ids are never reused";
  Connect("w", 8000);
  Turn();
  EXPECT_EQ(TakeAll<SendAssignment>().size(), 2u) << "nobody is awaited, so nothing waits";
}

TEST_F(RestartTest, RunningWorkIsAdoptedAndNotStartedAgain) {
  RunOne("w");
  Start();
  Connect("other");
  Turn();
  ExpectNoMore();
  EXPECT_THAT(Reason(job_), HasSubstr("restarted"));
  const SessionId session = Connect(Profile("w"), {Held(sent_, {0, 1})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  EXPECT_FALSE(state().adopting());
  Turn();
  ExpectNoMore();
  FinishOn(session, sent_, {0, 1});
  EXPECT_EQ(JobOf(job_).state(), JobState::kSucceeded);
}

TEST_F(RestartTest, AFunctionIsNotRefusedForGoodWhileWhoServesItMayBeOnItsWay) {
  JobSpec call = Tasks(1);
  call.kind = WorkKind::kFunction;
  call.function = "f";
  call.signature = "()";
  EXPECT_EQ(SubmitRefused(call).code(), absl::StatusCode::kInvalidArgument) << "nobody is awaited";
  WorkerProfile serving = Profile("w");
  serving.functions = {{"f", "()", "lib.so"}};
  Connect(serving);
  Connect("other");
  Start();
  Connect("other");
  EXPECT_EQ(SubmitRefused(call).code(), absl::StatusCode::kUnavailable);
  Connect(serving);
  Submit(call);

  Start();
  Pass(15'200);
  EXPECT_EQ(SubmitRefused(call).code(), absl::StatusCode::kInvalidArgument) << "it did not come";
}

TEST_F(RestartTest, NewJobsGoAtOnce) {
  RunOne("w");
  Start();
  Connect("other");
  const JobId fresh = Submit(Tasks(1));
  Turn();
  EXPECT_EQ(TakeAssignment().job, fresh);
  ExpectNoMore();
}

TEST_F(RestartTest, AdoptionEndsWhenAllAreBack) {
  RunOne("w");
  Connect("w2");
  Start();
  Connect("w");  // it holds nothing: the assignment never arrived
  EXPECT_TRUE(state().adopting());
  Turn();
  ExpectNoMore();
  Connect("w2");
  EXPECT_FALSE(state().adopting());
  Turn();
  EXPECT_EQ(TakeAssignment().job, job_);
}

TEST_F(RestartTest, AdoptionEndsWhenTheAwaitedIsSuperseded) {
  RunOne("w");
  Start();
  WorkerProfile newer = Profile("w");
  newer.incarnation = "w-2";
  Connect(newer);
  EXPECT_FALSE(state().adopting());
  const RecordSequence left = core_->last_sequence();
  Turn();
  EXPECT_EQ(TakeAssignment().job, job_);
  EXPECT_GE(rested_on_, left);
}

TEST_F(RestartTest, AdoptionEndsByDeathCertificate) {
  RunOne("w");
  Start();
  Send(WorkerDeathReported{"w-1", "killed"});
  EXPECT_FALSE(state().adopting());
}

TEST_F(RestartTest, AdoptionEndsAfterOneLease) {
  RunOne("w");
  Start();
  const SessionId other = Connect("other");
  Pass(14'900, {other});
  ExpectNoMore();
  Pass(200, {other});
  EXPECT_FALSE(state().adopting());
  EXPECT_EQ(TakeAssignment().session, other);
  EXPECT_EQ(rested_on_, core_->last_sequence()) << "that the other one left is on the disk first";
  Connect(Profile("w"), {Held(sent_, {0, 1})});
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent_.id));
}

TEST_F(RestartTest, WhatAWorkerHeldBeforeItWasLostIsNotAdopted) {
  RunOne("w");
  const SessionId other = Connect("other");
  Pass(15'200, {other});
  const SendAssignment again = TakeAssignment();
  ASSERT_EQ(again.session, other);
  // It joins anew, and the coordinator ends before it can tell it what it lost.
  Connect(Profile("w"), {Held(sent_, {0, 1})});
  Start();
  Connect(Profile("w"), {Held(sent_, {0, 1})});
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent_.id));
  Connect(Profile("other"), {Held(again, {0, 1})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
}

TEST_F(RestartTest, AdoptionWaitsLongerIfTheCoordinatorStoodStill) {
  RunOne("w");
  Start();
  Advance(20'000);
  Turn();
  EXPECT_TRUE(state().adopting());
  Pass(15'100);
  EXPECT_FALSE(state().adopting());
}

TEST_F(RestartTest, AdoptionEndsThoughTheDiskIsBehindAgainAndAgain) {
  RunOne("w");
  Start();
  for (int turn = 0; turn < 231; ++turn) {  // 15.4 s of 23.1 s were read
    if (turn == 222) EXPECT_TRUE(state().adopting());
    Advance(100);
    Send(TimePassed{.unread = turn % 3 == 0});
  }
  EXPECT_FALSE(state().adopting());
}

TEST_F(RestartTest, WorkerThatWasLostBeforeTheRestartIsNotAdopted) {
  RunOne("lost");
  const SendAssignment lost = sent_;
  Send(WorkerDeathReported{"lost-1", "its lease ran out"});
  Connect("holder");
  Turn();
  const SendAssignment sent = TakeAssignment();
  Start();
  Connect(Profile("lost"), {Held(lost, {0, 1})});  // first, but a member no longer
  EXPECT_THAT(welcome_.dropped, ElementsAre(lost.id));
  const SessionId holder = Connect(Profile("holder"), {Held(sent, {0, 1})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  FinishOn(holder, sent, {0, 1});
  EXPECT_EQ(JobOf(job_).state(), JobState::kSucceeded);
}

TEST_F(RestartTest, ChargedStartIsNotAdoptedAndNotChargedTwice) {
  Connect("w", 2000);
  JobSpec spec = Tasks(2);
  spec.max_attempts = 3;
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Finish(sent, {0, 1}, 1, TaskStatus::kFailed);
  Start();  // before the worker heard that its outcome is durable
  const SessionId session = Connect(Profile("w", 2000), {Held(sent, {0, 2})});
  EXPECT_EQ(JobOf(job).ready, IntervalSet({0, 1}));
  FinishOn(session, sent, {0, 1}, 1, TaskStatus::kFailed);
  EXPECT_EQ(JobOf(job).ChargeOf(0).attempts, 1u);
  Turn();
  const SendAssignment second = TakeAssignment();
  ASSERT_EQ(second.charged.size(), 1u);
  Start();  // this start is after the charge: it is adopted
  Connect(Profile("w", 2000), {Held(sent, {1, 1}), Held(second, {0, 1})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  EXPECT_EQ(JobOf(job).assigned_tasks, 2u);
}

TEST_F(RestartTest, SecondHelloDuringAdoptionBringsNothingBack) {
  JobSpec spec = Tasks(1);
  spec.max_attempts = 2;
  Connect("w");
  Connect("absent");
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Start();
  const SessionId session = Connect(Profile("w"), {Held(sent, {0, 1})});
  FinishOn(session, sent, {0, 1}, 1, TaskStatus::kFailed);
  Connect(Profile("w"), {Held(sent, {0, 1})});  // it did not hear of it
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent.id));
  EXPECT_EQ(JobOf(job).ready.size(), 1u);
}

TEST_F(RestartTest, OnlyWhatIsNotDoneIsAdopted) {
  Connect("w", 4000);
  const JobId job = Submit(Tasks(4));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Finish(sent, {1, 2});
  Start();
  const SessionId session = Connect(Profile("w", 4000), {Held(sent, {0, 4})});
  EXPECT_EQ(JobOf(job).assigned_tasks, 2u);
  FinishOn(session, sent, {1, 2}, 1, TaskStatus::kFailed);  // sent again: void
  FinishOn(session, sent, {0, 1});
  FinishOn(session, sent, {3, 1});
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 4}));
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

// The second worker's tasks had ended, and so the first was given more; but their ends were not on
// the disk, and are told again.
TEST_F(RestartTest, WhatExceedsMaxRunningAfterwardsRunsDry) {
  Connect("first");
  Connect("second");
  JobSpec spec = Tasks(100);
  spec.max_running = 2;
  const JobId job = Submit(spec);
  Turn();
  SendAssignment of_first = TakeAssignment();
  SendAssignment of_second = TakeAssignment();
  of_first.width = 2;
  Start();
  const SessionId first = Connect(Profile("first", 2000), {Held(of_first, {0, 10})});
  of_second.session = Connect(Profile("second"), {Held(of_second, {10, 4})});
  EXPECT_EQ(JobOf(job).running_width, 3u);
  Turn();
  ExpectNoMore();
  for (TaskIndex task = 10; task < 14; ++task) {
    Finish(of_second, {task, 1});
    Turn();
    for (const SendAssignment& sent : TakeAll<SendAssignment>()) EXPECT_EQ(sent.session, first);
    EXPECT_LE(JobOf(job).running_width, task < 13 ? 3u : 2u);
  }
}

TEST_F(RestartTest, CancelledJobWaitsForAdoptionThenEnds) {
  RunOne("w");
  Cancel(job_, "me");
  Start();
  EXPECT_FALSE(JobOf(job_).is_ended()) << "it may be running yet, and may have succeeded";
  const SessionId session = Connect(Profile("w"), {Held(sent_, {0, 1})});
  EXPECT_EQ(Take<SendCancel>().id, sent_.id);
  FinishOn(session, sent_, {0, 1}, 1, TaskStatus::kCancelled);
  EXPECT_EQ(JobOf(job_).state(), JobState::kCancelled);

  RunOne("w");
  Cancel(job_);
  Start();
  Connect("w");  // holds nothing
  EXPECT_EQ(JobOf(job_).state(), JobState::kCancelled);
}

TEST_F(RestartTest, EndThatWasNotRecordedIsMadeUpFor) {
  RunOne("w");
  Finish(sent_, {0, 1});
  ASSERT_TRUE(std::holds_alternative<JobEnded>(disk_.back()));
  disk_.pop_back();
  Start();
  EXPECT_EQ(JobOf(job_).state(), JobState::kSucceeded);
}

TEST_F(RestartTest, VolatileJobsVanishAndWhatRanOfThemIsDropped) {
  Connect("w");
  JobSpec spec = Tasks(1);
  spec.is_volatile = true;
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Start();
  EXPECT_EQ(state().FindJob(job), nullptr);
  Connect(Profile("w"), {Held(sent, {0, 1})});
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent.id));
  EXPECT_NE(Submit(spec), job) << "its id carries the epoch";
}

TEST_F(RestartTest, IdsOfWhatIsForgottenAreNotReused) {
  Connect("w");
  const JobId job = Submit(Tasks(1));
  core_ = std::make_unique<Core>(options_, 9);
  core_->RecoverLastIds(job, WorkerId(5));
  Send(ServingStarted{});
  EXPECT_GT(Submit(Tasks(1)), job);
  Connect("w2");
  EXPECT_EQ(welcome_.worker, WorkerId(6));
}

}  // namespace
}  // namespace haul::coordinator
