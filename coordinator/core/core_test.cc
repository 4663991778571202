// Jobs and outcomes, as clients and workers that stay see them. Restarts: restart_test.cc.
#include "coordinator/core/core.h"

#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CoreTest : public CoreFixture {};

TEST_F(CoreTest, JobRunsFromSubmitToEnd) {
  const JobId job = Submit(Tasks(2));
  EXPECT_EQ(rested_on_, 1u) << "the answer waits for the job's acceptance";
  EXPECT_EQ(JobOf(job).state(), JobState::kQueued);
  const SessionId session = Connect("w", 2000);
  Turn();
  const SendAssignment sent = TakeAssignment();
  EXPECT_EQ(sent.session, session);
  EXPECT_EQ(sent.job, job);
  EXPECT_EQ(sent.tasks, (TaskRange{0, 2}));
  EXPECT_EQ(sent.width, 2u);
  EXPECT_TRUE(sent.with_spec);
  ExpectNoMore();
  EXPECT_EQ(JobOf(job).state(), JobState::kRunning);

  notified_.clear();
  Finish(sent, {0, 2});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 2}));
  EXPECT_TRUE(notified_.contains(job));
  Turn();
  ExpectNoMore();
}

TEST_F(CoreTest, AssignmentRestsOnTheJobsAcceptanceAndTheWorkersMembership) {
  const JobId job = Submit(Tasks(1));
  const RecordSequence accepted = rested_on_;
  Connect("w");
  const RecordSequence joined = rested_on_;
  EXPECT_GT(joined, accepted);
  Turn();
  EXPECT_EQ(TakeAssignment().job, job);
  EXPECT_EQ(rested_on_, joined) << "behind the welcome, and only to a durable member";

  const JobId second = Submit(Tasks(1));
  Connect("w2");
  Connect("w3");  // whose membership is nothing to do with w2
  Turn();
  EXPECT_EQ(TakeAssignment().job, second);
  EXPECT_EQ(rested_on_, joined + 2);
}

TEST_F(CoreTest, RepeatedSubmitIsTheSameJob) {
  JobSpec spec = Tasks(3);
  spec.request_id = "r";
  const JobId job = Submit(spec);
  Send(JobSubmitted{NextRequest(), spec});
  const auto again = Take<AnswerSubmit>();
  EXPECT_EQ(again.job, job);
  EXPECT_TRUE(again.already_accepted);
  EXPECT_EQ(rested_on_, core_->last_sequence()) << "not before the first is durable";
  EXPECT_EQ(Recorded<JobAccepted>().size(), 1u);

  spec.owner = "somebody else";
  EXPECT_NE(Submit(spec), job);
}

