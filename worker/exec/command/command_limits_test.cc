// Limits of what a command may use with all its processes. The bombs here are bounded, so that a
// defect cannot take the machine down.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "worker/exec/command/command_runner_test_harness.h"

namespace haul::exec {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// Holds that many MiB until it is killed; `tail` keeps what it cannot tell the end of.
std::string Eater(int mib) {
  return "{ head -c " + std::to_string(mib) + "M /dev/zero; sleep 1000; } | tail -c " +
         std::to_string(mib) + "M";
}

class CommandLimitsTest : public RunnerHarness {
 protected:
  TaskIndex StartLimited(const std::string& script, std::uint64_t memory_bytes) {
    CommandTask task = MakeTask(MakeCommand({"/bin/sh", "-c", script}));
    task.memory_bytes = memory_bytes;
    const TaskIndex index = task.task;
    runner->Start(std::move(task));
    return index;
  }
  void AllowProcesses(std::uint64_t count) {
    options.task_processes = count;
    Restart();
  }
  void ExpectFailed(TaskIndex task, Cause cause, const std::string& message) {
    const Outcome& outcome = End(task).outcome;
    EXPECT_EQ(outcome.status, TaskStatus::kFailed);
    EXPECT_EQ(outcome.cause, cause) << outcome.message;
    EXPECT_THAT(outcome.message, HasSubstr(message));
  }
};

TEST_F(CommandLimitsTest, MemoryIsThatOfAllProcessesTogether) {
  const TaskIndex neighbour = StartLimited("sleep 0.5; echo fine", 64 * kMiB);
  // None of the three is over the limit by itself.
  const TaskIndex eater =
      StartLimited(Eater(40) + " & " + Eater(40) + " & " + Eater(40) + " & wait", 100 * kMiB);
  ExpectFailed(eater, Cause::kMemoryLimit, "over the limit of 104857600");
  EXPECT_GT(ends[eater].outcome.peak_memory_bytes, 100 * kMiB);
  EXPECT_EQ(OutputOf(End(neighbour)), "fine\n");
}

TEST_F(CommandLimitsTest, LeavingGroupAndSessionHidesNothing) {
  ExpectFailed(StartLimited("setsid sh -c '" + Eater(120) + "' & sleep 1000", 60 * kMiB),
               Cause::kMemoryLimit, "over the limit of 62914560");
  // Its parent is gone: the worker has it.
  ExpectFailed(
      StartLimited("(setsid sh -c '" + Eater(120) + "' > /dev/null 2>&1 &); sleep 1000", 60 * kMiB),
      Cause::kMemoryLimit, "over the limit of 62914560");
}

TEST_F(CommandLimitsTest, SharedPagesCountOnce) {
  // Seven processes that show at least 30 MiB each, which are the same ones.
  const TaskIndex sharing = StartLimited(
      "exec perl -e '$x = q(a); $x x= 30 << 20; for (1 .. 6) { fork() or do { sleep 1; exit } }"
      " 1 while wait() > 0; print length($x)'",
      150 * kMiB);
  EXPECT_EQ(OutputOf(End(sharing)), "31457280");
  EXPECT_EQ(ends[sharing].outcome.status, TaskStatus::kSucceeded) << ends[sharing].outcome.message;
}

TEST_F(CommandLimitsTest, ATaskThatIsBeingStoppedIsStillLimited) {
  options.grace_period_ms = 600'000;
  Restart();
  const TaskIndex eater =
      StartLimited("trap '" + Eater(120) + "' TERM; touch " + directory.path("ready") +
                       "; while :; do sleep 0.1; done",
                   60 * kMiB);
  ASSERT_TRUE(RunUntil([&] { return ::access(directory.path("ready").c_str(), F_OK) == 0; }));
  runner->Stop(AssignmentId(1, 1), eater, Cause::kCancelled, "me");
  EXPECT_EQ(End(eater).outcome.cause, Cause::kCancelled);
}

TEST_F(CommandLimitsTest, AForkBombEndsAndItsNeighbourDoesNot) {
  AllowProcesses(60);
  const TaskIndex neighbour = StartShell("sleep 0.5; echo fine");
  // Each has two more, ten generations deep, and none of them ends.
  const TaskIndex bomb = StartShell(
      "b() { if [ $1 -gt 0 ]; then b $(($1 - 1)) | b $(($1 - 1)) & fi; sleep 1000; }; b 10");
  ExpectFailed(bomb, Cause::kProcessLimit, "over the limit of 60");
  EXPECT_EQ(OutputOf(End(neighbour)), "fine\n");
}

TEST_F(CommandLimitsTest, AForkBombThatLeavesItsSessionAndItsParentsEnds) {
  AllowProcesses(60);
  const std::string script = directory.path("bomb.sh");
  // Each generation is in a session of its own, ignores what can be ignored, and loses its parent.
  std::ofstream(script) << "trap '' TERM HUP INT\n"
                           "[ $1 -gt 0 ] || exec sleep 1000\n"
                           "setsid sh $0 $(($1 - 1)) > /dev/null 2>&1 &\n"
                           "setsid sh $0 $(($1 - 1)) > /dev/null 2>&1 &\n"
                           "[ $1 -lt 9 ] || sleep 1000\n";
  ExpectFailed(StartShell("sh " + script + " 9"), Cause::kProcessLimit, "over the limit of 60");
}

TEST_F(CommandLimitsTest, ManyProcessesWithinTheLimitAreNobodysBusiness) {
  AllowProcesses(200);
  const TaskIndex many =
      StartShell("i=0; while [ $i -lt 100 ]; do sleep 0.5 & i=$((i + 1)); done; wait; echo $i");
  EXPECT_EQ(OutputOf(End(many)), "100\n");
}

}  // namespace
}  // namespace haul::exec
