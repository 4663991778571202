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
  for (std::uint64_t seed = 1'000'001; seed <= 1'000'025; ++seed) {
    const Result result = RunSeed(seed);
    ASSERT_TRUE(result.violations.empty())
        << "haul_sim --seed " << seed << " --trace shows it:" << Join(result.violations);
    all += result.figures;
  }
  std::cout << all << "\n";
  // A world without these would show little.
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    EXPECT_GT(all.faults[kind], 0u) << NameOf(static_cast<FaultKind>(kind));
  }
  EXPECT_GT(all.adopted, 50u);
  EXPECT_GT(all.repeated_starts, 500u);
}

TEST(SimTest, SameSeedSameHistory) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    EXPECT_EQ(RunSeed(seed).trace_hash, RunSeed(seed).trace_hash) << "seed " << seed;
  }
  EXPECT_NE(RunSeed(1).trace_hash, RunSeed(2).trace_hash);
}

}  // namespace
}  // namespace haul::sim
