#include "worker/executor/batch.h"

#include "gtest/gtest.h"

namespace haul::executor {
namespace {

Outcome Success(TaskRange tasks, std::uint64_t busy_ns = 0) {
  Outcome outcome;
  outcome.tasks = tasks;
  outcome.busy_ns = busy_ns;
  return outcome;
}

TEST(BatchTest, SharesOfTimeAddUpToTheWhole) {
  Batch batch;
  const ReportStyle style{.has_results = false};
  for (TaskIndex task = 0; task < 7; ++task) batch.AddSuccess(task, "", style);
  batch.AddFailure(7, TaskStatus::kFailed, Cause::kFunctionError, "x", style);
  for (TaskIndex task = 8; task < 10; ++task) batch.AddSuccess(task, "", style);
  EXPECT_EQ(batch.task_count(), 10u);
  batch.SetSharedTimes(100, 200, 1003);
  const std::vector<Outcome> outcomes = batch.Take();
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{0, 7}));
  EXPECT_EQ(outcomes[0].busy_ns, 702u);
  EXPECT_EQ(outcomes[1].busy_ns, 100u);
  EXPECT_EQ(outcomes[2].busy_ns, 201u);
  EXPECT_EQ(outcomes[2].started_unix_us, 100);
  EXPECT_EQ(outcomes[2].finished_unix_us, 200);
  EXPECT_TRUE(batch.empty());
}

TEST(BatchTest, ResultsOfOneOutcomeStayBelowTheLimit) {
  Batch batch;
  const std::string result(kMergedResultBytes / 2, 'x');
  for (TaskIndex task = 0; task < 5; ++task) batch.AddSuccess(task, result, {});
  const std::vector<Outcome> outcomes = batch.Take();
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].results.count(), 2u);
  EXPECT_EQ(outcomes[2].results.count(), 1u);
}

TEST(BatchTest, NeighboursMergeInAnyOrder) {
  std::vector<Outcome> outcomes;
  MergeInto(outcomes, Success({10, 10}, 5), true);
  MergeInto(outcomes, Success({30, 10}, 6), true);
  MergeInto(outcomes, Success({20, 10}, 7), true);  // adjoins both; one is found
  MergeInto(outcomes, Success({0, 10}, 8), true);
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{0, 30}));
  EXPECT_EQ(outcomes[0].busy_ns, 20u);
  EXPECT_EQ(outcomes[1].tasks, (TaskRange{30, 10}));
}

TEST(BatchTest, ResultsStayInOrderWhenMerged) {
  std::vector<Outcome> outcomes;
  Outcome later = Success({1, 1});
  later.results.Append("later");
  Outcome earlier = Success({0, 1});
  earlier.results.Append("earlier");
  MergeInto(outcomes, later, true);
  MergeInto(outcomes, earlier, true);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].results[0], "earlier");
  EXPECT_EQ(outcomes[0].results[1], "later");
}

TEST(BatchTest, WhatDiffersStaysApart) {
  std::vector<Outcome> outcomes;
  MergeInto(outcomes, Success({0, 1}), true);
  Outcome second_attempt = Success({1, 1});
  second_attempt.attempt = 2;
  MergeInto(outcomes, second_attempt, true);
  Outcome failure = Success({2, 1});
  failure.status = TaskStatus::kFailed;
  MergeInto(outcomes, failure, true);
  Outcome with_result = Success({3, 1});
  with_result.results.Append("x");
  MergeInto(outcomes, with_result, true);
  MergeInto(outcomes, Success({4, 1}), false);
  EXPECT_EQ(outcomes.size(), 5u);
}

}  // namespace
}  // namespace haul::executor
