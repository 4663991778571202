// What store.h promises of starting, and of inputs; of every store.
#include <random>

#include "coordinator/store/store_contract_fixture.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// ---- starting ----

TEST_P(StoreContractTest, ANewStoreHoldsNothingAndEveryStartRaisesTheEpoch) {
  std::uint64_t epoch = 1;
  for (int start = 0; start < 3; ++start) {
    EXPECT_TRUE(subject_->store().Commit({}).ok());
    const Recovered recovered = Restart();
    EXPECT_GT(recovered.epoch, epoch);
    epoch = recovered.epoch;
    EXPECT_TRUE(recovered.last_job.is_none());
    EXPECT_TRUE(recovered.last_worker.is_none());
    EXPECT_TRUE(recovered.last_input_set.is_none());
    EXPECT_THAT(recovered.jobs, IsEmpty());
    EXPECT_THAT(recovered.records, IsEmpty());
  }
}

TEST_P(StoreContractTest, AJobComesBackWithEverythingItWasAcceptedWith) {
  const JobSpec spec{.name = "näme of 'it'",
                     .owner = "me",
                     .request_id = "r-1",
                     .description = "ls -l {}",
                     .kind = WorkKind::kCommand,
                     .function = "f.v1",
                     .signature = "u64(u64)",
                     .task_count = 100'000'000,
                     .priority = -7,
                     .cpus_milli = 20,
                     .max_running = 3,
                     .max_attempts = 4,
                     .is_volatile = false,
                     .input_bytes = 12,
                     .input_set = InputSetId(9)};
  const std::string job_template("\0\xff binary", 9);
  PackedBytes inputs;  // as many empty ones
  ASSERT_TRUE(PackedBytes::FromParts(spec.task_count, 0, {}, "", &inputs));
  Commit(AppendInputs{InputSetId(9), 0, inputs},
         AddJob{{JobId(5), spec, 1'700'000'000'123'456}, job_template});
  Commit(Job(6));
  EXPECT_EQ(*reader_->ReadTemplate(JobId(5)), job_template);

  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 2u);
  EXPECT_EQ(recovered.jobs[0].record.job, JobId(5));
  EXPECT_EQ(recovered.jobs[0].record.spec, spec);
  EXPECT_EQ(recovered.jobs[0].record.unix_us, 1'700'000'000'123'456);
  EXPECT_EQ(recovered.jobs[0].job_template, job_template);
  EXPECT_EQ(recovered.jobs[1].record.job, JobId(6));
  EXPECT_EQ(recovered.last_job, JobId(6));
  EXPECT_EQ(recovered.last_input_set, InputSetId(9));
  EXPECT_EQ(reader_->ReadTemplate(JobId(7)).status().code(), absl::StatusCode::kNotFound);
}

TEST_P(StoreContractTest, WhereTheLargeInputsOfAJobStandComesBack) {
  PackedBytes small, large, later;
  for (int i = 0; i < 1000; ++i) small.Append("s");
  for (int i = 0; i < 20; ++i) large.Append(std::string(100'000, 'l'));
  later.Append("of an extension");
  AddJob job = Job(1);
  JobSpec& spec = job.record.spec;
  spec.is_open = true;
  spec.task_count = small.count() + large.count();
  spec.input_set = InputSetId(1);
  job.record.input_sizes.Append(small.count(), small.byte_count());
  job.record.input_sizes.Append(large.count(), large.byte_count());
  Commit(AppendInputs{InputSetId(1), 0, small}, AppendInputs{InputSetId(1), small.count(), large},
         job);
  Commit(AppendInputs{InputSetId(1), spec.task_count, later},
         JobExtended{.job = JobId(1), .count = 1, .input_bytes = later.byte_count()});
  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 1u);
  const InputSizes& sizes = recovered.jobs[0].record.input_sizes;
  EXPECT_GE(sizes.TasksWithin(0, 1'000'000), 900u);
  EXPECT_LE(sizes.TasksWithin(0, 1'000'000), 1010u);
  EXPECT_EQ(sizes.TasksWithin(1010, 200'000), 2u);
  EXPECT_GT(sizes.TasksWithin(1010, 1'000'000), 1000u) << "all that are left";
}

TEST_P(StoreContractTest, ARequestHasOneJob) {
  AddJob first = Job(1);
  first.record.spec.request_id = "r";
  AddJob of_somebody_else = Job(2);
  of_somebody_else.record.spec.request_id = "r";
  of_somebody_else.record.spec.owner = "you";
  Commit(first, of_somebody_else, Job(3), Job(4));
  AddJob again = first;
  again.record.job = JobId(5);
  Commit(JobForgotten{JobId(1)}, again);  // it is free with its job
  again.record.job = JobId(6);
  EXPECT_EQ(TryCommit(again).code(), absl::StatusCode::kInternal);
}

TEST_P(StoreContractTest, WorkersThatDidNotLeaveComeBack) {
  Commit(WorkerJoined{WorkerId(3), "a", "i-1", "host-1", 7, AssignmentId(2, 5)},
         WorkerJoined{WorkerId(4), "b", "i-2", "host-2", 8});
  Commit(WorkerLeft{WorkerId(4), "drained", 9});
  const Recovered recovered = Restart();
  const auto joined = Only<WorkerJoined>(recovered.records);
  ASSERT_EQ(joined.size(), 1u);
  EXPECT_EQ(joined[0].worker, WorkerId(3));
  EXPECT_EQ(joined[0].name, "a");
  EXPECT_EQ(joined[0].incarnation, "i-1");
  EXPECT_EQ(joined[0].host, "host-1");
  EXPECT_EQ(joined[0].unix_us, 7);
  EXPECT_EQ(joined[0].joined_after, AssignmentId(2, 5));
  EXPECT_EQ(recovered.last_worker, WorkerId(4));
  ASSERT_EQ(recovered.workers_once_known.size(), 2u);
  EXPECT_EQ(recovered.workers_once_known[0].host, "host-1");
  EXPECT_EQ(recovered.workers_once_known[1].host, "host-2");
  EXPECT_EQ(TryCommit(WorkerLeft{WorkerId(9), "", 1}).code(), absl::StatusCode::kInternal);
}

TEST_P(StoreContractTest, AnUnfinishedJobComesBackAsRangesAndCharges) {
  Commit(Job(1), AttemptsCharged{JobId(1), 30, 1, 0, false});
  Commit(Ended(1, 10, 10), Ended(1, 0, 10),
         AttemptsCharged{JobId(1), 30, 1, 1, true, AssignmentId(3, 7)});
  Commit(Ended(1, 20, 5, TaskStatus::kFailed), Ended(1, 40, 2),
         JobCancelRequested{JobId(1), "me", 77});

  const Recovered recovered = Restart();
  const auto outcomes = Only<OutcomeRecorded>(recovered.records);
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{0, 20}));
  EXPECT_EQ(outcomes[0].status, TaskStatus::kSucceeded);
  EXPECT_EQ(outcomes[0].payload, OutcomeRecorded::kNoPayload);
  EXPECT_EQ(outcomes[1].tasks, (TaskRange{20, 5}));
  EXPECT_EQ(outcomes[1].status, TaskStatus::kFailed);
  EXPECT_EQ(outcomes[1].cause, Cause::kExitCode);
  EXPECT_EQ(outcomes[2].tasks, (TaskRange{40, 2}));

  const auto charges = Only<AttemptsCharged>(recovered.records);
  ASSERT_EQ(charges.size(), 2u);
  EXPECT_FALSE(charges[0].run_alone);
  EXPECT_EQ(charges[1].task, 30u);
  EXPECT_EQ(charges[1].attempts, 1u);
  EXPECT_EQ(charges[1].crashes, 1u);
  EXPECT_TRUE(charges[1].run_alone);
  EXPECT_EQ(charges[0].assignment, AssignmentId());
  EXPECT_EQ(charges[1].assignment, AssignmentId(3, 7)) << "what it still says is said twice";
  EXPECT_TRUE(std::holds_alternative<AttemptsCharged>(recovered.records[0])) << "before outcomes";

  const auto cancels = Only<JobCancelRequested>(recovered.records);
  ASSERT_EQ(cancels.size(), 1u);
  EXPECT_EQ(cancels[0].by, "me");
  EXPECT_EQ(cancels[0].unix_us, 77);
}

TEST_P(StoreContractTest, StartsComeBackInTheirOrderAndBeforeOutcomes) {
  AddJob job = Job(1);
  job.record.spec.at_most_once = true;
  Commit(job, Job(2), StartsRecorded{JobId(1), {0, 4}, AssignmentId(1, 1)});
  Commit(StartsRecorded{JobId(1), {2, 2}, AssignmentId(1, 1), true}, Ended(1, 0, 2),
         StartsRecorded{JobId(1), {2, 1}, AssignmentId(1, 9)});
  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 2u);
  EXPECT_TRUE(recovered.jobs[0].record.spec.at_most_once);
  EXPECT_FALSE(recovered.jobs[1].record.spec.at_most_once);
  const auto starts = Only<StartsRecorded>(recovered.records);
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].tasks, (TaskRange{0, 4}));
  EXPECT_EQ(starts[0].assignment, AssignmentId(1, 1));
  EXPECT_FALSE(starts[0].withdrawn);
  EXPECT_EQ(starts[1].tasks, (TaskRange{2, 2}));
  EXPECT_TRUE(starts[1].withdrawn);
  EXPECT_EQ(starts[2].assignment, AssignmentId(1, 9));
  EXPECT_TRUE(std::holds_alternative<StartsRecorded>(recovered.records[0])) << "before outcomes";
  EXPECT_EQ(TryCommit(StartsRecorded{JobId(9), {0, 1}, {}}).code(), absl::StatusCode::kInternal);
}

TEST_P(StoreContractTest, AJobOfATaskComesBackWithItsParent) {
  AddJob job = Job(2);
  job.record.spec.parent = {AssignmentId(3, 7), JobId(1), 5};
  job.record.spec.depth = 2;
  Commit(Job(1), job);
  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 2u);
  EXPECT_EQ(recovered.jobs[0].record.spec.parent, ParentTask());
  EXPECT_EQ(recovered.jobs[1].record.spec.parent, job.record.spec.parent);
  EXPECT_EQ(recovered.jobs[1].record.spec.depth, 2u);
}

