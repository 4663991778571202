// Real executor processes with the example functions.
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "examples/functions/examples.h"
#include "gmock/gmock.h"
#include "worker/exec/executor/executor_process_test_harness.h"
#include "worker/exec/spawn.h"
#include "worker/executor/frame.h"

namespace haul::exec {
namespace {

using ::testing::HasSubstr;

TEST_F(ExecutorProcessTest, RunsTheExamples) {
  StartAndWaitUntilReady();
  EXPECT_EQ(functions_["count_primes.v1"], "u64(u64,u64)");
  EXPECT_EQ(functions_["noop.v1"], "void()");
  EXPECT_EQ(functions_["crash.v1"], "void(str)");

  Give(RunOf(1, examples::kCountPrimes, 1, 0u, 1'000'000u));
  EXPECT_EQ(examples::kCountPrimes.DecodeResult(OnlyOutcome(1).results[0]), 78'498u);
  Give(RunOf(2, examples::kCountPrimes, 1, 99'000'000u, 100'000'000u));
  EXPECT_EQ(examples::kCountPrimes.DecodeResult(OnlyOutcome(2).results[0]), 54'332u);
  Give(RunOf(3, examples::kEcho, 1, "all aboard"));
  EXPECT_EQ(examples::kEcho.DecodeResult(OnlyOutcome(3).results[0]), "all aboard");
  Give(RunOf(4, examples::kFail, 1, "no luck"));
  EXPECT_EQ(OnlyOutcome(4).message, "no luck");
  Give(RunOf(5, examples::kSha256, 1, "/dev/null"));
  EXPECT_EQ(examples::kSha256.DecodeResult(OnlyOutcome(5).results[0]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Give(RunOf(6, examples::kSha256, 1, "/nowhere/at/all"));
  EXPECT_THAT(OnlyOutcome(6).message, HasSubstr("/nowhere/at/all"));
  Give(RunOf(7, examples::kMandelbrot, 1, -2.0, 1.25, 0.05, 50u, 50u, 100u));
  EXPECT_EQ(examples::kMandelbrot.DecodeResult(OnlyOutcome(7).results[0]).size(), 13u + 50 * 50);
  Give(RunOf(8, examples::kCrash, 1, "throw_int"));
  EXPECT_EQ(OnlyOutcome(8).cause, Cause::kFunctionError);
  EXPECT_EQ(executor_->unfinished(), 0u);
}

TEST_F(ExecutorProcessTest, PrimesInRangesAddUp) {
  StartAndWaitUntilReady();
  v1::Run run = RunOf(1, examples::kNoop, 0);
  run.set_function(examples::kCountPrimes.name());
  PackedBytes inputs;
  for (std::uint64_t i = 0; i < 100; ++i) {
    inputs.Append(examples::kCountPrimes.EncodeArguments(i * 100'000, (i + 1) * 100'000));
  }
  run.set_count(100);
  run.set_width(2);
  run.mutable_inputs()->set_uniform_size(inputs.uniform_size());
  run.mutable_inputs()->set_data(inputs.data());
  Give(run);
  RunUntil([this] { return ended_[1].size() == 100; });
  std::uint64_t primes = 0;
  for (const Outcome& outcome : outcomes_[1]) {
    ASSERT_EQ(outcome.status, TaskStatus::kSucceeded) << outcome.message;
    for (std::uint64_t i = 0; i < outcome.tasks.count; ++i) {
      primes += examples::kCountPrimes.DecodeResult(outcome.results[i]);
    }
  }
  EXPECT_EQ(primes, 664'579u);  // below 10^7
}

TEST_F(ExecutorProcessTest, ARefusedLibraryEndsItWithTheReason) {
  ExecutorOptions options = DefaultOptions();
  options.libraries.push_back("/etc/passwd");
  Start(options);
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_FALSE(death.was_ready);
  EXPECT_EQ(death.cause, Cause::kExecutorExit);
  EXPECT_THAT(death.message, HasSubstr("/etc/passwd: it cannot be loaded"));
  EXPECT_TRUE(functions_.empty());
}

TEST_F(ExecutorProcessTest, AProgramThatIsNotThereIsAnError) {
  ExecutorOptions options = DefaultOptions();
  options.program = "/nowhere/haul-executor";
  const auto started = ExecutorProcess::Start(&reactor_, options, {});
  EXPECT_FALSE(started.ok());
  EXPECT_THAT(std::string(started.status().message()), HasSubstr("/nowhere/haul-executor"));
}

TEST_F(ExecutorProcessTest, AnOptionThatIsOutOfRangeIsNamedWithItsValueAndLimit) {
  const std::string command =
      TestFile("HAUL_TEST_BIN_DIR", "haul-executor") + " --threads 2000 2>&1";
  FILE* said = ::popen(command.c_str(), "r");
  ASSERT_NE(said, nullptr);
  std::array<char, 256> line{};
  EXPECT_NE(::fgets(line.data(), line.size(), said), nullptr);
  EXPECT_THAT(line.data(), HasSubstr("--threads: '2000', write a number from 1 to 1024"));
  EXPECT_EQ(WEXITSTATUS(::pclose(said)), 2);
}

TEST_F(ExecutorProcessTest, OneThatIsNeverReadyIsKilled) {
  ExecutorOptions options = DefaultOptions();
  // A program that reads what is sent to it and says nothing.
  options.program = "/bin/sh";
  options.libraries.clear();
  options.ready_limit_us = 50'000;
  const std::string script = ::testing::TempDir() + "haul_silent_" + std::to_string(::getpid());
  std::ofstream(script) << "#!/bin/sh\nexec cat <&3 >/dev/null\n";
  ASSERT_EQ(::chmod(script.c_str(), 0700), 0);
  options.program = script;
  Start(options);
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_EQ(death.cause, Cause::kSignal);
  EXPECT_THAT(death.message, HasSubstr("not ready after 50 ms"));
  std::filesystem::remove(script);
}

TEST_F(ExecutorProcessTest, ACrashNamesTheCulpritAndTheSuspects) {
  for (const auto& [how, signal] : {std::pair("segv", SIGSEGV), std::pair("abort", SIGABRT)}) {
    SCOPED_TRACE(how);
    death_.reset();
    ended_.clear();
    outcomes_.clear();
    StartAndWaitUntilReady();
    v1::Run sleeping = RunOf(1, examples::kSleep, 2, 1'000'000u);
    sleeping.set_first(40);
    Give(sleeping);
    WaitUntilRunning(2);
    v1::Run crash = RunOf(2, examples::kCrash, 1, how);
    crash.set_first(7);
    Give(crash);
    const ExecutorDeath& death = WaitForDeath();
    EXPECT_EQ(death.cause, Cause::kSignal);
    EXPECT_EQ(death.code, signal);
    EXPECT_TRUE(death.was_ready);
    EXPECT_FALSE(death.asked);
    ASSERT_EQ(death.suspects.size(), 3u);
    IntervalSet innocent;
    for (const ExecutorSuspect& suspect : death.suspects) {
      EXPECT_FALSE(suspect.timed_out);
      EXPECT_EQ(suspect.culprit, suspect.assignment == AssignmentId(2));
      if (suspect.culprit) {
        EXPECT_EQ(suspect.task, 7u);
      } else {
        innocent.Add({suspect.task, 1});
      }
    }
    EXPECT_EQ(innocent, IntervalSet({40, 2}));
  }
}

TEST_F(ExecutorProcessTest, AStackOverflowNamesItsTask) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kSleep, 1, 1'000'000u));
  WaitUntilRunning(1);
  Give(RunOf(2, examples::kCrash, 1, "stack"));
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_EQ(death.code, SIGSEGV);
  ASSERT_EQ(death.suspects.size(), 2u);
  for (const ExecutorSuspect& suspect : death.suspects) {
    EXPECT_EQ(suspect.culprit, suspect.assignment == AssignmentId(2));
  }
}

TEST_F(ExecutorProcessTest, ExitByAFunctionNamesItAndItsCode) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kSleep, 1, 1'000'000u));
  WaitUntilRunning(1);
  Give(RunOf(2, examples::kCrash, 1, "exit"));
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_EQ(death.cause, Cause::kExecutorExit);
  EXPECT_EQ(death.code, 3);
  ASSERT_EQ(death.suspects.size(), 2u);
  for (const ExecutorSuspect& suspect : death.suspects) {
    EXPECT_EQ(suspect.culprit, suspect.assignment == AssignmentId(2));
  }
}

TEST_F(ExecutorProcessTest, KilledFromOutsideItProvesNothingAboutItsTasks) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kNoop, 10));
  RunUntil([this] { return ended_[1].size() == 10; });
  Give(RunOf(2, examples::kSleep, 3, 1'000'000u));
  WaitUntilRunning(3);
  ::kill(executor_->pid(), SIGKILL);
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_EQ(death.code, SIGKILL);
  EXPECT_EQ(death.suspects.size(), 3u);
  for (const ExecutorSuspect& suspect : death.suspects) EXPECT_FALSE(suspect.culprit);
  EXPECT_EQ(executor_->unfinished(), 3u);
}

