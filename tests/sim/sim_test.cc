// Some seeds of the simulated cluster under the sanitizers keep the promises; the same seed is the
// same history. The many seeds, and the planted bugs, are for the optimised haul_sim.
#include "tests/sim/sim.h"

#include <gtest/gtest.h>

#include <iostream>
#include <vector>

namespace haul::sim {
namespace {

std::string Join(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += "\n  " + line;
  return all;
}

// Slow under sanitizers: two of them, one twice.
TEST(SimTest, HistoriesKeepThePromisesAndTheSameSeedIsTheSameHistory) {
  Figures all;
  std::vector<std::uint64_t> hashes;
  for (const std::uint64_t seed : {1'000'001u, 1'000'001u, 1'000'002u}) {
    const Result result = RunSeed(seed);
    ASSERT_TRUE(result.violations.empty())
        << "haul_sim --seed " << seed << " --trace shows it:" << Join(result.violations);
    all += result.figures;
    hashes.push_back(result.trace_hash);
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_NE(hashes[1], hashes[2]);
  std::cout << all << "\n";
  // A world without these would show little.
  EXPECT_GT(all.fault_count(), 100u);
  EXPECT_GT(all.adopted, 3u);
  EXPECT_GT(all.repeated_starts, 30u);
}

}  // namespace
}  // namespace haul::sim
