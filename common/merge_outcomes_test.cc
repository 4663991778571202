#include "common/merge_outcomes.h"

#include <utility>

#include "gtest/gtest.h"

namespace haul {
namespace {

Outcome Success(TaskRange tasks, std::uint64_t busy_ns = 0) {
  Outcome outcome;
  outcome.tasks = tasks;
  outcome.busy_ns = busy_ns;
  return outcome;
}

TEST(MergeOutcomesTest, NeighboursMergeInAnyOrder) {
  std::vector<Outcome> outcomes;
  MergeInto(outcomes, Success({10, 10}, 5), true);
  MergeInto(outcomes, Success({30, 10}, 6), true);
  MergeInto(outcomes, Success({20, 10}, 7), true);  // adjoins both; one is found
  MergeInto(outcomes, Success({0, 10}, 8), true);
  ASSERT_EQ(outcomes.size(), 2u);
  EXPECT_EQ(outcomes[0].tasks, (TaskRange{0, 20}));
  EXPECT_EQ(outcomes[0].busy_ns, 13u);
  EXPECT_EQ(outcomes[1].tasks, (TaskRange{20, 20}));
  EXPECT_EQ(outcomes[1].busy_ns, 13u);
}

TEST(MergeOutcomesTest, ResultsStayInOrderWhenMerged) {
  std::vector<Outcome> outcomes;
  Outcome later = Success({1, 1});
  later.results.Append("later");
  Outcome earlier = Success({0, 1});
  earlier.results.Append("earlier");
  MergeInto(outcomes, std::move(later), true);
  MergeInto(outcomes, std::move(earlier), true);
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].results[0], "earlier");
  EXPECT_EQ(outcomes[0].results[1], "later");
}

TEST(MergeOutcomesTest, WhatDiffersStaysApart) {
  std::vector<Outcome> outcomes;
  MergeInto(outcomes, Success({0, 1}), true);
  Outcome second_attempt = Success({1, 1});
  second_attempt.attempt = 2;
  MergeInto(outcomes, std::move(second_attempt), true);
  Outcome failure = Success({2, 1});
  failure.status = TaskStatus::kFailed;
  MergeInto(outcomes, std::move(failure), true);
  Outcome with_result = Success({3, 1});
  with_result.results.Append("x");
  MergeInto(outcomes, std::move(with_result), true);
  MergeInto(outcomes, Success({4, 1}), false);
  Outcome elsewhere = Success({5, 1});
  elsewhere.pid = 7;
  MergeInto(outcomes, std::move(elsewhere), true);
  Outcome in_a_file = Success({5, 1});
  in_a_file.output_file = "5.out";
  MergeInto(outcomes, std::move(in_a_file), true);
  EXPECT_EQ(outcomes.size(), 7u);
}

}  // namespace
}  // namespace haul
