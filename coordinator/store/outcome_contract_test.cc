// What store.h promises of outcomes; of every store.
#include <algorithm>
#include <random>

#include "coordinator/store/store_contract_fixture.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OutcomeContractTest : public StoreContractTest {};

TEST_P(OutcomeContractTest, AnOutcomeComesBackWhole) {
  Outcome full{.tasks = {3, 1},
               .status = TaskStatus::kFailed,
               .cause = Cause::kSignal,
               .code = -9,
               .message = std::string("why\0\xff", 5),
               .results = Pack({std::string("out\0\n", 5)}),
               .error_output = std::string("\0err", 4),
               .output_file = "1/2-3.out",
               .output_bytes = 1ull << 33,
               .error_file = "1/2-3.err",
               .error_bytes = 6,
               .started_unix_us = 1'700'000'000'000'001,
               .finished_unix_us = 1'700'000'000'000'002,
               .busy_ns = 123,
               .pid = 4'000'000'000,
               .user_cpu_us = 5,
               .system_cpu_us = 6,
               .peak_memory_bytes = 1ull << 40,
               .attempt = 3,
               .assignment = AssignmentId(1ull << 22, 5),
               .worker = WorkerId(8),
               .culprit = true};
  Outcome uneven = full;
  uneven.tasks = {10, 3};
  uneven.results = Pack({"a", "", "ccc"});
  Outcome uniform = full;
  uniform.tasks = {20, 2};
  uniform.results = Pack({"12345678", "abcdefgh"});
  const Outcome plain{.tasks = {30, 1000}};
  Commit(Job(1), AddOutcome{JobId(1), full}, AddOutcome{JobId(1), uneven},
         AddOutcome{JobId(1), uniform}, AddOutcome{JobId(1), plain});
  EXPECT_THAT(OutcomesOf(Read({.job = JobId(1)})), ElementsAre(full, uneven, uniform, plain));

  for (Outcome* outcome : {&full, &uneven, &uniform}) {
    outcome->results = {};
    outcome->error_output = "";
  }
  EXPECT_THAT(OutcomesOf(Read({.job = JobId(1), .with_payload = false})),
              ElementsAre(full, uneven, uniform, plain));
}

TEST_P(OutcomeContractTest, OrderOfCompletionGoesOnFromTheCursor) {
  Commit(Job(1), Job(2), Ended(1, 20, 5), Ended(2, 0, 3), Ended(1, 0, 5));
  OutcomePage page = Read({.job = JobId(1)});
  EXPECT_THAT(RangesOf(page), ElementsAre(TaskRange{20, 5}, TaskRange{0, 5}));
  EXPECT_TRUE(page.complete);
  EXPECT_LT(page.entries[0].sequence, page.entries[1].sequence);
  EXPECT_EQ(page.next_cursor, page.entries[1].sequence);

  const std::uint64_t cursor = page.next_cursor;
  page = Read({.job = JobId(1), .cursor = cursor});
  EXPECT_THAT(page.entries, IsEmpty());
  EXPECT_EQ(page.next_cursor, cursor);
  Commit(Ended(2, 3, 3), Ended(1, 10, 5));
  EXPECT_THAT(RangesOf(Read({.job = JobId(1), .cursor = cursor})), ElementsAre(TaskRange{10, 5}));
  Restart();
  EXPECT_THAT(RangesOf(Read({.job = JobId(1), .cursor = cursor})), ElementsAre(TaskRange{10, 5}));
  EXPECT_THAT(Read({.job = JobId(3)}).entries, IsEmpty());
}

TEST_P(OutcomeContractTest, ACommitTellsWhereItsOutcomesAre) {
  Commit(Job(1), Job(2), Ended(1, 0, 5), Ended(2, 0, 3), Ended(1, 5, 1));
  std::vector<std::uint64_t> told = subject_->store().outcome_sequences();
  ASSERT_EQ(told.size(), 3u);
  const auto where = [this](std::uint64_t job) {
    std::vector<std::uint64_t> sequences;
    const OutcomePage page = Read({.job = JobId(job)});
    for (const OutcomePage::Entry& entry : page.entries) sequences.push_back(entry.sequence);
    return sequences;
  };
  EXPECT_THAT(where(1), ElementsAre(told[0], told[2]));
  EXPECT_THAT(where(2), ElementsAre(told[1]));
  Commit(JobForgotten{JobId(2)}, Ended(1, 10, 1));
  told = subject_->store().outcome_sequences();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(where(1).back(), told[0]);
  Commit(Job(3));
  EXPECT_THAT(subject_->store().outcome_sequences(), IsEmpty());
}