TEST_P(StoreContractTest, AnOpenJobComesBackWithWhatItWasExtendedBy) {
  AddJob job = Job(1, 1, 3);
  job.record.spec.is_open = true;
  job.record.spec.task_count = 0;
  Commit(job, AppendInputs{InputSetId(3), 0, Pack({"a", "b"})}, JobExtended{JobId(1), 2, 2});
  Commit(AppendInputs{InputSetId(3), 2, Pack({"c"})}, JobExtended{JobId(1), 1, 1, true},
         Ended(1, 2, 1));
  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 1u);
  EXPECT_TRUE(recovered.jobs[0].record.spec.is_open);
  EXPECT_EQ(recovered.jobs[0].record.spec.task_count, 0u) << "as it was accepted";
  const auto extensions = Only<JobExtended>(recovered.records);
  ASSERT_EQ(extensions.size(), 2u);
  EXPECT_EQ(extensions[0].count, 2u);
  EXPECT_EQ(extensions[0].input_bytes, 2u);
  EXPECT_FALSE(extensions[0].closed);
  EXPECT_TRUE(extensions[1].closed);
  EXPECT_TRUE(std::holds_alternative<JobExtended>(recovered.records[0])) << "before outcomes";
  EXPECT_TRUE(CheckRecovered(recovered).ok()) << CheckRecovered(recovered);
  EXPECT_EQ(*reader_->ReadInputs(InputSetId(3), {0, 3}), Pack({"a", "b", "c"}));
  Commit(JobEnded{JobId(1), JobState::kSucceeded, {.succeeded = 3}, 9});
  EXPECT_TRUE(CheckRecovered(Restart()).ok());
  Commit(JobForgotten{JobId(1)});
  EXPECT_EQ(TryCommit(JobExtended{JobId(1), 1, 0}).code(), absl::StatusCode::kInternal);
}

