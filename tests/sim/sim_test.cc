// A seed of the simulated cluster under the sanitizers. The many, that the same seed is the same
// history, and the planted bugs are for the optimised haul_sim.
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

// One: it takes half a minute under the sanitizers.
TEST(SimTest, AHistoryKeepsThePromises) {
  const Result result = RunSeed(21);
  ASSERT_TRUE(result.violations.empty())
      << "haul_sim --seed 21 --trace shows it:" << Join(result.violations);
  std::cout << result.figures << "\n";
  // A world without these would show little.
  EXPECT_GT(result.figures.fault_count(), 20u);
  EXPECT_GT(result.figures.repeated_starts, 5u);
}

}  // namespace
}  // namespace haul::sim