TEST_F(ExecutorProcessTest, WhatIsReportedBeforeACrashArrives) {
  StartAndWaitUntilReady();
  for (int i = 0; i < 50; ++i) {
    v1::Run run = RunOf(1, examples::kEcho, 1, std::string(10'000, 'x'));
    run.set_first(static_cast<std::uint64_t>(i));
    Give(run);
  }
  RunUntil([this] { return ended_[1].size() > 0; });
  Give(RunOf(2, examples::kCrash, 1, "segv"));
  const ExecutorDeath& death = WaitForDeath();
  // Alone or not, the one that took the signal is named.
  bool named = false;
  for (const ExecutorSuspect& suspect : death.suspects) {
    if (suspect.culprit) named = suspect.assignment == AssignmentId(2);
  }
  EXPECT_TRUE(named);
  EXPECT_EQ(executor_->unfinished() + ended_[1].size(), 51u);
}

TEST_F(ExecutorProcessTest, DestructionEndsIt) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kCrash, 1, "spin"));
  WaitUntilRunning(1);
  const pid_t pid = executor_->pid();
  executor_.reset();
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_FALSE(death_.has_value());
}

TEST_F(ExecutorProcessTest, KillIsNobodysFault) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kCrash, 1, "spin"));
  WaitUntilRunning(1);
  executor_->Kill();
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_TRUE(death.asked);
  EXPECT_EQ(death.code, SIGKILL);
  ASSERT_EQ(death.suspects.size(), 1u);
  EXPECT_FALSE(death.suspects[0].culprit);
  // After its death nothing happens any more.
  EXPECT_TRUE(executor_->Run(RunOf(2, examples::kNoop, 1)).ok());
  executor_->Reclaim(AssignmentId(2), 1);
  executor_->Kill();
}