TEST_P(StoreContractTest, AnEndedJobComesBackAsItsCountsAlone) {
  const TaskCounts counts{.succeeded = 10, .failed = 2, .cancelled = 3, .lost = 1};
  Commit(Job(1, 16), Ended(1, 0, 10), AttemptsCharged{JobId(1), 11, 1, 0, false});
  Commit(Ended(1, 10, 2, TaskStatus::kFailed), JobEnded{JobId(1), JobState::kFailed, counts, 99});

  const Recovered recovered = Restart();
  ASSERT_EQ(recovered.jobs.size(), 1u);
  EXPECT_EQ(recovered.jobs[0].job_template, "");
  ASSERT_EQ(recovered.records.size(), 1u);
  const auto& ended = std::get<JobEnded>(recovered.records[0]);
  EXPECT_EQ(ended.job, JobId(1));
  EXPECT_EQ(ended.state, JobState::kFailed);
  EXPECT_EQ(ended.counts, counts);
  EXPECT_EQ(ended.unix_us, 99);
  EXPECT_EQ(*reader_->ReadTemplate(JobId(1)), "template of 1") << "still there for showing it";
  EXPECT_THAT(RangesOf(Read({.job = JobId(1)})), ElementsAre(TaskRange{0, 10}, TaskRange{10, 2}));
}

