// The floors do their work and end what they started; how long they take is for `haul bench`.
#include "cli/bench/floors/floors.h"

#include "gtest/gtest.h"

namespace haul::cli {
namespace {

TEST(FloorsTest, ThePoolKeepsEveryChunk) {
  for (const std::size_t result_bytes : {0, 8}) {
    const auto rate = BarePool(10'000, 16, result_bytes, 2);
    ASSERT_TRUE(rate.ok()) << rate.status().message();
    EXPECT_GT(*rate, 0);
  }
}

TEST(FloorsTest, CommandsRunAndTheirFailureIsTold) {
  const auto rate = BareCommands({"/bin/sh", "-c", "echo out; echo err >&2"}, 20, 2);
  ASSERT_TRUE(rate.ok()) << rate.status().message();
  EXPECT_GT(*rate, 0);
  EXPECT_FALSE(BareCommands({"/bin/false"}, 3, 2).ok());
  EXPECT_FALSE(BareCommands({"/nonexistent"}, 3, 2).ok());
}

TEST(FloorsTest, SleepersSleepAtTheSameTime) {
  const auto rate = BareSleeps(8, std::chrono::milliseconds(20), 4);
  ASSERT_TRUE(rate.ok());
  EXPECT_GT(*rate, 0);
  EXPECT_LE(*rate, 4 / 0.020);
}

TEST(FloorsTest, CallsComeBack) {
  for (const bool durable : {false, true}) {
    const auto took_us = BareCalls(20, durable);
    ASSERT_TRUE(took_us.ok()) << took_us.status().message();
    EXPECT_EQ(took_us->size(), 20u);
  }
}

TEST(FloorsTest, CommitsAreCounted) {
  const auto rate = BareCommits(20);
  ASSERT_TRUE(rate.ok()) << rate.status().message();
  EXPECT_GT(*rate, 0);
}

}  // namespace
}  // namespace haul::cli
