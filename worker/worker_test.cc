#include "worker/worker.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace haul::worker {
namespace {

// It would take what runs along.
TEST(WorkerTest, ALogThatNobodyReadsAnyMoreIsNotItsEnd) {
  const auto start_in_vain = [] {
    std::array<int, 2> log{};
    if (::pipe(log.data()) != 0 || ::close(log[0]) != 0) std::abort();
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) ::dup2(log[1], fd);
    std::exit(RunWorker({.directory = "/dev/null"}));
  };
  EXPECT_EXIT(start_in_vain(), ::testing::ExitedWithCode(1), "");
}

}  // namespace
}  // namespace haul::worker
