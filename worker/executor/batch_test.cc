#include "worker/executor/batch.h"

#include "common/merge_outcomes.h"
#include "gtest/gtest.h"

namespace haul::executor {
namespace {

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

}  // namespace
}  // namespace haul::executor
