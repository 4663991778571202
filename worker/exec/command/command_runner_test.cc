#include "worker/exec/command/command_runner.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "worker/exec/command/command_runner_test_harness.h"
#include "worker/executor/output_capture.h"

namespace haul::exec {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class CommandRunnerTest : public RunnerHarness {};

std::string Contents(const std::string& path) {
  std::ostringstream contents;
  contents << std::ifstream(path).rdbuf();
  return contents.str();
}

TEST_F(CommandRunnerTest, AnOutcomeSaysAllThatIsKnown) {
  CommandTask task = MakeTask(MakeCommand({"/bin/sh", "-c", "echo out; echo err >&2"}));
  task.attempt = 3;
  const std::int64_t before_us = ReadClocks().unix_us;
  runner->Start(std::move(task));
  const CommandEnd& end = End(0);
  const Outcome& outcome = end.outcome;
  EXPECT_EQ(end.job, JobId(7));
  EXPECT_EQ(outcome.tasks, (TaskRange{0, 1}));
  EXPECT_EQ(outcome.status, TaskStatus::kSucceeded);
  EXPECT_EQ(outcome.cause, Cause::kNone);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(OutputOf(end), "out\n");
  EXPECT_EQ(outcome.error_output, "err\n");
  EXPECT_EQ(outcome.attempt, 3u);
  EXPECT_EQ(outcome.assignment, AssignmentId(1, 1));
  EXPECT_GT(outcome.pid, 0u);
  EXPECT_GE(outcome.started_unix_us, before_us);
  EXPECT_GE(outcome.finished_unix_us, outcome.started_unix_us);
  EXPECT_GT(outcome.busy_ns, 0u);
  EXPECT_GT(outcome.user_cpu_us + outcome.system_cpu_us, 0u);
}

TEST_F(CommandRunnerTest, EndsAreTyped) {
  EXPECT_EQ(RunShell("exit 42").outcome.cause, Cause::kExitCode);
  EXPECT_EQ(ends[0].outcome.code, 42);
  EXPECT_EQ(ends[0].outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(RunShell("kill -SEGV $$").outcome.cause, Cause::kSignal);
  EXPECT_EQ(ends[1].outcome.code, SIGSEGV);
  EXPECT_EQ(ends[1].outcome.message, "ended by signal 11 (SIGSEGV)");
  // Nothing was written: no value is carried.
  EXPECT_EQ(ends[1].outcome.results.count(), 0u);
}

TEST_F(CommandRunnerTest, WhatCannotStartFailsAndSaysWhy) {
  const Outcome absent = RunToEnd(MakeCommand({"no-such-program", "x"})).outcome;
  EXPECT_EQ(absent.status, TaskStatus::kFailed);
  EXPECT_EQ(absent.cause, Cause::kStartFailed);
  EXPECT_EQ(absent.code, ENOENT);
  EXPECT_THAT(absent.message, HasSubstr("no-such-program"));
  const Outcome not_executable = RunToEnd(MakeCommand({"/etc/passwd"})).outcome;
  EXPECT_EQ(not_executable.cause, Cause::kStartFailed);
  EXPECT_EQ(not_executable.code, EACCES);
  v1::Command command = MakeCommand({"/bin/cat"});
  command.set_stdin_file("/no/such/input");
  const Outcome no_input = RunToEnd(command).outcome;
  EXPECT_EQ(no_input.cause, Cause::kStartFailed);
  EXPECT_THAT(no_input.message, HasSubstr("/no/such/input"));
  CommandTask task = MakeTask(MakeCommand({"/bin/true", "{}"}));
  task.array_value.reset();
  task.input.assign(CommandTemplate::kMostBytes, 'x');
  runner->Start(std::move(task));
  const Outcome too_big = End(3).outcome;
  EXPECT_EQ(too_big.cause, Cause::kStartFailed);
  EXPECT_EQ(too_big.code, E2BIG);
  EXPECT_THAT(too_big.message, HasSubstr("131072"));
}

TEST_F(CommandRunnerTest, AMissingDirectoryHandsTheTaskBack) {
  v1::Command command = MakeCommand({"/bin/true"});
  command.set_directory("/no/such/directory");
  Start(command);
  ASSERT_TRUE(RunUntil([&] { return !missing.empty(); }));
  EXPECT_EQ(missing[0].first, 0u);
  EXPECT_THAT(missing[0].second, HasSubstr("/no/such/directory"));
  EXPECT_TRUE(ends.empty());
}

TEST_F(CommandRunnerTest, LargeOutputsGoToFilesWhole) {
  const CommandEnd& end =
      RunShell("head -c 10000000 /dev/zero | tr '\\0' a; head -c 65537 /dev/zero | tr '\\0' b >&2");
  EXPECT_EQ(end.outcome.status, TaskStatus::kSucceeded);
  EXPECT_EQ(end.outcome.output_bytes, 10'000'000u);
  EXPECT_EQ(end.outcome.results.count(), 0u);
  EXPECT_EQ(Contents(end.output_path), std::string(10'000'000, 'a'));
  EXPECT_EQ(end.outcome.error_bytes, 65'537u);
  EXPECT_EQ(Contents(end.error_path), std::string(65'537, 'b'));
  EXPECT_THAT(end.output_path, StartsWith(directory.path()));
  // At the limit it is still inline.
  const CommandEnd& limit = RunShell("head -c 65536 /dev/zero");
  EXPECT_EQ(OutputOf(limit), std::string(executor::OutputCapture::kInlineBytes, '\0'));
  EXPECT_EQ(limit.output_path, "");
}

TEST_F(CommandRunnerTest, OutputOverTheLimitEndsTheTaskAndNothingIsCut) {
  options.output_limit_bytes = 100'000;
  Restart();
  const CommandEnd& end = RunShell("cat /dev/zero");
  EXPECT_EQ(end.outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(end.outcome.cause, Cause::kOutputLimit);
  EXPECT_THAT(end.outcome.message, HasSubstr("100000"));
  EXPECT_EQ(end.output_path, "");
  EXPECT_EQ(end.outcome.results.count(), 0u);
  // Also where the process was quicker than the worker.
  EXPECT_EQ(RunShell("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2").outcome.cause,
            Cause::kOutputLimit);
}

TEST_F(CommandRunnerTest, AFullDiskFailsTheTaskAndNotTheWorker) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1 << 20, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Outcome outcome = RunShell("head -c 5000000 /dev/zero").outcome;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(outcome.cause, Cause::kOutputLimit);
  EXPECT_EQ(outcome.code, EFBIG);
  EXPECT_THAT(outcome.message, HasSubstr("cannot keep the output"));
  EXPECT_EQ(RunShell("true").outcome.status, TaskStatus::kSucceeded);
}

TEST_F(CommandRunnerTest, ATimeoutEndsWhatIgnoresSigterm) {
  options.grace_period_ms = 100;
  Restart();
  CommandTask task = MakeTask(
      MakeCommand({"/bin/sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.01; done"}));
  task.timeout_ms = 200;
  runner->Start(std::move(task));
  const CommandEnd& end = End(0);
  EXPECT_EQ(end.outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(end.outcome.cause, Cause::kTimeout);
  EXPECT_EQ(end.outcome.message, "timed out after 200 ms");
  EXPECT_EQ(OutputOf(end), "begun\n");
  EXPECT_GE(end.outcome.busy_ns, 300'000'000u);
}

TEST_F(CommandRunnerTest, ACancelledTaskMayCleanUp) {
  const std::string begun = directory.path("begun");
  const TaskIndex task =
      StartShell("trap 'echo bye; exit 0' TERM; : > " + begun + "; while :; do sleep 0.01; done");
  ASSERT_TRUE(RunUntil([&] { return ::access(begun.c_str(), F_OK) == 0; }));
  runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, "cancelled by alice");
  runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, "cancelled by bob");
  const CommandEnd& end = End(task);
  EXPECT_EQ(end.outcome.status, TaskStatus::kCancelled);
  EXPECT_EQ(end.outcome.cause, Cause::kCancelled);
  EXPECT_EQ(end.outcome.message, "cancelled by alice");
  EXPECT_EQ(OutputOf(end), "bye\n");
  runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, "too late");
}

TEST_F(CommandRunnerTest, StopReachesTasksThatHaveNotStarted) {
  const std::size_t count = runner->max_running() < 300 ? runner->max_running() + 50 : 300;
  for (std::size_t i = 0; i < count; ++i) Start(MakeCommand({"/bin/sleep", "1000"}));
  StopAll("the worker leaves");
  EXPECT_TRUE(ends.empty());  // never from within a call
  ASSERT_TRUE(RunUntil([&] { return ends.size() == count; }));
  for (const auto& [task, end] : ends) EXPECT_EQ(end.outcome.status, TaskStatus::kCancelled);
  EXPECT_TRUE(RunUntil([&] { return runner->is_idle(); }));
}

TEST_F(CommandRunnerTest, WhatWasStartedAheadFollowsWhateverEndsInOrder) {
  const TaskIndex first = StartShell("true");
  std::vector<TaskIndex> others;
  for (int i = 0; i < 40; ++i) others.push_back(StartAhead(MakeCommand({"/bin/true"})));
  others.push_back(StartAhead(MakeCommand({"/nonexistent"})));  // has no process that could end
  v1::Command elsewhere = MakeCommand({"/bin/true"});
  elsewhere.set_directory("/nonexistent");
  const TaskIndex handed_back = StartAhead(elsewhere);
  others.push_back(StartAhead(MakeCommand({"/bin/true"})));
  End(others.back());
  EXPECT_TRUE(ends.contains(first));
  std::int64_t ended_us = ends[first].outcome.finished_unix_us;
  for (const TaskIndex task : others) {
    ASSERT_TRUE(ends.contains(task)) << task;
    const Outcome& outcome = ends[task].outcome;
    if (outcome.pid == 0) continue;
    EXPECT_GE(outcome.started_unix_us, ended_us) << "not before the one that it follows has ended";
    ended_us = outcome.finished_unix_us;
  }
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0].first, handed_back);
}

// Their order does not show when the loop gets round to it.
TEST_F(CommandRunnerTest, AnEndThatTheLoopHasNotHeardOfIsFollowedAllTheSame) {
  StartShell("echo > " + directory.path("ended"));
  // The launcher starts and sees it without the loop, which is given another behind it.
  while (ReadProcFile(directory.path("ended"), 10).empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const TaskIndex next = StartAhead(MakeCommand({"/bin/true"}));
  EXPECT_EQ(End(next).outcome.status, TaskStatus::kSucceeded);
}

TEST_F(CommandRunnerTest, APlaceMoreStartsTheNextAndWhatIsWithdrawnNeverStarts) {
  StartShell("sleep 1000");
  const TaskIndex second = StartAhead(MakeCommand({"/bin/true"}));
  const TaskIndex third = StartAhead(MakeCommand({"/bin/touch", directory.path("third")}));
  const TaskIndex fourth = StartAhead(MakeCommand({"/bin/touch", directory.path("fourth")}));
  runner->Advance(AssignmentId(1, 1));
  EXPECT_EQ(runner->Withdraw(AssignmentId(1, 1)), (std::vector<TaskIndex>{third, fourth}));
  EXPECT_EQ(End(second).outcome.status, TaskStatus::kSucceeded);
  StopAll("enough");
  ASSERT_TRUE(RunUntil([&] { return runner->is_idle(); }));
  EXPECT_EQ(ends.size(), 2u);
  EXPECT_NE(::access(directory.path("third").c_str(), F_OK), 0);
  EXPECT_NE(::access(directory.path("fourth").c_str(), F_OK), 0);
}

TEST_F(CommandRunnerTest, WhatIsGivenAheadAgainHasADirectoryThatStays) {
  StartShell("sleep 1000");
  v1::Command command =
      MakeCommand({"/bin/sh", "-c", "for i in $(seq 20); do sleep 0.01; touch f || exit 1; done"});
  command.set_temporary_directory(true);
  const CommandTask task = MakeTask(command);
  runner->StartAhead(task);
  EXPECT_EQ(runner->Withdraw(AssignmentId(1, 1)), std::vector<TaskIndex>{task.task});
  runner->StartAhead(task);
  runner->Advance(AssignmentId(1, 1));
  EXPECT_EQ(End(task.task).outcome.status, TaskStatus::kSucceeded);
}

TEST_F(CommandRunnerTest, NothingStartsPastTheLease) {
  const TaskIndex first =
      StartShell("echo > " + directory.path("began") + "; until test -e " + directory.path("go") +
                 "; do sleep 0.01; done; echo > " + directory.path("ended"));
  const TaskIndex next = StartAhead(MakeCommand({"/bin/true"}));
  const TaskIndex withdrawn = StartAhead(MakeCommand({"/bin/true"}));
  ASSERT_TRUE(RunUntil([&] { return ::access(directory.path("began").c_str(), F_OK) == 0; }));
  runner->StartUntil(ReadClocks().monotonic_us - 1);
  const TaskIndex waiting = Start(MakeCommand({"/bin/true"}));
  std::ofstream(directory.path("go")).close();
  ASSERT_TRUE(RunUntil([&] { return ::access(directory.path("ended").c_str(), F_OK) == 0; }));
  const std::int64_t later_us = ReadClocks().monotonic_us + 50'000;
  EXPECT_TRUE(RunUntil([&] { return ReadClocks().monotonic_us > later_us; }));
  EXPECT_TRUE(ends.empty());
  runner->StartUntil(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(End(next).outcome.status, TaskStatus::kSucceeded);
  EXPECT_EQ(End(waiting).outcome.status, TaskStatus::kSucceeded);
  EXPECT_EQ(End(withdrawn).outcome.status, TaskStatus::kSucceeded);
  EXPECT_TRUE(ends.contains(first));
}

TEST_F(CommandRunnerTest, PastTheLeaseAnEndIsToldOnceNobodyCouldFollow) {
  const TaskIndex first = StartShell("echo > " + directory.path("began") + "; sleep 0.05");
  const TaskIndex next = StartAhead(MakeCommand({"/bin/true"}));
  ASSERT_TRUE(RunUntil([&] { return ::access(directory.path("began").c_str(), F_OK) == 0; }));
  runner->StartUntil(ReadClocks().monotonic_us - 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // most likely it has ended
  EXPECT_EQ(runner->Withdraw(AssignmentId(1, 1)), std::vector<TaskIndex>{next});
  EXPECT_EQ(End(first).outcome.status, TaskStatus::kSucceeded);
}

TEST_F(CommandRunnerTest, WhatHasEndedIsNotStoppedThoughTheLoopHasNotHeardOfIt) {
  const TaskIndex task = StartShell("echo $$ > " + directory.path("pid"));
  std::string stat;
  while (stat.find(") Z ") == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (const pid_t pid = PidIn("pid"); pid > 0) {
      stat = ReadProcFile("/proc/" + std::to_string(pid) + "/stat", 4096);
    }
  }
  runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, "too late");
  const TaskStatus status = End(task).outcome.status;
  EXPECT_EQ(status, TaskStatus::kSucceeded);
}

TEST_F(CommandRunnerTest, OneThatIsStoppedBeforeItStartsPassesItsPlaceOn) {
  const std::size_t count = runner->max_running() < 300 ? runner->max_running() + 50 : 300;
  std::vector<TaskIndex> sleepers;
  for (std::size_t i = 0; i < count; ++i) {
    sleepers.push_back(Start(MakeCommand({"/bin/sleep", "1000"})));
  }
  const TaskIndex next = StartAhead(MakeCommand({"/bin/true"}));
  // Most likely not launched yet; the place goes on either way.
  runner->Stop(AssignmentId(1, 1), sleepers.back(), Cause::kCancelled, "not this one");
  EXPECT_EQ(End(next).outcome.status, TaskStatus::kSucceeded);
}

// It leaves its group for its parent's, which is not the task's to be killed with.
TEST_F(CommandRunnerTest, ATaskThatLeftItsGroupIsStoppedAllTheSame) {
  const TaskIndex task =
      Start(MakeCommand({"/usr/bin/perl", "-e",
                         "setpgrp(0, getpgrp(getppid())); open(F, '>', '" + directory.path("left") +
                             "'); print F \"$$\"; close(F); sleep 1000"}));
  ASSERT_TRUE(RunUntil([&] { return PidIn("left") > 0; }));
  runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, "enough");
  EXPECT_EQ(End(task).outcome.status, TaskStatus::kCancelled);
}

TEST_F(CommandRunnerTest, TheGroupEndsWithItsLeaderAndHoldsNothingUp) {
  // The sleepers hold the pipes open; the outcome does not wait for them.
  const CommandEnd& end = RunShell("sleep 1000 & sleep 1000 & echo $!");
  EXPECT_EQ(end.outcome.status, TaskStatus::kSucceeded);
  const pid_t left = std::atoi(OutputOf(end).c_str());
  EXPECT_TRUE(RunUntil([&] { return !IsAlive(left); }));
}

TEST_F(CommandRunnerTest, EscapeesAndDaemonsEndWithTheirTask) {
  // One session leader, and one daemon by two forks, each a session of its own.
  const std::string a = directory.path("a");
  const std::string b = directory.path("b");
  const TaskIndex task = StartShell("setsid sh -c 'echo $$ > " + a +
                                    "; exec sleep 1000' & (setsid sh -c '(echo $$; exec "
                                    "sleep 1000) & echo $! > " +
                                    b + "' &) ; while [ ! -s " + a + " ] || [ ! -s " + b +
                                    " ]; do sleep 0.01; done; sleep 0.3; echo ready");
  // While the task runs its daemon does, too.
  ASSERT_TRUE(RunUntil([&] { return PidIn("a") > 0 && PidIn("b") > 0; }));
  EXPECT_TRUE(IsAlive(PidIn("b")));
  EXPECT_FALSE(ends.contains(task));
  EXPECT_THAT(OutputOf(End(task)), HasSubstr("ready"));
  EXPECT_TRUE(RunUntil([&] { return !IsAlive(PidIn("a")) && !IsAlive(PidIn("b")); }));
}

TEST_F(CommandRunnerTest, AnotherTasksDaemonIsSpared) {
  const TaskIndex keeper = StartShell("(setsid sh -c 'echo $$ > " + directory.path("daemon") +
                                      "; exec sleep 1000' &) ; exec sleep 1000");
  ASSERT_TRUE(RunUntil([&] { return PidIn("daemon") > 0; }));
  for (int i = 0; i < 5; ++i) RunShell("true");
  const std::int64_t later_us = ReadClocks().monotonic_us + 100'000;
  EXPECT_TRUE(RunUntil([&] { return ReadClocks().monotonic_us > later_us; }));
  EXPECT_TRUE(IsAlive(PidIn("daemon")));
  runner->Stop(AssignmentId(1, 1), keeper, Cause::kCancelled, "");
  End(keeper);
  EXPECT_TRUE(RunUntil([&] { return !IsAlive(PidIn("daemon")); }));
}

TEST_F(CommandRunnerTest, WhatHidesItsTaskEndsWithAllThatRanWhenItWasFound) {
  const std::string hidden = directory.path("hidden");
  const TaskIndex other = StartShell("exec sleep 1000");
  // The environment is gone, and with it the task's name.
  const TaskIndex task =
      StartShell("(env -i setsid /bin/sh -c 'echo $$ > " + hidden +
                 "; exec sleep 1000' &) ; while [ ! -s " + hidden + " ]; do sleep 0.01; done");
  EXPECT_EQ(End(task).outcome.status, TaskStatus::kSucceeded);
  const pid_t pid = PidIn("hidden");
  RunShell("true");
  EXPECT_TRUE(IsAlive(pid));
  runner->Stop(AssignmentId(1, 1), other, Cause::kCancelled, "");
  End(other);
  EXPECT_TRUE(RunUntil([&] { return !IsAlive(pid); }));
}

TEST_F(CommandRunnerTest, AnExecutorIsNoOrphan) {
  const SpawnResult own = Spawn({.arguments = {"/bin/sleep", "1000"}});
  own_children.insert(own.pid);
  for (int i = 0; i < 3; ++i) RunShell("true");
  ASSERT_TRUE(RunUntil([&] { return runner->is_idle(); }));
  EXPECT_EQ(::waitpid(own.pid, nullptr, WNOHANG), 0);
  ::kill(own.pid, SIGKILL);
  EXPECT_EQ(::waitpid(own.pid, nullptr, 0), own.pid);
  ::close(own.pidfd);
}

TEST_F(CommandRunnerTest, WhatAnExecutorStartedEndsWithTheExecutorAndNotBefore) {
  executors = {7, 8};
  const std::string file = directory.path("started");
  // Two forks, and a session of its own: it is nobody's but the worker's.
  const SpawnResult executor = Spawn(
      {.arguments = {"/bin/sh", "-c", "(setsid sh -c 'echo $$ > " + file + "; exec sleep 1000' &)"},
       .environment = {"PATH=/usr/bin:/bin", std::string(kExecutorVariable) + "7"}});
  ASSERT_TRUE(executor.ok());
  EXPECT_EQ(::waitpid(executor.pid, nullptr, 0), executor.pid);
  ::close(executor.pidfd);
  ASSERT_TRUE(RunUntil([&] { return PidIn("started") > 0; }));
  for (int i = 0; i < 3; ++i) RunShell("true");
  executors.erase(8);
  runner->LookForOrphans();
  ASSERT_TRUE(RunUntil([&] { return runner->is_idle(); }));
  EXPECT_TRUE(IsAlive(PidIn("started")));
  // A task that goes on is no reason to wait.
  const TaskIndex other = StartShell("exec sleep 1000");
  executors.erase(7);
  runner->LookForOrphans();
  EXPECT_TRUE(RunUntil([&] { return !IsAlive(PidIn("started")); }));
  runner->Stop(AssignmentId(1, 1), other, Cause::kCancelled, "");
  End(other);
}

TEST_F(CommandRunnerTest, BytesPassUnchanged) {
  CommandTask task = MakeTask(MakeCommand({"/usr/bin/printf", "%s", "{}"}));
  task.array_value.reset();
  task.input = "\xff\xfe'$(id)`\n\t\\";
  const std::string bytes = task.input;
  runner->Start(std::move(task));
  EXPECT_EQ(OutputOf(End(0)), bytes);
}

TEST_F(CommandRunnerTest, ATaskFindsItsIdsAndItsProgramInItsEnvironment) {
  const std::string program = directory.path("greet");
  std::ofstream(program) << "#!/bin/sh\necho $HAUL_JOB_ID $HAUL_TASK_INDEX $HAUL_ATTEMPT "
                            "$HAUL_FENCING_TOKEN $HAUL_WORKER $HAUL_COORDINATOR \"$NAME\" $(pwd)\n";
  ASSERT_EQ(::chmod(program.c_str(), 0700), 0);
  v1::Command command = MakeCommand({"greet"});
  const auto add = [&](const std::string& name, const std::string& value) {
    v1::EnvironmentVariable* variable = command.add_environment();
    variable->set_name(name);
    variable->set_value(value);
  };
  add("PATH", directory.path() + ":/usr/bin:/bin");
  add("NAME", "task {#}");
  command.set_directory(directory.path());
  EXPECT_EQ(OutputOf(RunToEnd(command)),
            "7 0 1 1099511627777 w1 127.0.0.1:1 task 1 " + directory.path() + "\n");
}

TEST_F(CommandRunnerTest, StdinIsAFileOrNothing) {
  std::ofstream(directory.path("input")) << "some input";
  v1::Command command = MakeCommand({"/bin/cat"});
  EXPECT_EQ(OutputOf(RunToEnd(command)), "");
  command.set_stdin_file(directory.path("input"));
  EXPECT_EQ(OutputOf(RunToEnd(command)), "some input");
}

TEST_F(CommandRunnerTest, ATemporaryDirectoryIsFreshAndGoneAfterwards) {
  v1::Command command = MakeCommand(
      {"/bin/sh", "-c",
       "pwd; ls -A; mkdir -p a/b/c && : > a/b/c/file && chmod 500 a/b/c a/b && ln -s / link"});
  command.set_temporary_directory(true);
  std::set<std::string> paths;
  for (int i = 0; i < 2; ++i) {
    const CommandEnd& end = RunToEnd(command);
    EXPECT_EQ(end.outcome.status, TaskStatus::kSucceeded) << end.outcome.error_output;
    std::string path = OutputOf(end);
    path.pop_back();
    EXPECT_THAT(path, StartsWith(directory.path("worker/tasks/")));
    EXPECT_TRUE(RunUntil([&] { return ::access(path.c_str(), F_OK) != 0; }));
    paths.insert(path);
  }
  EXPECT_EQ(paths.size(), 2u);
}

TEST_F(CommandRunnerTest, ManyAtOnceWithFewDescriptors) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max > 100) {
    // A hard limit stays lowered, so the story is told by a process of its own.
    const std::string self = std::filesystem::canonical("/proc/self/exe");
    const std::string line = "ulimit -n 100; exec " + self +
                             " --gtest_filter=CommandRunnerTest.ManyAtOnceWithFewDescriptors";
    EXPECT_EQ(std::system(line.c_str()), 0);
    return;
  }
  EXPECT_LT(runner->max_running(), 20u);
  std::size_t most = 0;
  for (int i = 0; i < 500; ++i) StartShell("echo $HAUL_TASK_INDEX; exec sleep 0.01");
  EXPECT_TRUE(RunUntil([&] {
    most = std::max(most, runner->running());
    return ends.size() == 500;
  }));
  EXPECT_EQ(most, runner->max_running());
  for (const auto& [task, end] : ends) EXPECT_EQ(OutputOf(end), std::to_string(task) + "\n");
}

