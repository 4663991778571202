// Executors whose functions do harm: who is blamed for it, and what is believed afterwards.
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "examples/functions/examples.h"
#include "gmock/gmock.h"
#include "worker/exec/executor/executor_process_test_harness.h"
#include "worker/executor/frame.h"

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

v1::Outcome OutcomeWithFile(TaskIndex task, const std::string& file) {
  v1::Outcome outcome;
  outcome.set_first(task);
  outcome.set_count(1);
  outcome.set_status(v1::TASK_STATUS_SUCCEEDED);
  outcome.set_output_file(file);
  return outcome;
}

TEST_F(ExecutorDistrustTest, AfterWhatIsMalformedNothingIsBelievedAndNoFileIsLeft) {
  v1::FromExecutor ready;
  ready.mutable_ready()->set_protocol(1);
  v1::FromExecutor frame;
  v1::ExecutorOutcomes& broken = *frame.add_outcomes();
  broken.set_assignment_id(1);
  *broken.add_outcomes() = OutcomeWithFile(0, "there");
  *broken.add_outcomes() = OutcomeWithFile(1, "not-there");
  v1::ExecutorOutcomes& good = *frame.add_outcomes();
  good.set_assignment_id(2);
  *good.add_outcomes() = OutcomeWithFile(0, "there-too");
  v1::Reclaimed& reclaimed = *frame.add_reclaimed();
  reclaimed.set_assignment_id(3);
  reclaimed.set_count(1);

  // A program that says this whatever it is told; its fourth argument is the directory of results.
  const TestDirectory files;
  std::ofstream(files.path("said")) << executor::EncodeFrame(ready) << executor::EncodeFrame(frame);
  std::ofstream(files.path("program")) << "#!/bin/sh\n: >$4/there; : >$4/there-too\ncat "
                                       << files.path("said") << " >&3\nexec cat <&3 >/dev/null\n";
  ASSERT_EQ(::chmod(files.path("program").c_str(), 0700), 0);
  ExecutorOptions options = DefaultOptions();
  options.program = files.path("program");
  Start(options);
  Give(RunOf(1, examples::kNoop, 2));
  Give(RunOf(2, examples::kNoop, 1));
  Give(RunOf(3, examples::kNoop, 1));
  EXPECT_THAT(WaitForDeath().message, ::testing::HasSubstr("malformed"));
  EXPECT_TRUE(outcomes_.empty());
  EXPECT_EQ(reclaims_, 0);
  executor_.reset();
  EXPECT_EQ(FileCount(), 0u);
}

// Empty messages are zero bytes.
TEST_F(ExecutorDistrustTest, WhatADescendantGoesOnSayingKeepsNobodyFromHearingOfTheDeath) {
  const TestDirectory files;
  std::ofstream(files.path("program"))
      << "#!/bin/sh\nsetsid sh -c ': >" << files.path("ready") << "; exec cat /dev/zero >&3' &\n"
      << "while [ ! -e " << files.path("ready") << " ]; do sleep 0.01; done\nexit 3\n";
  ASSERT_EQ(::chmod(files.path("program").c_str(), 0700), 0);
  ExecutorOptions options = DefaultOptions();
  options.program = files.path("program");
  Start(options);
  EXPECT_EQ(WaitForDeath().code, 3);
}

}  // namespace
}  // namespace haul::exec