TEST_F(CoreTest, BadSubmitNamesTheFieldTheValueAndTheLimit) {
  EXPECT_THAT(SubmitRefused(Tasks(0)).ToString(), HasSubstr("task_count: 0"));
  const absl::Status many = SubmitRefused(Tasks(1'000'000'000));
  EXPECT_THAT(many.ToString(), HasSubstr("task_count: 1000000000"));
  EXPECT_THAT(many.ToString(), HasSubstr("100000000"));
  JobSpec no_cpus = Tasks(1);
  no_cpus.cpus_milli = 0;
  EXPECT_THAT(SubmitRefused(no_cpus).ToString(), HasSubstr("cpus"));
  EXPECT_THAT(state().jobs(), IsEmpty());
}

TEST_F(CoreTest, TooManyActiveJobsAreRefusedUntilSomeEnd) {
  options_.max_active_jobs = 2;
  Start();
  const JobId first = Submit(Tasks(1));
  Submit(Tasks(1));
  EXPECT_EQ(SubmitRefused(Tasks(1)).code(), absl::StatusCode::kResourceExhausted);
  Cancel(first);
  Submit(Tasks(1));
}

TEST_F(CoreTest, UnknownFunctionIsRefusedWithThoseThatExist) {
  JobSpec spec = Tasks(1);
  spec.kind = WorkKind::kFunction;
  spec.function = "squar";
  spec.signature = "(i64)->i64";
  EXPECT_THAT(SubmitRefused(spec).ToString(), HasSubstr("there is: none"));
  WorkerProfile profile = Profile("w");
  profile.functions = {{"square", "(i64)->i64", "lib"}, {"noop", "()->()", "lib"}};
  const SessionId session = Connect(profile);
  const absl::Status status = SubmitRefused(spec);
  EXPECT_THAT(status.ToString(), HasSubstr("squar (i64)->i64"));
  EXPECT_THAT(status.ToString(), HasSubstr("noop ()->(), square (i64)->i64"));
  spec.function = "square";
  const JobId job = Submit(spec);
  Turn();
  EXPECT_EQ(TakeAssignment().job, job);
  Send(SessionClosed{session});
  Submit(spec);  // it has its lease to come back
  Turn();
  ExpectNoMore();
  Pass(15'200);
  const absl::Status refused = SubmitRefused(spec);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("there is: none"));
}

TEST_F(CoreTest, CancelEndsWhatIsReadyAtOnceAndWhatRunsWhenItsWorkerSaysSo) {
  Connect("w", 2000);
  const JobId job = Submit(Tasks(10));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Cancel(job, "somebody");
  const auto cancel = Take<SendCancel>();
  EXPECT_EQ(cancel.id, sent.id);
  EXPECT_EQ(cancel.by, "somebody");
  EXPECT_EQ(rested_on_, 3u) << "JobCancelRequested is on the disk before a task is killed for it";
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.cancelled = 8}));
  EXPECT_FALSE(JobOf(job).is_ended());
  Cancel(job);  // again: nothing new happens
  ExpectNoMore();
  Finish(sent, {0, 1});
  Finish(sent, {1, 1}, 1, TaskStatus::kCancelled);
  EXPECT_EQ(JobOf(job).state(), JobState::kCancelled);
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 1, .cancelled = 9}));
  Turn();
  ExpectNoMore();
}

TEST_F(CoreTest, CancelledTasksThatComeBackAreNotStartedAgain) {
  JobSpec spec = Tasks(3);
  spec.max_attempts = 5;
  const SessionId session = Connect("w", 3000);
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Cancel(job);
  Forget();
  Finish(sent, {0, 1}, 1, TaskStatus::kFailed);
  Finish(sent, {1, 1}, 1, TaskStatus::kCrashed, true);
  Send(WorkerSaidGoodbye{session});
  EXPECT_EQ(JobOf(job).state(), JobState::kFailed);
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.failed = 1, .cancelled = 2}));
  Connect("w2");
  Turn();
  EXPECT_FALSE(Has<SendAssignment>());
}

TEST_F(CoreTest, CancelAndForgetOfWhatIsNotThere) {
  Send(JobCancelAsked{NextRequest(), JobId(7), "me", {}});
  EXPECT_EQ(Take<AnswerError>().status.code(), absl::StatusCode::kNotFound);
  Send(JobForgetAsked{NextRequest(), JobId(7)});
  EXPECT_EQ(Take<AnswerError>().status.code(), absl::StatusCode::kNotFound);
  const JobId job = Submit(Tasks(1));
  Send(JobForgetAsked{NextRequest(), job});
  EXPECT_EQ(Take<AnswerError>().status.code(), absl::StatusCode::kFailedPrecondition);
  Cancel(job);
  Send(JobForgetAsked{NextRequest(), job});
  EXPECT_EQ(Take<AnswerJob>().job, job);
  EXPECT_EQ(state().FindJob(job), nullptr);
  EXPECT_EQ(state().NewestJob(), nullptr);
  ExpectNoMore();
}

TEST_F(CoreTest, FailureIsFinalUnlessRetriesWereAsked) {
  Connect("w");
  const JobId job = Submit(Tasks(1));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 1, TaskStatus::kFailed);
  EXPECT_EQ(JobOf(job).state(), JobState::kFailed);
  EXPECT_THAT(Recorded<AttemptsCharged>(), IsEmpty());
}