TEST_P(StoreContractTest, AForgottenJobIsGoneButItsIdStaysTaken) {
  Commit(AppendInputs{InputSetId(1), 0, Pack({"a", "b"})}, Job(1, 2, 1), Job(2));
  Commit(Ended(1, 0, 2), Ended(2, 0, 2), AttemptsCharged{JobId(1), 0, 1, 0, false},
         JobEnded{JobId(1), JobState::kSucceeded, {.succeeded = 2}, 1});
  Commit(Job(7));
  Commit(JobForgotten{JobId(1)}, JobForgotten{JobId(7)});
  for (int start = 0; start < 2; ++start) {
    EXPECT_THAT(Read({.job = JobId(1)}).entries, IsEmpty());
    EXPECT_EQ(Read({.job = JobId(2)}).entries.size(), 1u);
    EXPECT_EQ(InputsError(1, {0, 1}), absl::StatusCode::kNotFound);
    EXPECT_EQ(reader_->ReadTemplate(JobId(1)).status().code(), absl::StatusCode::kNotFound);
    const Recovered recovered = Restart();
    ASSERT_EQ(recovered.jobs.size(), 1u);
    EXPECT_EQ(recovered.jobs[0].record.job, JobId(2));
    EXPECT_THAT(Only<AttemptsCharged>(recovered.records), IsEmpty());
    EXPECT_EQ(recovered.last_job, JobId(7));
    EXPECT_EQ(recovered.last_input_set, InputSetId(1));
  }
  EXPECT_EQ(TryCommit(JobForgotten{JobId(1)}).code(), absl::StatusCode::kInternal);
}

// ---- inputs ----

TEST_P(StoreContractTest, InputsAreReadByAnyRange) {
  // Chunks of one size, of many, of nothing, and one long enough to be split.
  std::vector<std::string> expected;
  std::mt19937_64 random(1);
  TaskIndex first = 0;
  const auto append = [&](std::vector<std::string> values) {
    Commit(AppendInputs{InputSetId(3), first, Pack(values)});
    first += values.size();
    expected.insert(expected.end(), values.begin(), values.end());
  };
  append(std::vector<std::string>(12'000, "12345678"));
  append({"", "a", std::string(100'000, 'x'), "bb", ""});
  append(std::vector<std::string>(7, ""));
  std::vector<std::string> uneven;
  for (int i = 0; i < 16'000; ++i)
    uneven.emplace_back(random() % 12, static_cast<char>('a' + i % 26));
  append(uneven);
  Commit(Job(1, first, 3));

  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(Inputs(3, {0, first}), Pack(expected));
    EXPECT_EQ(Inputs(3, {5, 0}).count(), 0u);
    for (int round = 0; round < 60; ++round) {
      const TaskIndex from = random() % first;
      const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(first - from, 8'000);
      const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(from);
      ASSERT_EQ(Inputs(3, {from, count}), Pack({begin, begin + static_cast<std::ptrdiff_t>(count)}))
          << from << " " << count;
    }
    EXPECT_EQ(InputsError(3, {first, 1}), absl::StatusCode::kNotFound);
    EXPECT_EQ(InputsError(3, {first - 1, 2}), absl::StatusCode::kNotFound);
    EXPECT_EQ(InputsError(4, {0, 1}), absl::StatusCode::kNotFound);
    Restart();
  }
}

TEST_P(StoreContractTest, InputsOfAnUnfinishedSubmitAreDroppedAtTheNextStart) {
  Commit(AppendInputs{InputSetId(1), 0, Pack({"a"})}, AppendInputs{InputSetId(2), 0, Pack({"b"})});
  Commit(AppendInputs{InputSetId(4), 0, Pack({"c"})}, AppendInputs{InputSetId(5), 0, Pack({"d"})});
  Commit(DropInputs{InputSetId(1)}, DropInputs{InputSetId(77)}, Job(1, 1, 4));
  EXPECT_EQ(InputsError(1, {0, 1}), absl::StatusCode::kNotFound);
  EXPECT_EQ(Inputs(2, {0, 1}), Pack({"b"}));
  const Recovered recovered = Restart();
  EXPECT_EQ(recovered.last_input_set, InputSetId(5));
  EXPECT_EQ(InputsError(2, {0, 1}), absl::StatusCode::kNotFound);
  EXPECT_EQ(InputsError(5, {0, 1}), absl::StatusCode::kNotFound);
  EXPECT_EQ(Inputs(4, {0, 1}), Pack({"c"}));
}

TEST_P(StoreContractTest, AGapBetweenInputsIsRefused) {
  Commit(AppendInputs{InputSetId(1), 0, Pack({"a", "b"})});
  EXPECT_EQ(TryCommit(AppendInputs{InputSetId(1), 3, Pack({"c"})}).code(),
            absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreContractTest, ::testing::ValuesIn(AllStores()),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace haul::coordinator
