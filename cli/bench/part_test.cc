#include "cli/bench/part.h"

#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace haul::cli {
namespace {

std::vector<std::string> YardsticksOf(const BenchPart& part) {
  std::vector<std::string> names;
  for (const Yardstick& yardstick : part.against) names.push_back(yardstick.name);
  return names;
}

BenchPart AnyPart() {
  return {.name = "part",
          .to_reach = 2,
          .against = {{.name = "pool", .durable = true},
                      {.name = "threads"},
                      {.name = "one job", .to_reach = 0.8, .any_cluster = true}}};
}

TEST(BenchPartTest, ClusterOfOurOwnIsHeldAgainstThisMachine) {
  BenchPart part = AnyPart();
  LeaveOutWhatDiffers(part, {}, /*own_cluster=*/true);
  EXPECT_EQ(part.to_reach, 2);
  EXPECT_EQ(YardsticksOf(part), (std::vector<std::string>{"pool", "threads", "one job"}));
}

TEST(BenchPartTest, NamedClusterIsHeldAgainstItselfAlone) {
  BenchPart part = AnyPart();
  LeaveOutWhatDiffers(part, {}, /*own_cluster=*/false);
  EXPECT_FALSE(part.to_reach.has_value());
  EXPECT_EQ(YardsticksOf(part), std::vector<std::string>{"one job"});
  EXPECT_EQ(part.against[0].to_reach, 0.8);
}

TEST(BenchPartTest, VolatileJobsAreNotHeldAgainstCommits) {
  BenchPart part = AnyPart();
  LeaveOutWhatDiffers(part, {.volatile_jobs = true}, /*own_cluster=*/true);
  EXPECT_EQ(YardsticksOf(part), (std::vector<std::string>{"threads", "one job"}));
}

TEST(BenchPartTest, FloorsOfFunctionsCommitAndThoseOfGrowthAreOfTheCluster) {
  BenchSizes sizes{.volatile_jobs = true};
  for (BenchPart& part : FunctionParts()) {
    LeaveOutWhatDiffers(part, sizes, /*own_cluster=*/true);
    EXPECT_TRUE(part.against.empty()) << part.name;
  }
  for (BenchPart& part : GrowthParts()) {
    LeaveOutWhatDiffers(part, sizes, /*own_cluster=*/false);
    EXPECT_EQ(part.against.size(), 1u) << part.name;
  }
}

TEST(BenchPartTest, WhatIsWaitedForHoldsOrIsToldInTime) {
  int asked = 0;
  const auto third_time = [&]() -> client::Result<bool> { return ++asked == 3; };
  EXPECT_TRUE(AwaitThat("it was asked", std::chrono::seconds(600), third_time).ok());
  EXPECT_EQ(asked, 3);
  const auto never = []() -> client::Result<bool> { return false; };
  EXPECT_EQ(AwaitThat("it held", std::chrono::seconds(0), never).message(),
            "0 s passed before it held");
}

}  // namespace
}  // namespace haul::cli