TEST_P(OutcomeContractTest, IndexOrderStopsAtAGapAndGoesOnWhenItIsFilled) {
  Commit(Job(1), Ended(1, 20, 5), Ended(1, 0, 5), Ended(1, 5, 5));
  OutcomePage page = Read({.job = JobId(1), .in_order = true});
  EXPECT_THAT(RangesOf(page), ElementsAre(TaskRange{0, 5}, TaskRange{5, 5}));
  EXPECT_EQ(page.next_cursor, 10u);
  EXPECT_TRUE(page.complete);
  page = Read({.job = JobId(1), .in_order = true, .cursor = 10});
  EXPECT_THAT(page.entries, IsEmpty());
  EXPECT_EQ(page.next_cursor, 10u);
  AddOutcome with_results = Ended(1, 10, 10);
  with_results.outcome.results = Pack(std::vector<std::string>(10, "r"));
  Commit(with_results);
  page = Read({.job = JobId(1), .in_order = true, .cursor = 10});
  EXPECT_THAT(RangesOf(page), ElementsAre(TaskRange{10, 10}, TaskRange{20, 5}));
  EXPECT_EQ(page.next_cursor, 25u);
  // Within a run, the run comes whole.
  page = Read({.job = JobId(1), .in_order = true, .cursor = 12});
  EXPECT_THAT(RangesOf(page), ElementsAre(TaskRange{10, 10}, TaskRange{20, 5}));
}

