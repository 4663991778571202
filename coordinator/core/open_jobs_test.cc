// Jobs that grow while they run.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;

class OpenJobsTest : public CoreFixture {
 protected:
  static JobSpec Open(std::uint64_t count = 0) {
    JobSpec spec = Tasks(count);
    spec.is_open = true;
    return spec;
  }
  AnswerExtend Extend(JobId job, TaskIndex first, std::uint64_t count, bool close = false) {
    Send(JobExtendAsked{NextRequest(), job, first, count, 10 * count, close});
    return Take<AnswerExtend>();
  }
  absl::Status ExtendRefused(JobId job, TaskIndex first, std::uint64_t count) {
    const std::size_t records_before = records_.size();
    Send(JobExtendAsked{NextRequest(), job, first, count, 0, false});
    EXPECT_EQ(records_.size(), records_before);
    return Take<AnswerError>().status;
  }
};

TEST_F(OpenJobsTest, GrowsByWhatIsAddedAndEndsWhenItIsClosed) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Open());
  Turn();
  ExpectNoMore();
  EXPECT_EQ(JobOf(job).state(), JobState::kQueued);
  EXPECT_EQ(Reason(job), "it is open, and waits for more tasks");
  EXPECT_EQ(Extend(job, 0, 3).task_count, 3u);
  EXPECT_EQ(rested_on_, core_->last_sequence());
  Turn();
  const SendAssignment first = TakeAssignment();
  EXPECT_EQ(first.tasks, (TaskRange{0, 2}));
  EXPECT_EQ(rested_on_, core_->last_sequence()) << "of the tasks, or of their inputs there is none";
  Finish(first, {0, 2});
  Turn();
  Finish(TakeAssignment(), {2, 1});
  EXPECT_FALSE(JobOf(job).is_ended()) << "there may be more";
  Extend(job, 3, 1);
  Turn();
  const SendAssignment last = TakeAssignment();
  EXPECT_EQ(last.session, session);
  EXPECT_FALSE(Extend(job, 4, 0, true).open);
  Finish(last, {3, 1});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  EXPECT_EQ(JobOf(job).facts.counts.total(), 4u);
  EXPECT_EQ(JobOf(job).facts.spec.input_bytes, 40u);
}

TEST_F(OpenJobsTest, ClosedWithoutTasksItHasSucceeded) {
  const JobId job = Submit(Open());
  Extend(job, 0, 0, true);
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(OpenJobsTest, WhatIsSaidAgainChangesNothing) {
  const JobId job = Submit(Open());
  Extend(job, 0, 3);
  Extend(job, 3, 2, true);
  const std::size_t records = records_.size();
  EXPECT_EQ(Extend(job, 0, 3).task_count, 5u);
  EXPECT_EQ(Extend(job, 3, 2, true).task_count, 5u);
  EXPECT_FALSE(Extend(job, 5, 0).open);
  EXPECT_EQ(records_.size(), records);
}

TEST_F(OpenJobsTest, GapsAndOverlapsAndClosedJobsAreRefused) {
  const JobId job = Submit(Open());
  Extend(job, 0, 3);
  EXPECT_THAT(std::string(ExtendRefused(job, 4, 1).message()), HasSubstr("first: 4, must be 3"));
  EXPECT_EQ(ExtendRefused(job, 2, 2).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ExtendRefused(job, 3, ~0ull).code(), absl::StatusCode::kInvalidArgument);
  Extend(job, 3, 0, true);
  EXPECT_EQ(ExtendRefused(job, 3, 1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ExtendRefused(JobId(99), 0, 1).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ExtendRefused(Submit(Tasks(1)), 1, 1).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(OpenJobsTest, CancelledItEndsWithoutBeingClosed) {
  const JobId job = Submit(Open(2));
  Cancel(job);
  EXPECT_EQ(JobOf(job).state(), JobState::kCancelled);
  EXPECT_EQ(ExtendRefused(job, 2, 1).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(OpenJobsTest, SurvivesARestartWithAllThatWasAdded) {
  const JobId job = Submit(Open(1));
  Extend(job, 1, 4);
  Start();
  EXPECT_EQ(JobOf(job).facts.spec.task_count, 5u);
  EXPECT_EQ(JobOf(job).ready.size(), 5u);
  Extend(job, 5, 1, true);
  Start();
  Connect("w", 6000);
  Turn();
  Finish(TakeAssignment(), {0, 6});
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  Start();
  EXPECT_EQ(JobOf(job).facts.spec.task_count, 6u);
}

TEST_F(OpenJobsTest, IsClosedWhenNobodyIsHeardOfAnyMore) {
  const JobId job = Submit(Open());
  Extend(job, 0, 1);
  Pass(45'000);
  EXPECT_TRUE(Extend(job, 1, 0).open) << "as it says that it is there";
  Pass(45'000);
  EXPECT_TRUE(JobOf(job).facts.open);
  Advance(600'000);  // the coordinator stood still
  Turn();
  Pass(59'000);
  EXPECT_TRUE(JobOf(job).facts.open);
  Pass(2'000);
  EXPECT_FALSE(JobOf(job).facts.open);
  EXPECT_FALSE(JobOf(job).is_ended()) << "what it has is done all the same";
}

TEST_F(OpenJobsTest, MayHearNothingForAsLongAsALease) {
  options_.lease_ms = 300'000;
  Start();
  const JobId job = Submit(Open());
  Pass(299'000);
  EXPECT_TRUE(JobOf(job).facts.open);
  Pass(2'000);
  EXPECT_FALSE(JobOf(job).facts.open);
}

}  // namespace
}  // namespace haul::coordinator
