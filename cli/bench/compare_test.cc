#include "cli/bench/compare.h"

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace haul::cli {
namespace {

client::Result<std::vector<BenchValue>> Read(const std::string& text) {
  std::istringstream input(text);
  return ReadBenchValues(input);
}

TEST(BenchCompareTest, ReadsWhatHaulPrints) {
  const auto values = Read(
      R"({"object":"bench","measurement":"functions","unit":"tasks/s","less_is_better":false,"median":2.5})"
      "\n"
      R"({"object":"bench","measurement":"queued","unit":"MiB","less_is_better":true,"median":7,)"
      R"("options":{"tasks":100000,"coordinator":null}})"
      "\n");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 2u);
  EXPECT_EQ((*values)[0].measurement, "functions");
  EXPECT_EQ((*values)[0].median, 2.5);
  EXPECT_FALSE((*values)[0].less_is_better);
  EXPECT_EQ((*values)[1].unit, "MiB");
  EXPECT_TRUE((*values)[1].less_is_better);
  EXPECT_EQ((*values)[1].options,
            (std::map<std::string, std::string>{{"tasks", "100000"}, {"coordinator", "null"}}));
}

TEST(BenchCompareTest, ReadsWhatGoogleBenchmarkPrints) {
  const auto values =
      Read(R"({"context":{},"benchmarks":[{"name":"BM_A/1","real_time":12.5,"time_unit":"ms"}]})");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 1u);
  EXPECT_EQ((*values)[0].measurement, "BM_A/1");
  EXPECT_EQ((*values)[0].unit, "ms");
  EXPECT_EQ((*values)[0].median, 12.5);
  EXPECT_TRUE((*values)[0].less_is_better);
}

TEST(BenchCompareTest, RepetitionsOfGoogleBenchmarkAreOneMeasurement) {
  const auto values = Read(R"({"benchmarks":[{"name":"BM_A","real_time":3,"time_unit":"ms"},)"
                           R"({"name":"BM_B","real_time":7,"time_unit":"us"},)"
                           R"({"name":"BM_A","real_time":9,"time_unit":"ms"},)"
                           R"({"name":"BM_A","real_time":4,"time_unit":"ms"}]})");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 2u);
  EXPECT_EQ((*values)[0].measurement, "BM_A");
  EXPECT_EQ((*values)[0].median, 4);
  EXPECT_EQ((*values)[1].median, 7);
}

TEST(BenchCompareTest, RefusesAnythingElse) {
  for (const std::string text : {"", "{}", "[1]", "text", R"({"object":"job"})",
                                 R"({"object":"bench","measurement":"functions"})"}) {
    const auto values = Read(text);
    ASSERT_FALSE(values.ok()) << text;
    EXPECT_EQ(values.status().kind(), client::ErrorKind::kInvalid);
  }
}

BenchValue Measured(double median) {
  return {.measurement = "functions", .unit = "tasks/s", .median = median};
}

TEST(BenchCompareTest, ComparesWhatBothHave) {
  BenchValue other = Measured(1);
  other.measurement = "values";
  const auto changes = CompareBenchValues({Measured(2), other}, {Measured(3)});
  ASSERT_TRUE(changes.ok());
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0].before.median, 2);
  EXPECT_EQ((*changes)[0].after.median, 3);
  EXPECT_EQ((*changes)[0].ratio, 1.5);
}

TEST(BenchCompareTest, NothingBeforeHasNoRatio) {
  const auto changes = CompareBenchValues({Measured(0)}, {Measured(3)});
  ASSERT_TRUE(changes.ok());
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_FALSE((*changes)[0].ratio.has_value());
}

TEST(BenchCompareTest, RefusesWhatIsNotAlikeAndNamesTheField) {
  BenchValue two_threads = Measured(1);
  two_threads.options = {{"threads", "2"}, {"volatile", "false"}};
  BenchValue four_threads = Measured(1);
  four_threads.options = {{"threads", "4"}, {"volatile", "false"}};
  BenchValue milliseconds = two_threads;
  milliseconds.unit = "ms";
  const auto message = [](const BenchValue& before, const BenchValue& after) {
    const auto changes = CompareBenchValues({before}, {after});
    EXPECT_EQ(changes.status().kind(), client::ErrorKind::kInvalid);
    return changes.status().message();
  };
  EXPECT_EQ(message(two_threads, four_threads), "functions: threads is 2 before and 4 after");
  EXPECT_EQ(message(two_threads, milliseconds), "functions: unit is tasks/s before and ms after");
  EXPECT_EQ(message(Measured(1), two_threads), "functions: threads is not said before and 2 after");
  EXPECT_TRUE(CompareBenchValues({two_threads}, {two_threads}).ok());
}

}  // namespace
}  // namespace haul::cli