TEST_F(ExecutorProcessTest, SignalsForTheWorkerAreNotForIt) {
  StartAndWaitUntilReady();
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::kill(executor_->pid(), signal);
  Give(RunOf(1, examples::kEcho, 1, "still here"));
  EXPECT_EQ(examples::kEcho.DecodeResult(OnlyOutcome(1).results[0]), "still here");
}

TEST_F(ExecutorProcessTest, ReclaimAndStopGiveBackWhatHasNotStarted) {
  StartAndWaitUntilReady();
  v1::Run run = RunOf(1, examples::kSleep, 100, 1'000'000u);
  run.set_width(2);
  Give(run);
  WaitUntilRunning(2);
  executor_->Reclaim(AssignmentId(1), 50);
  RunUntil([this] { return reclaims_ == 1; });
  EXPECT_EQ(reclaimed_[1], IntervalSet({50, 50}));
  executor_->StopTasks(AssignmentId(1));
  RunUntil([this] { return executor_->unfinished() == 0; });
  EXPECT_EQ(reclaimed_[1], IntervalSet({2, 98}));
  EXPECT_EQ(ended_[1], IntervalSet({0, 2}));
  for (const Outcome& outcome : outcomes_[1]) EXPECT_EQ(outcome.message, "stopped while it slept");
}

