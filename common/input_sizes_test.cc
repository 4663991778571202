#include "common/input_sizes.h"

#include <gtest/gtest.h>

#include <limits>

namespace haul {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

TEST(InputSizesTest, WithoutInputsNothingIsLimited) {
  EXPECT_EQ(InputSizes().TasksWithin(7, 0), kNoLimit);
}

TEST(InputSizesTest, SmallAndLargeInputsCountWhereTheyStand) {
  InputSizes sizes;
  sizes.Append(2'000'000, 4'000'000);
  for (int i = 0; i < 100; ++i) sizes.Append(20, 20 * 100'000);
  sizes.Append(2'000'000, 4'000'000);
  EXPECT_EQ(sizes.TasksWithin(0, 1 << 20), 1u << 19) << "of 2 bytes";
  EXPECT_EQ(sizes.TasksWithin(1'999'990, 1 << 20), 10u + 10) << "of 2, then of 100,000";
  EXPECT_EQ(sizes.TasksWithin(2'001'000, 1 << 20), 10u);
  EXPECT_EQ(sizes.TasksWithin(2'001'000, 10), 1u) << "one always";
  EXPECT_EQ(sizes.TasksWithin(2'002'000, 4'000'000), kNoLimit) << "the rest";
}

TEST(InputSizesTest, ManySmallPiecesAreOffByOneRunAtMost) {
  InputSizes sizes;
  constexpr std::uint64_t kPieces = 10'000;
  for (std::uint64_t i = 0; i < kPieces; ++i) sizes.Append(1, i % 100 == 0 ? 100'000 : 1);
  for (TaskIndex first = 0; first < kPieces; first += 333) {
    const std::uint64_t count = sizes.TasksWithin(first, 4 << 20);
    std::uint64_t bytes = 0;
    for (TaskIndex i = first; i < kPieces && i - first < count; ++i) {
      bytes += i % 100 == 0 ? 100'000 : 1;
    }
    EXPECT_LE(bytes, (4u << 20) + 2 * InputSizes::kRunBytes);
  }
}

}  // namespace
}  // namespace haul
