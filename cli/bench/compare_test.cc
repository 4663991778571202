#include "cli/bench/compare.h"

#include <sstream>
#include <string>

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
      R"({"object":"bench","measurement":"queued","unit":"MiB","less_is_better":true,"median":7})"
      "\n");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 2u);
  EXPECT_EQ((*values)[0].measurement, "functions");
  EXPECT_EQ((*values)[0].median, 2.5);
  EXPECT_FALSE((*values)[0].less_is_better);
  EXPECT_EQ((*values)[1].unit, "MiB");
  EXPECT_TRUE((*values)[1].less_is_better);
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

TEST(BenchCompareTest, RefusesAnythingElse) {
  for (const std::string text : {"", "{}", "[1]", "text", R"({"object":"job"})",
                                 R"({"object":"bench","measurement":"functions"})"}) {
    const auto values = Read(text);
    ASSERT_FALSE(values.ok()) << text;
    EXPECT_EQ(values.status().kind(), client::ErrorKind::kInvalid);
  }
}

}  // namespace
}  // namespace haul::cli
