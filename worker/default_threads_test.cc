#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include "worker/worker.h"

namespace haul::worker {
namespace {

TEST(DefaultThreadsTest, AQuotaIsRoundedUp) {
  EXPECT_EQ(CpusOfCpuMax("200000 100000"), 2u);
  EXPECT_EQ(CpusOfCpuMax("150000 100000"), 2u);
  EXPECT_EQ(CpusOfCpuMax("1000 100000"), 1u);
  EXPECT_EQ(CpusOfQuota(400'000, 100'000), 4u);
}

TEST(DefaultThreadsTest, WithoutAQuotaThereIsNoLimit) {
  EXPECT_EQ(CpusOfCpuMax("max 100000"), 0u);
  EXPECT_EQ(CpusOfCpuMax(""), 0u);
  EXPECT_EQ(CpusOfQuota(-1, 100'000), 0u);
  EXPECT_EQ(CpusOfQuota(0, 0), 0u);
}

TEST(DefaultThreadsTest, AffinityLimits) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_LE(DefaultThreads(true), static_cast<std::uint32_t>(CPU_COUNT(&before)));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(DefaultThreads(false), 1u);
  EXPECT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(DefaultTaskProcessesTest, IsHalfOfWhatTheUserMayHave) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NPROC, &before), 0);
  EXPECT_LE(DefaultTaskProcesses(), 4096u);
  const rlimit few{.rlim_cur = 10, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NPROC, &few), 0);
  EXPECT_LE(DefaultTaskProcesses(), 5u);
  EXPECT_GE(DefaultTaskProcesses(), 1u);
  EXPECT_EQ(setrlimit(RLIMIT_NPROC, &before), 0);
}

}  // namespace
}  // namespace haul::worker
