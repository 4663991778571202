// The floors do their work and end what they started; how long they take is for `haul bench`.
#include "cli/bench/floors/floors.h"

#include <sys/resource.h>

#include <csignal>

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

// What is written beyond the limit is refused, as by a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : on_exceeded_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, on_exceeded_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*on_exceeded_)(int);
  rlimit before_{};
};

TEST(FloorsTest, AFullDiskIsTold) {
  // None for the database; enough to open it, but not for all that is committed.
  for (const rlim_t bytes : {0, 64 * 1024}) {
    const FileSizeLimit limit(bytes);
    EXPECT_FALSE(BareCalls(1000, /*durable=*/true).ok());
    EXPECT_FALSE(BareCommits(1000).ok());
    EXPECT_FALSE(BarePool(100'000, 16, 8, 2).ok());
  }
}

}  // namespace
}  // namespace haul::cli
