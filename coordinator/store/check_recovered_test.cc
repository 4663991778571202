#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/store/recovered_outcomes.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {
namespace {

using testing::HasSubstr;

constexpr JobId kJob{1};

Recovered OneJob(std::uint64_t task_count = 10) {
  Recovered recovered{.epoch = 2};
  recovered.jobs.push_back({.record = {.job = kJob, .spec = {.task_count = task_count}}});
  return recovered;
}

Recovered WithRecord(DurableRecord record) {
  Recovered recovered = OneJob();
  recovered.records.push_back(std::move(record));
  return recovered;
}

DurableRecord Ended(TaskRange tasks, TaskStatus status = TaskStatus::kSucceeded) {
  return OutcomeRecorded{.job = kJob, .tasks = tasks, .status = status};
}

void ExpectDamaged(const Recovered& recovered, const char* what) {
  const absl::Status status = CheckRecovered(recovered);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(what));
}

TEST(CheckRecoveredTest, TakesWhatASoundStoreGives) {
  Recovered recovered = OneJob();
  recovered.records = {AttemptsCharged{.job = kJob, .task = 9, .attempts = 1}, Ended({0, 5}),
                       Ended({5, 1}, TaskStatus::kLost), JobCancelRequested{.job = kJob},
                       WorkerJoined{.worker = WorkerId(1), .incarnation = "a"}};
  EXPECT_TRUE(CheckRecovered(recovered).ok()) << CheckRecovered(recovered);
  EXPECT_TRUE(CheckRecovered(Recovered{.epoch = 1}).ok());
}

TEST(CheckRecoveredTest, StartsAreThoseOfJobsWhoseStartsAreRecorded) {
  const DurableRecord starts = StartsRecorded{.job = kJob, .tasks = {8, 2}};
  ExpectDamaged(WithRecord(starts), "starts: a row of job 1");
  Recovered recovered = WithRecord(starts);
  recovered.jobs[0].record.spec.at_most_once = true;
  EXPECT_TRUE(CheckRecovered(recovered).ok()) << CheckRecovered(recovered);
  recovered.records = {StartsRecorded{.job = kJob, .tasks = {8, 3}}};
  ExpectDamaged(recovered, "starts: a row of tasks [8, 11) of job 1, which has 10");
}

TEST(CheckRecoveredTest, ExtensionsAreThoseOfJobsThatAreOpen) {
  const DurableRecord extended = JobExtended{.job = kJob, .count = 5, .closed = true};
  ExpectDamaged(WithRecord(extended), "extensions: a row of job 1, which is not open");
  Recovered recovered = WithRecord(extended);
  recovered.jobs[0].record.spec.is_open = true;
  recovered.records.push_back(Ended({10, 5}));
  EXPECT_TRUE(CheckRecovered(recovered).ok()) << CheckRecovered(recovered);
  recovered.records.push_back(extended);
  ExpectDamaged(recovered, "which is closed");
  recovered.records = {JobExtended{.job = kJob, .count = ~0ull}};
  ExpectDamaged(recovered, "extensions.count");
}

TEST(CheckRecoveredTest, RefusesEpochsThatNoAssignmentIdHasRoomFor) {
  ExpectDamaged(Recovered{.epoch = 0}, "meta.epoch: 0, must be 1 to 8388607");
  ExpectDamaged(Recovered{.epoch = 1 << 23}, "meta.epoch");
}

TEST(CheckRecoveredTest, RefusesJobsThatCannotBe) {
  ExpectDamaged(OneJob(0), "jobs.task_count: 0");
  ExpectDamaged(OneJob(~0ull), "jobs.task_count");
  Recovered child = OneJob(1);
  child.jobs[0].record.spec.depth = 1;
  ExpectDamaged(child, "jobs.depth: 1 of a job without a parent");
  child.jobs[0].record.spec.parent.assignment = AssignmentId(1, 1);
  EXPECT_TRUE(CheckRecovered(child).ok());
  child.jobs[0].record.spec.depth = 0;
  ExpectDamaged(child, "jobs.depth: 0 of a job with a parent");
  Recovered recovered = OneJob();
  recovered.jobs[0].record.spec.cpus_milli = 0;
  ExpectDamaged(recovered, "jobs.cpus_milli: 0");
  recovered = OneJob();
  recovered.jobs[0].record.spec.name = "\xff";
  ExpectDamaged(recovered, "jobs.name: not UTF-8");
  recovered = OneJob();
  recovered.jobs.push_back(recovered.jobs[0]);
  ExpectDamaged(recovered, "two jobs 1");
  recovered = OneJob();
  recovered.jobs[0].record.job = JobId(1ull << 32);
  ExpectDamaged(recovered, "jobs.id");
}

TEST(CheckRecoveredTest, RefusesOutcomesOfTasksThatAreNotThere) {
  ExpectDamaged(WithRecord(Ended({8, 3})),
                "outcomes: a row of tasks [8, 11) of job 1, which has 10");
  ExpectDamaged(WithRecord(Ended({3, 0})), "outcomes: a row of tasks [3, 3)");
  ExpectDamaged(WithRecord(Ended({1, ~0ull})), "outcomes: a row of tasks");
  ExpectDamaged(WithRecord(OutcomeRecorded{.job = JobId(2), .tasks = {0, 1}}), "job 2");
}

TEST(CheckRecoveredTest, RefusesASecondOutcome) {
  Recovered recovered = WithRecord(Ended({0, 3}));
  recovered.records.push_back(Ended({2, 1}, TaskStatus::kFailed));
  ExpectDamaged(recovered, "outcomes: task 2 of job 1 has two");
}

TEST(CheckRecoveredTest, RefusesAnOutcomeThatIsNotFinal) {
  ExpectDamaged(WithRecord(Ended({0, 1}, TaskStatus::kCrashed)), "outcomes.status: 5");
  ExpectDamaged(WithRecord(Ended({0, 1}, TaskStatus{0})), "outcomes.status: 0");
}

TEST(CheckRecoveredTest, RefusesRangesThatWrapAroundTogether) {
  Recovered recovered = OneJob();
  RecoveredOutcomes outcomes(recovered.records);
  outcomes.Add({.job = kJob, .tasks = {0, 5}});
  outcomes.Add({.job = kJob, .tasks = {5, ~0ull - 2}});  // or it would be tasks [0, 2)
  ExpectDamaged(recovered, "outcomes: a row of tasks [5,");
}

TEST(CheckRecoveredTest, RefusesWhatGoesOnAfterTheEnd) {
  Recovered recovered = WithRecord(JobEnded{.job = kJob, .counts = {.succeeded = 10}});
  EXPECT_TRUE(CheckRecovered(recovered).ok());
  recovered.records.push_back(Ended({0, 1}));
  ExpectDamaged(recovered, "has ended");
  ExpectDamaged(WithRecord(JobEnded{.job = kJob, .counts = {.succeeded = 9}}),
                "job 1 of 10 tasks ended, but not with as many");
  ExpectDamaged(WithRecord(JobEnded{.job = kJob, .counts = {.succeeded = 11, .lost = ~0ull}}),
                "job 1 of 10 tasks ended, but not with as many");
}

TEST(CheckRecoveredTest, RefusesAWorkerTwice) {
  Recovered recovered = WithRecord(WorkerJoined{.worker = WorkerId(1), .incarnation = "a"});
  recovered.records.push_back(WorkerJoined{.worker = WorkerId(2), .incarnation = "a"});
  ExpectDamaged(recovered, "worker 2 is there twice");
}

}  // namespace
}  // namespace haul::coordinator
