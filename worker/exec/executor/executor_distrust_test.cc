// Executors whose functions do harm: who is blamed for it, and what is believed afterwards.
#include <signal.h>

#include "examples/functions/examples.h"
#include "worker/exec/executor/executor_process_test_harness.h"

namespace haul::exec {
namespace {

class ExecutorDistrustTest : public ExecutorProcessTest {};

TEST_F(ExecutorDistrustTest, TheEndOfWhatATaskForkedIsNotItsOwn) {
  ExecutorOptions options = DefaultOptions();
  options.libraries.push_back(TestFile("HAUL_TEST_LIB_DIR", "libhaul_test_fork.so"));
  StartAndWaitUntilReady(options);
  v1::Run fork = RunOf(1, examples::kNoop, 1);
  fork.set_function("fork.v1");
  Give(fork);
  Give(RunOf(2, examples::kSleep, 1, 1'000'000u));
  WaitUntilRunning(2);
  RunUntil([this] {
    for (const executor::SlotReading& slot : executor_->Running()) {
      if (slot.permille == 1000) return true;
    }
    reactor_.RunOnce(ReadClocks().monotonic_us + 1'000);
    return false;
  });
  ::kill(executor_->pid(), SIGKILL);
  const ExecutorDeath& death = WaitForDeath();
  ASSERT_EQ(death.suspects.size(), 2u);
  for (const ExecutorSuspect& suspect : death.suspects) EXPECT_FALSE(suspect.culprit);
}

}  // namespace
}  // namespace haul::exec