TEST_F(ExecutorProcessTest, ATaskOverItsTimeIsStopped) {
  StartAndWaitUntilReady();
  v1::Run slow = RunOf(1, examples::kSleep, 1, 1'000'000u);
  slow.set_timeout_ms(30);
  Give(slow);
  Give(RunOf(2, examples::kSleep, 1, 200u));  // without a limit
  const Outcome& outcome = OnlyOutcome(1);
  EXPECT_EQ(outcome.status, TaskStatus::kFailed);
  EXPECT_EQ(outcome.cause, Cause::kTimeout);
  EXPECT_THAT(outcome.message, HasSubstr("30 ms"));
  EXPECT_GE(outcome.busy_ns, 30'000'000u);
  EXPECT_EQ(OnlyOutcome(2).status, TaskStatus::kSucceeded);
}

TEST_F(ExecutorProcessTest, ATaskThatDoesNotStopTakesItsExecutorAlong) {
  StartAndWaitUntilReady();
  Give(RunOf(1, examples::kSleep, 1, 1'000'000u));
  v1::Run spin = RunOf(2, examples::kCrash, 1, "spin");
  spin.set_first(5);
  spin.set_timeout_ms(30);
  Give(spin);
  const ExecutorDeath& death = WaitForDeath();
  EXPECT_EQ(death.cause, Cause::kTimeout);
  EXPECT_FALSE(death.asked);
  ASSERT_EQ(death.suspects.size(), 2u);
  for (const ExecutorSuspect& suspect : death.suspects) {
    EXPECT_EQ(suspect.timed_out, suspect.assignment == AssignmentId(2));
    EXPECT_EQ(suspect.culprit, suspect.timed_out);
  }
}