TEST_F(CommandRunnerTest, AShortageOfDescriptorsDelaysAndDoesNotFail) {
  // Somebody else in the worker takes all that were meant for the tasks.
  std::vector<int> taken;
  for (int fd = 0; (fd = ::dup(0)) >= 0;) taken.push_back(fd);
  ASSERT_FALSE(taken.empty());
  const TaskIndex task = StartShell("echo ran");
  const std::int64_t later_us = ReadClocks().monotonic_us + 150'000;
  EXPECT_TRUE(RunUntil([&] { return ReadClocks().monotonic_us > later_us; }));
  EXPECT_TRUE(ends.empty());
  for (const int fd : taken) ::close(fd);
  EXPECT_EQ(OutputOf(End(task)), "ran\n");
}

TEST_F(CommandRunnerTest, TheRunnersEndIsTheEndOfAll) {
  StartShell("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ > " + directory.path("escapee") +
             "; while :; do sleep 0.01; done' & while :; do sleep 0.01; done");
  Start(MakeCommand({"/bin/sleep", "1000"}));
  ASSERT_TRUE(RunUntil([&] { return PidIn("escapee") > 0; }));
  runner.reset();
  EXPECT_TRUE(FirstThreadsChildren().empty());
  EXPECT_FALSE(IsAlive(PidIn("escapee")));
}

TEST_F(CommandRunnerTest, LeftoversOfAnEarlierRunAreRemoved) {
  runner.reset();
  ASSERT_EQ(std::system(("mkdir -p " + directory.path("worker/tasks/old.cwd/x") + "; : > " +
                         directory.path("worker/tasks/old.out"))
                            .c_str()),
            0);
  Restart();
  EXPECT_EQ(std::system(("test -z \"$(ls -A " + directory.path("worker/tasks") + ")\"").c_str()),
            0);
}

TEST_F(CommandRunnerTest, PeakMemoryIsThatOfTheTask) {
  // More than the worker's own, so it is exact; and less, while it runs long enough to be looked
  // at.
  const CommandEnd& large = RunShell("dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null");
  EXPECT_GE(large.outcome.peak_memory_bytes, 300'000'000u);
  const CommandEnd& small = RunShell("exec sleep 0.6");
  EXPECT_GT(small.outcome.peak_memory_bytes, 100'000u);
  EXPECT_LT(small.outcome.peak_memory_bytes, 100'000'000u);
}

}  // namespace
}  // namespace haul::exec
