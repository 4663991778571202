// Jobs whose tasks start at most once: the start is recorded before it is sent, and what may have
// started is never started again.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AtMostOnceTest : public CoreFixture {
 protected:
  static JobSpec Once(std::uint64_t count) {
    JobSpec spec = Tasks(count);
    spec.at_most_once = true;
    return spec;
  }
  // A job of so many tasks, as many of which as it has cpus are with a worker of this name.
  void Run(const std::string& name, std::uint64_t tasks, std::uint64_t cpus) {
    session_ = Connect(name, cpus * 1000);
    job_ = Submit(Once(tasks));
    Turn();
    sent_ = TakeAssignment();
  }
  const TaskCounts& counts() const { return JobOf(job_).facts.counts; }

  SessionId session_;
  JobId job_;
  SendAssignment sent_;
};

TEST_F(AtMostOnceTest, StartIsOnTheDiskBeforeItIsSent) {
  Run("w", 5, 2);
  EXPECT_EQ(sent_.tasks, (TaskRange{0, 2}));
  EXPECT_EQ(rested_on_, core_->last_sequence());
  const auto starts = Recorded<StartsRecorded>();
  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0].tasks, sent_.tasks);
  EXPECT_EQ(starts[0].assignment, sent_.id);
  EXPECT_FALSE(starts[0].withdrawn);
}

TEST_F(AtMostOnceTest, NothingIsSentAsBacklog) {
  Run("w", 100, 2);
  for (TaskIndex task = 0; task + 2 < 50; ++task) {
    Finish(sent_, {task, 1});
    EXPECT_EQ(WorkerOf(session_).assigned_tasks, 1u);
    Turn();
    EXPECT_EQ(WorkerOf(session_).assigned_tasks, 2u);
    const SendAssignment next = TakeAssignment();
    EXPECT_EQ(next.tasks, (TaskRange{task + 2, 1}));
    if (task % 2 == 1) continue;
    Finish(next, next.tasks);
    Turn();
    sent_ = TakeAssignment();
    break;
  }
}

TEST_F(AtMostOnceTest, WhatALostWorkerHadIsLost) {
  Run("w", 3, 2);
  Connect("other");
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{2, 1}));
  Send(WorkerDeathReported{"w-1", "killed by signal 9"});
  EXPECT_EQ(counts(), (TaskCounts{.lost = 2}));
  const auto outcomes = Recorded<OutcomeRecorded>();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{0, 2}));
  EXPECT_EQ(outcomes[0].status, TaskStatus::kLost);
  EXPECT_EQ(outcomes[0].cause, Cause::kWorkerLost);
  EXPECT_THAT(Recorded<AttemptsCharged>(), IsEmpty()) << "nobody is suspected of what ends anyway";
  Turn();
  EXPECT_FALSE(Has<SendAssignment>());
}

TEST_F(AtMostOnceTest, WhatWasNotStartedGoesElsewhere) {
  Run("w", 2, 2);
  HandBack(sent_, {1, 1}, HandBackReason::kLeaving);
  EXPECT_TRUE(Recorded<StartsRecorded>().back().withdrawn);
  EXPECT_EQ(Recorded<StartsRecorded>().back().tasks, (TaskRange{1, 1}));
  Connect("other");
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{1, 1}));
  EXPECT_EQ(rested_on_, core_->last_sequence());
}

TEST_F(AtMostOnceTest, WhatNeverArrivedGoesElsewhere) {
  Run("w", 2, 2);
  Send(SessionClosed{session_});
  Connect(Profile("w", 2000), {Held(sent_, {0, 1})});
  EXPECT_EQ(JobOf(job_).ready, IntervalSet({1, 1}));
  Send(SessionClosed{SessionId(2)});
  Connect(Profile("w", 2000));
  EXPECT_EQ(JobOf(job_).ready, IntervalSet({0, 2}));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{0, 2}));
}

TEST_F(AtMostOnceTest, CrashIsTheEndOfWhoeverRanThere) {
  Run("w", 3, 3);
  Finish(sent_, {0, 1}, 1, TaskStatus::kCrashed, /*culprit=*/true);
  Finish(sent_, {1, 1}, 1, TaskStatus::kCrashed);
  Finish(sent_, {2, 1}, 1, TaskStatus::kLost);
  EXPECT_EQ(counts(), (TaskCounts{.failed = 1, .lost = 2}));
  EXPECT_EQ(JobOf(job_).state(), JobState::kFailed);
}

TEST_F(AtMostOnceTest, RestartAdoptsWhatIsHeldAndTheRestIsLost) {
  Run("w", 4, 3);
  Connect("absent");
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{3, 1}));
  Start();
  session_ = Connect(Profile("w", 3000), {Held(sent_, {0, 2})});
  EXPECT_THAT(welcome_.dropped, IsEmpty());
  EXPECT_EQ(counts().total(), 0u) << "the other worker may come back yet";
  Pass(15'300, {session_});
  EXPECT_EQ(counts(), (TaskCounts{.lost = 2}));
  FinishOn(session_, sent_, {0, 2});
  EXPECT_EQ(counts(), (TaskCounts{.succeeded = 2, .lost = 2}));
  EXPECT_FALSE(Has<SendAssignment>());
}

TEST_F(AtMostOnceTest, RestartDoesNotLoseWhatWasNeverSent) {
  Run("w", 3, 1);
  HandBack(sent_, {0, 1}, HandBackReason::kLeaving);
  Start();
  Connect("w");
  EXPECT_EQ(counts().total(), 0u);
  Turn();
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{0, 1}));
}

TEST_F(AtMostOnceTest, WithdrawnStartIsNotAdopted) {
  Run("w", 1, 1);
  HandBack(sent_, {0, 1}, HandBackReason::kLeaving);
  Start();
  Connect(Profile("w"), {Held(sent_, {0, 1})});
  EXPECT_THAT(welcome_.dropped, ElementsAre(sent_.id));
}

TEST_F(AtMostOnceTest, CancelledOnesAreCancelledAndNotLost) {
  Run("w", 3, 2);
  Cancel(job_);
  Send(WorkerDeathReported{"w-1", "killed by signal 9"});
  EXPECT_EQ(counts(), (TaskCounts{.cancelled = 3}));
}

TEST_F(AtMostOnceTest, RetriesAreRefused) {
  JobSpec spec = Once(1);
  spec.max_attempts = 3;
  const absl::Status refused = SubmitRefused(spec);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("max_attempts: 3"));
}

}  // namespace
}  // namespace haul::coordinator