TEST_F(ExecutorProcessTest, MegabytesPassInBothDirections) {
  StartAndWaitUntilReady();
  constexpr std::uint64_t kRuns = 24;
  for (std::uint64_t i = 0; i < kRuns; ++i) {
    v1::Run run =
        RunOf(1, examples::kEcho, 1, std::string(1'000'000, static_cast<char>('a' + i % 26)));
    run.set_first(i);
    run.set_width(2);
    Give(std::move(run));
  }
  RunUntil([this] { return ended_[1].size() == kRuns; });
  for (const Outcome& outcome : outcomes_[1]) {
    ASSERT_EQ(outcome.tasks.count, 1u);
    EXPECT_EQ(outcome.results.byte_count(), 0u);
    std::ifstream file(outcome.output_file);
    const std::string result{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(result.size(), outcome.output_bytes);
    EXPECT_EQ(examples::kEcho.DecodeResult(result),
              std::string(1'000'000, static_cast<char>('a' + outcome.tasks.first % 26)));
  }
  EXPECT_EQ(executor_->unsent_bytes(), 0u);
}

TEST_F(ExecutorProcessTest, AtItsEndOnlyTheFilesItHandedOverAreLeft) {
  ExecutorOptions options = DefaultOptions();
  options.libraries = {TestFile("HAUL_TEST_LIB_DIR", "libhaul_test_fill.so")};
  StartAndWaitUntilReady(options);
  v1::Run run = RunOf(1, examples::kNoop, 1);
  run.set_function("fill.v1");
  Give(run);
  const Outcome& filled = OnlyOutcome(1);
  EXPECT_EQ(std::filesystem::file_size(filled.output_file), filled.output_bytes);
  run.set_assignment_id(2);
  run.set_function("fill_and_abort.v1");
  Give(run);
  EXPECT_EQ(WaitForDeath().code, SIGABRT);
  executor_.reset();
  EXPECT_TRUE(std::filesystem::exists(filled.output_file));
  EXPECT_EQ(FileCount(), 1u);
}

TEST_F(ExecutorProcessTest, WhatWaitsToBeWrittenIsBounded) {
  ExecutorOptions options = DefaultOptions();
  options.unsent_limit_bytes = 2'000'000;
  StartAndWaitUntilReady(options);
  ::kill(executor_->pid(), SIGSTOP);
  absl::Status status;
  std::uint64_t given = 0;
  for (; given < 100 && status.ok(); ++given) {
    v1::Run run = RunOf(1, examples::kEcho, 1, std::string(500'000, 'x'));
    run.set_first(given);
    status = executor_->Run(std::move(run));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_LE(executor_->unsent_bytes(), options.unsent_limit_bytes);
  ::kill(executor_->pid(), SIGCONT);
  RunUntil([&] { return ended_[1].size() == given - 1; });
}

TEST_F(ExecutorProcessTest, HundredsOfThousandsOfNoOpsAreReportedOnce) {
  StartAndWaitUntilReady();
  v1::Run run = RunOf(1, examples::kNoop, 0);
  run.set_count(300'000);
  run.set_width(2);
  run.mutable_array()->set_step(1);
  Give(run);
  RunUntil([this] { return executor_->unfinished() == 0; });
  EXPECT_EQ(ended_[1], IntervalSet({0, 300'000}));
}

// The program alone: the test speaks to it.
class ExecutorProgramTest : public ExecutorProcessTest {
 protected:
  ExecutorProgramTest() {
    const ExecutorOptions options = DefaultOptions();
    std::array<int, 2> sockets{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
    socket_ = sockets[0];
    const absl::StatusOr<int> slots = executor::Slots::MakeFile();
    EXPECT_TRUE(slots.ok());
    SpawnRequest request;
    request.arguments = {options.program, "--threads",         "2", "--results", directory_.path(),
                         "--library",     options.libraries[0]};
    request.environment = options.environment;
    request.descriptors = {-1, -1, STDERR_FILENO, sockets[1], *slots};
    const SpawnResult spawned = Spawn(request);
    EXPECT_TRUE(spawned.ok());
    pid_fd_ = spawned.pidfd;
    ::close(sockets[1]);
    ::close(*slots);
    EXPECT_EQ(Read().ready().error(), "");
  }
  ~ExecutorProgramTest() override { ::close(pid_fd_); }

  void Write(const v1::ToExecutor& message) {
    EXPECT_TRUE(executor::WriteFrame(socket_, message).ok());
  }
  v1::FromExecutor Read() {
    v1::FromExecutor message;
    EXPECT_TRUE(executor::ReadFrame(socket_, &message).ok());
    return message;
  }
  siginfo_t WaitForEnd() const {
    siginfo_t info{};
    EXPECT_EQ(::waitid(P_PIDFD, static_cast<id_t>(pid_fd_), &info, WEXITED), 0);
    return info;
  }

  int socket_ = -1;
  int pid_fd_ = -1;
};

TEST_F(ExecutorProgramTest, TheEndOfTheStreamEndsIt) {
  v1::ToExecutor work;
  *work.add_runs() = RunOf(1, examples::kNoop, 1);
  *work.add_runs() = RunOf(2, examples::kCrash, 1, "spin");
  Write(work);
  Read();
  ::close(socket_);
  EXPECT_EQ(WaitForEnd().si_code, CLD_EXITED);
}

TEST_F(ExecutorProgramTest, ToldToLeaveItEndsOnceEverythingHasEndedAndIsTold) {
  const std::string go_on = directory_.path("go on");
  ASSERT_EQ(::mkfifo(go_on.c_str(), 0600), 0);
  v1::ToExecutor work;
  *work.add_runs() = RunOf(1, examples::kSha256, 1, go_on);  // until somebody has written there
  work.set_leave(true);
  Write(work);
  v1::ToExecutor more;
  *more.add_runs() = RunOf(2, examples::kNoop, 1);
  Write(more);
  const v1::FromExecutor first = Read();
  ASSERT_EQ(first.outcomes_size(), 1);
  EXPECT_EQ(first.outcomes(0).assignment_id(), 2u) << "the other one still runs";
  std::ofstream(go_on) << "now";
  const v1::FromExecutor last = Read();
  ASSERT_EQ(last.outcomes_size(), 1);
  EXPECT_EQ(last.outcomes(0).assignment_id(), 1u);
  EXPECT_EQ(last.outcomes(0).outcomes(0).status(), v1::TASK_STATUS_SUCCEEDED);
  const siginfo_t end = WaitForEnd();
  EXPECT_EQ(end.si_code, CLD_EXITED);
  EXPECT_EQ(end.si_status, 0);
  ::close(socket_);
}

TEST_F(ExecutorProgramTest, ToldToLeaveWithNothingToDoItEndsAtOnce) {
  v1::ToExecutor leave;
  leave.set_leave(true);
  Write(leave);
  EXPECT_EQ(WaitForEnd().si_code, CLD_EXITED);
  ::close(socket_);
}

}  // namespace
}  // namespace haul::exec