TEST_F(CoreTest, FailureIsRetriedAsOftenAsAskedAndCharged) {
  Connect("w");
  JobSpec spec = Tasks(1);
  spec.max_attempts = 3;
  const JobId job = Submit(spec);
  for (std::uint32_t attempt = 0; attempt < 3; ++attempt) {
    Turn();
    const SendAssignment sent = TakeAssignment();
    if (attempt == 0) {
      EXPECT_THAT(sent.charged, IsEmpty());
    } else {
      ASSERT_EQ(sent.charged.size(), 1u);
      EXPECT_EQ(sent.charged[0].task, 0u);
      EXPECT_EQ(sent.charged[0].attempts, attempt);
      EXPECT_EQ(rested_on_, core_->last_sequence())
          << "the charge is durable before the next start";
    }
    EXPECT_FALSE(JobOf(job).is_ended());
    Finish(sent, {0, 1}, 1, TaskStatus::kFailed);
  }
  EXPECT_EQ(JobOf(job).state(), JobState::kFailed);
  EXPECT_EQ(Recorded<AttemptsCharged>().size(), 2u);
  Turn();
  ExpectNoMore();
}

TEST_F(CoreTest, CrashChargesItsCulpritAndRunsSuspectsAloneUncharged) {
  // Functions: commands have no executor, so a suspect of theirs runs alone on a worker.
  WorkerProfile profile = Profile("w", 3000);
  profile.functions = {{"f", "()", "lib.so"}};
  Connect(profile);
  JobSpec spec = Tasks(3);
  spec.kind = WorkKind::kFunction;
  spec.function = "f";
  spec.signature = "()";
  const JobId job = Submit(spec);
  Turn();
  const SendAssignment sent = TakeAssignment();
  Finish(sent, {0, 1}, 1, TaskStatus::kCrashed, /*culprit=*/true);
  Finish(sent, {1, 1}, 1, TaskStatus::kCrashed);
  EXPECT_EQ(JobOf(job).ChargeOf(0).crashes, 1u);
  EXPECT_EQ(JobOf(job).ChargeOf(1).crashes, 0u);
  EXPECT_EQ(JobOf(job).ready_alone.size(), 2u);
  Turn();
  const SendAssignment first = TakeAssignment();
  const SendAssignment second = TakeAssignment();
  EXPECT_TRUE(first.alone && second.alone);
  EXPECT_EQ(first.tasks, (TaskRange{0, 1}));
  EXPECT_EQ(second.tasks, (TaskRange{1, 1}));
  ExpectNoMore();
  Finish(second, {1, 1});  // it was innocent
  Finish(sent, {2, 1});
  EXPECT_FALSE(JobOf(job).is_ended());
  Finish(first, {0, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(CoreTest, ThreeCrashesFailATaskWhateverItsRetries) {
  Connect("w");
  JobSpec spec = Tasks(1);
  spec.max_attempts = 100;
  const JobId job = Submit(spec);
  Turn();
  Finish(TakeAssignment(), {0, 1}, 1,
         TaskStatus::kCrashed);  // a suspect: uncharged, alone from now on
  for (int crash = 0; crash < 3; ++crash) {
    EXPECT_FALSE(JobOf(job).is_ended());
    Turn();
    const SendAssignment sent = TakeAssignment();
    EXPECT_TRUE(sent.alone);
    Finish(sent, {0, 1}, 1, TaskStatus::kCrashed);  // alone: it was this one, said or not
  }
  EXPECT_EQ(JobOf(job).state(), JobState::kFailed);
}

TEST_F(CoreTest, CrashOfSeveralTasksInOneOutcomeIsTakenTaskByTask) {
  Connect("w", 2000);
  const JobId job = Submit(Tasks(2));
  Turn();
  Finish(TakeAssignment(), {0, 2}, 1, TaskStatus::kCrashed);
  EXPECT_EQ(JobOf(job).ready_alone.size(), 2u);
}

TEST_F(CoreTest, OutcomeOfASupersededAssignmentChangesNothing) {
  const SessionId old = Connect("old");
  const JobId job = Submit(Tasks(1));
  Turn();
  const SendAssignment lost = TakeAssignment();
  Send(WorkerDeathReported{"old-1", "killed by signal 9"});
  EXPECT_EQ(Take<CloseSession>().session, old);
  const SessionId session = Connect("new");
  Turn();
  const SendAssignment sent = TakeAssignment();
  // On its old session, on another's session, with its own id and with the job of another.
  FinishOn(old, lost, {0, 1}, 1, TaskStatus::kFailed);
  FinishOn(session, lost, {0, 1}, 1, TaskStatus::kFailed);
  SendAssignment wrong_job = sent;
  wrong_job.job = JobId(99);
  Finish(wrong_job, {0, 1}, 1, TaskStatus::kFailed);
  EXPECT_THAT(Recorded<OutcomeRecorded>(), IsEmpty());
  EXPECT_FALSE(JobOf(job).is_ended());
  Finish(sent, {0, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  Finish(sent, {0, 1}, 1, TaskStatus::kFailed);  // twice: acknowledged, and nothing else
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  ExpectNoMore();
}

TEST_F(CoreTest, OutcomesThatOverlapInOneBatchCountOnce) {
  const SessionId session = Connect("w", 4000);
  const JobId job = Submit(Tasks(4));
  Turn();
  const SendAssignment sent = TakeAssignment();
  Send(TasksFinished{session,
                     1,
                     sent.id,
                     job,
                     {{.tasks = {0, 2}},
                      {.tasks = {1, 2}, .status = TaskStatus::kFailed},
                      {.tasks = {0, 0}},
                      {.tasks = {2, 100}},
                      {.tasks = {2, 2}}}});
  EXPECT_EQ(JobOf(job).facts.counts, (TaskCounts{.succeeded = 4}));
  EXPECT_EQ(Recorded<OutcomeRecorded>().size(), 2u);
  EXPECT_EQ(Recorded<OutcomeRecorded>()[1].payload, 4u) << "its place in the batch";
}

TEST_F(CoreTest, VolatileJobsTouchNoDiskAndWaitForNone) {
  Connect("w");
  const RecordSequence joined = rested_on_;
  const std::size_t on_disk = disk_.size();
  JobSpec spec = Tasks(1);
  spec.is_volatile = true;
  const JobId job = Submit(spec);
  EXPECT_EQ(rested_on_, 0u);
  Turn();
  const SendAssignment sent = TakeAssignment();
  EXPECT_EQ(rested_on_, joined) << "only its worker's welcome comes first";
  Finish(sent, {0, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  EXPECT_EQ(disk_.size(), on_disk);
}

TEST_F(CoreTest, HowMuchIsDoneIsKnownWhileATaskRuns) {
  const SessionId session = Connect("w1", 1000);
  const SessionId other = Connect("w2", 500);
  Submit(Tasks(2));
  Turn();
  const SendAssignment sent = TakeAssignment();
  const auto report = [&](SessionId by, TaskIndex task, std::uint32_t permille) {
    Send(ProgressReported{by, sent.id, task, permille});
  };
  report(session, 0, 300);
  report(session, 7, 300);
  report(other, 0, 900);
  report(SessionId(99), 0, 900);
  const auto& progress = state().FindAssignment(sent.id)->progress;
  ASSERT_EQ(progress.size(), 1u);
  EXPECT_EQ(progress.at(0), 300u);
  report(session, 0, 4'000'000'000);
  EXPECT_EQ(progress.at(0), 1000u);
  Finish(sent, {0, 1});
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{1, 1}));
}

}  // namespace
}  // namespace haul::coordinator