// As a worker reports a large assignment: parts that a store may keep as one.
TEST_P(OutcomeContractTest, WhatIsReportedInPartsIsReadOnceInBothOrders) {
  const auto part = [](TaskIndex first, std::uint64_t count) {
    AddOutcome write = Ended(1, first, count);
    write.outcome.assignment = AssignmentId(1, 1);
    return write;
  };
  for (const TaskRange only : {OutcomeQuery().only, TaskRange{50, 30'000}, TaskRange{50, 20}}) {
    for (const bool in_order : {false, true}) {
      StartAfresh();
      OutcomeQuery query{
          .job = JobId(1), .in_order = in_order, .cursor = in_order ? only.first : 0, .only = only};
      Commit(Job(1), part(0, 100));
      const OutcomePage before = Read(query);
      EXPECT_THAT(RangesOf(before), ElementsAre(TaskRange{0, 100}));
      Commit(part(100, 200));
      query.cursor = before.next_cursor;
      if (only.count == 20) {
        EXPECT_THAT(Read(query).entries, IsEmpty());
      } else {
        EXPECT_THAT(RangesOf(Read(query)), ElementsAre(TaskRange{100, 200}));
      }
    }
  }
}

TEST_P(OutcomeContractTest, PagesKeepToTheirLimitAndBringAtLeastOne) {
  Commit(Job(1));
  for (TaskIndex task = 0; task < 20; ++task) {
    AddOutcome write = Ended(1, task, 1);
    write.outcome.results = Pack({std::string(1000, 'r')});
    Commit(write);
  }
  for (const bool in_order : {false, true}) {
    for (const std::size_t limit : {1u, 5'000u, 100'000u}) {
      OutcomeQuery query{.job = JobId(1), .in_order = in_order, .byte_limit = limit};
      TaskIndex next = 0;
      bool complete = false;
      while (!complete) {
        const OutcomePage page = Read(query);
        ASSERT_FALSE(page.entries.empty());
        std::size_t bytes = 0;
        for (const auto& entry : page.entries) {
          EXPECT_EQ(entry.outcome.tasks.first, next++);
          bytes += ByteCount(entry.outcome);
        }
        EXPECT_TRUE(bytes <= limit || page.entries.size() == 1);
        query.cursor = page.next_cursor;
        complete = page.complete;
      }
      EXPECT_EQ(next, 20u);
    }
  }
}

TEST_P(OutcomeContractTest, OutcomesOfSomeTasksAndOfFailures) {
  Commit(Job(1, 30'000), Ended(1, 10, 10), Ended(1, 0, 10), Ended(1, 20, 2, TaskStatus::kFailed));
  Commit(Ended(1, 22, 20'000), Ended(1, 20'022, 1, TaskStatus::kCancelled));
  const auto ranges = [this](OutcomeQuery query) {
    query.job = JobId(1);
    return RangesOf(Read(query));
  };
  for (const bool in_order : {false, true}) {
    EXPECT_THAT(ranges({.in_order = in_order, .only = {15, 1}}), ElementsAre(TaskRange{10, 10}));
    EXPECT_THAT(ranges({.in_order = in_order, .only = {19, 2}}),
                ElementsAre(TaskRange{10, 10}, TaskRange{20, 2}));
    EXPECT_THAT(ranges({.in_order = in_order, .only = {21, 20'000}}),
                ElementsAre(TaskRange{20, 2}, TaskRange{22, 20'000}));
    EXPECT_THAT(ranges({.in_order = in_order, .only = {25'000, ~0ull}}), IsEmpty());
    EXPECT_THAT(ranges({.in_order = in_order, .unsuccessful_only = true}),
                ElementsAre(TaskRange{20, 2}, TaskRange{20'022, 1}));
    EXPECT_THAT(ranges({.in_order = in_order, .only = {0, 22}, .unsuccessful_only = true}),
                ElementsAre(TaskRange{20, 2}));
  }
  // Completion order also among few tasks, and from its cursor.
  const OutcomePage page = Read({.job = JobId(1), .only = {5, 10}});
  EXPECT_THAT(RangesOf(page), ElementsAre(TaskRange{10, 10}, TaskRange{0, 10}));
  EXPECT_THAT(
      RangesOf(Read({.job = JobId(1), .cursor = page.entries[0].sequence, .only = {5, 10}})),
      ElementsAre(TaskRange{0, 10}));
  // Index order from a cursor behind the first of them.
  EXPECT_THAT(ranges({.in_order = true, .cursor = 20, .only = {15, 6}}),
              ElementsAre(TaskRange{20, 2}));
}

TEST_P(OutcomeContractTest, ATaskHasOneOutcome) {
  for (const TaskRange second : {TaskRange{10, 10}, TaskRange{0, 11}, TaskRange{19, 1},
                                 TaskRange{12, 2}, TaskRange{5, 100}, TaskRange{30, 5}}) {
    StartAfresh();
    Commit(Job(1), Job(2), Ended(2, 0, 1000), Ended(1, 10, 10), Ended(1, 30, 5));
    EXPECT_EQ(TryCommit(Ended(1, second.first, second.count)).code(), absl::StatusCode::kInternal)
        << second;
  }
}

TEST_P(OutcomeContractTest, WhatIsNoOutcomeIsRefused) {
  AddOutcome crash = Ended(1, 0, 1, TaskStatus::kCrashed);
  AddOutcome too_few = Ended(1, 0, 2);
  too_few.outcome.results = Pack({"one"});
  for (const AddOutcome& wrong : {crash, too_few, Ended(1, 0, 0), Ended(2, 0, 1)}) {
    StartAfresh();
    Commit(Job(1));
    EXPECT_EQ(TryCommit(wrong).code(), absl::StatusCode::kInternal);
  }
}

// Runs of random lengths in random order, read in both orders while they come, against a plain
// list.
TEST_P(OutcomeContractTest, RandomRunsAreReadOnceEachInBothOrders) {
  std::mt19937_64 random(7);
  std::vector<AddOutcome> runs;
  TaskIndex end = 0;
  for (int i = 0; i < 400; ++i) {
    const std::uint64_t count = 1 + random() % 20;
    AddOutcome run =
        Ended(1, end, count, random() % 5 == 0 ? TaskStatus::kFailed : TaskStatus::kSucceeded);
    if (random() % 2 == 0) {
      for (std::uint64_t k = 0; k < count; ++k) {
        run.outcome.results.Append(std::string(1 + random() % 9, 'r'));
      }
    }
    end += count;
    runs.push_back(std::move(run));
  }
  std::shuffle(runs.begin(), runs.end(), random);
  Commit(Job(1, end));

  std::vector<Outcome> completed;
  std::vector<Outcome> in_order;
  OutcomeQuery completion{.job = JobId(1), .byte_limit = 3000};
  OutcomeQuery index{.job = JobId(1), .in_order = true, .byte_limit = 3000};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Commit(runs[i]);
    if (random() % 8 != 0 && i + 1 < runs.size()) continue;
    for (auto& [query, seen] :
         {std::pair<OutcomeQuery&, std::vector<Outcome>&>{completion, completed},
          {index, in_order}}) {
      bool complete = false;
      while (!complete) {
        OutcomePage page = Read(query);
        for (auto& entry : page.entries) seen.push_back(std::move(entry.outcome));
        query.cursor = page.next_cursor;
        complete = page.complete;
      }
    }
  }
  std::vector<Outcome> expected;
  for (const AddOutcome& run : runs) expected.push_back(run.outcome);
  EXPECT_TRUE(completed == expected);
  std::sort(expected.begin(), expected.end(),
            [](const Outcome& a, const Outcome& b) { return a.tasks.first < b.tasks.first; });
  EXPECT_TRUE(in_order == expected);
}

INSTANTIATE_TEST_SUITE_P(Stores, OutcomeContractTest, ::testing::ValuesIn(AllStores()),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace haul::coordinator
