// Some seeds of the simulated cluster under the sanitizers keep the promises; the same seed is the
// same history. The many seeds, and the planted bugs, are for the optimised haul_sim.
#include "tests/sim/sim.h"

#include <gtest/gtest.h>

namespace haul::sim {
namespace {

std::string Join(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += "\n  " + line;
  return all;
}

TEST(SimTest, HistoriesKeepThePromises) {
  Figures all;
  for (std::uint64_t seed = 1'000'001; seed <= 1'000'010; ++seed) {
    const Result result = RunSeed(seed);
    ASSERT_TRUE(result.violations.empty())
        << "haul_sim --seed " << seed << " --trace shows it:" << Join(result.violations);
    all += result.figures;
  }
  std::cout << all << "\n";
  // A world without these would show little.
  EXPECT_GT(all.fault_count(), 300u);
  EXPECT_GT(all.adopted, 10u);
  EXPECT_GT(all.repeated_starts, 100u);
}

TEST(SimTest, SameSeedSameHistory) {
  const std::uint64_t first = RunSeed(1).trace_hash;
  EXPECT_EQ(RunSeed(1).trace_hash, first);
  EXPECT_NE(RunSeed(2).trace_hash, first);
}

}  // namespace
}  // namespace haul::sim
