// Many seeds of the simulated cluster keep the promises; the same seed is the same history; and
// checkers that could not fail would prove nothing.
#include "tests/sim/sim.h"

#include <gtest/gtest.h>

namespace haul::sim {
namespace {

std::string Join(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += "\n  " + line;
  return all;
}

TEST(SimTest, AThousandHistoriesKeepThePromises) {
  Figures all;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Result result = RunSeed(seed);
    ASSERT_TRUE(result.violations.empty())
        << "haul_sim --seed " << seed << " --trace shows it:" << Join(result.violations);
    all += result.figures;
  }
  std::cout << all << "\n";
  // A world without these would show little.
  EXPECT_GT(all.coordinator_kills, 1000u);
  EXPECT_GT(all.kills_while_adopting, 100u);
  EXPECT_GT(all.worker_deaths, 1000u);
  EXPECT_GT(all.adopted, 1000u);
  EXPECT_GT(all.repeated_starts, 1000u);
}

TEST(SimTest, SameSeedSameHistory) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(RunSeed(seed).trace_hash, RunSeed(seed).trace_hash) << "seed " << seed;
  }
  EXPECT_NE(RunSeed(1).trace_hash, RunSeed(2).trace_hash);
}

struct Planted {
  PlantedBug bug;
  const char* name;
  const char* complaint;
};
class PlantedBugTest : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedBugTest, IsFound) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    for (const std::string& violation : RunSeed(seed, GetParam().bug).violations) {
      if (violation.find(GetParam().complaint) != std::string::npos) return;
    }
  }
  FAIL() << "no seed says: " << GetParam().complaint;
}

INSTANTIATE_TEST_SUITE_P(
    Sim, PlantedBugTest,
    ::testing::Values(Planted{PlantedBug::kEffectsBeforeCommit, "EffectsBeforeCommit",
                              "is acknowledged and not on the disk"},
                      Planted{PlantedBug::kStaleOutcomesRewritten, "StaleOutcomesRewritten",
                              "ends by superseded assignment"},
                      Planted{PlantedBug::kForgetfulHello, "ForgetfulHello",
                              "starts again without a reason"},
                      Planted{PlantedBug::kMembershipNotStored, "MembershipNotStored",
                              "starts again without a reason"},
                      Planted{PlantedBug::kWidthIgnored, "WidthIgnored", "thousandths of a cpu"},
                      Planted{PlantedBug::kHandBackSwallowed, "HandBackSwallowed", "did not end"}),
    [](const auto& planted) { return std::string(planted.param.name); });

}  // namespace
}  // namespace haul::sim
