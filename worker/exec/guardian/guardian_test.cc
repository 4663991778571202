// The guardian as a program, over workers that are shell scripts or run one task.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "worker/exec/guardian/watch_parent.h"
#include "worker/exec/process_tree.h"
#include "worker/exec/spawn.h"
#include "worker/exec/test_directory.h"

namespace haul::exec {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

bool WaitFor(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

class GuardianTest : public ::testing::Test {
 protected:
  // What a guardian leaves, when it is killed itself, comes to this process.
  void SetUp() override { BecomeSubreaper(); }
  void TearDown() override {
    EXPECT_TRUE(WaitFor([] {
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      return FirstThreadsChildren().empty();
    })) << "something is left running";
    KillChildren(/*spare=*/{}, std::chrono::seconds(10));
  }

  static std::string Program(const std::string& name) {
    const char* directory = std::getenv("HAUL_TEST_BIN_DIR");
    return (directory == nullptr ? std::string(".") : std::string(directory)) + "/" + name;
  }

  SpawnResult Guard(const std::vector<std::string>& worker, bool with_reporter = false) {
    SpawnRequest request{.arguments = {Program("haul-guardian")},
                         .environment = {"PATH=/usr/bin:/bin", "HAUL_INCARNATION=of-another"}};
    if (with_reporter) {
      std::ofstream(File("reporter")) << "#!/bin/sh\n"
                                         "kill -0 $(cat "
                                      << File("daemon")
                                      << ") 2>/dev/null && "
                                         "echo ALIVE >> "
                                      << File("report")
                                      << "\n"
                                         "echo \"$@\" >> "
                                      << File("report")
                                      << "\n"
                                         "[ $(wc -l < "
                                      << File("report") << ") -ge 2 ]\n";
      EXPECT_EQ(::chmod(File("reporter").c_str(), 0700), 0);
      for (const std::string& argument :
           {std::string("--reporter"), File("reporter"), std::string("to")}) {
        request.arguments.push_back(argument);
      }
    }
    request.arguments.push_back("---");
    for (const std::string& argument : worker) request.arguments.push_back(argument);
    const SpawnResult guardian = Spawn(request);
    EXPECT_TRUE(guardian.ok()) << DescribeFailure(request, guardian);
    ::close(guardian.pidfd);
    return guardian;
  }
  SpawnResult GuardShell(const std::string& script, bool with_reporter = false) {
    return Guard({"/bin/sh", "-c", script}, with_reporter);
  }

  static int ExitStatus(const SpawnResult& guardian) {
    int status = 0;
    EXPECT_EQ(::waitpid(guardian.pid, &status, 0), guardian.pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string File(const std::string& name) const { return directory.path(name); }
  std::string Contents(const std::string& name) const {
    std::ostringstream contents;
    contents << std::ifstream(File(name)).rdbuf();
    return contents.str();
  }
  pid_t PidIn(const std::string& name) const { return std::atoi(Contents(name).c_str()); }
  static bool IsAlive(pid_t pid) { return ::kill(pid, 0) == 0; }

  // A daemon by two forks in a session of its own, ignoring SIGTERM.
  std::string Daemon() const {
    return "(setsid sh -c '(trap \"\" TERM; sh -c \"echo \\$PPID > " + File("daemon") +
           "\"; while :; do sleep 0.01; done) &' &); while [ ! -s " + File("daemon") +
           " ]; do sleep 0.01; done; ";
  }

  const TestDirectory directory;
};

TEST_F(GuardianTest, ACleanEndIsNotReported) {
  EXPECT_EQ(ExitStatus(GuardShell(Daemon() + "echo $HAUL_INCARNATION $HAUL_GUARDIAN_PID $PPID > " +
                                      File("told") + "; exit 0",
                                  true)),
            0);
  EXPECT_THAT(Contents("told"), MatchesRegex("[0-9a-f]{32} ([0-9]+) ([0-9]+)\n"));
  EXPECT_EQ(Contents("report"), "");
  EXPECT_FALSE(IsAlive(PidIn("daemon")));
}

TEST_F(GuardianTest, ADeadWorkersDescendantsDieAndThenItsDeathIsReportedUntilTaken) {
  const SpawnResult guardian = GuardShell(
      Daemon() + "echo $HAUL_INCARNATION > " + File("incarnation") + "; kill -9 $$", true);
  EXPECT_EQ(ExitStatus(guardian), 128 + SIGKILL);
  EXPECT_FALSE(IsAlive(PidIn("daemon")));
  std::string incarnation = Contents("incarnation");
  incarnation.pop_back();
  const std::string report =
      "to --incarnation " + incarnation + " --cause killed by signal 9 (SIGKILL)\n";
  EXPECT_EQ(Contents("report"), report + report);  // the first try was refused
}

TEST_F(GuardianTest, AFailedWorkersStatusIsTheGuardians) {
  EXPECT_EQ(ExitStatus(GuardShell("exit 3", true)), 3);
  EXPECT_THAT(Contents("report"), HasSubstr("--cause ended with status 3\n"));
}

TEST_F(GuardianTest, SignalsArePassedOnOnce) {
  const SpawnResult guardian =
      GuardShell("trap 'echo term >> " + File("got") + "' TERM; trap 'exit 5' INT; : > " +
                 File("ready") + "; while :; do sleep 0.01; done");
  ASSERT_TRUE(WaitFor([&] { return ::access(File("ready").c_str(), F_OK) == 0; }));
  ::kill(guardian.pid, SIGTERM);
  ASSERT_TRUE(WaitFor([&] { return !Contents("got").empty(); }));
  ::kill(guardian.pid, SIGINT);
  EXPECT_EQ(ExitStatus(guardian), 5);
  EXPECT_EQ(Contents("got"), "term\n");
}

TEST_F(GuardianTest, WhatForksAndForksIsCaught) {
  std::ofstream(File("comet")) << "setsid sh $0 & echo $$ > " << File("last") << "; exit\n";
  std::ofstream(File("hydra"))
      << "while :; do sh -c 'sleep 1000 & sleep 1000' & sleep 0.002; done\n";
  EXPECT_EQ(ExitStatus(GuardShell("sh " + File("comet") + " & setsid sh " + File("hydra") +
                                  " & while [ ! -s " + File("last") +
                                  " ]; do sleep 0.01; done; sleep 0.2; kill -9 $$")),
            128 + SIGKILL);
  EXPECT_TRUE(FirstThreadsChildren().empty());
}

TEST_F(GuardianTest, AProgramThatDoesNotExistAndWrongUse) {
  EXPECT_EQ(ExitStatus(Guard({"/no/such/worker"})), 127);
  EXPECT_EQ(ExitStatus(Guard({})), 2);
}

TEST_F(GuardianTest, AKilledWorkerLeavesNoTask) {
  const SpawnResult guardian =
      Guard({Program("haul_guardian_test_worker"), File("worker"),
             "sh -c 'echo $PPID $$' > " + File("task") + "; " + Daemon() + "sleep 1000"},
            true);
  ASSERT_TRUE(WaitFor([&] { return PidIn("daemon") > 0; }));
  const std::string worker = ReadProcFile("/proc/" + std::to_string(guardian.pid) + "/task/" +
                                              std::to_string(guardian.pid) + "/children",
                                          100);
  ::kill(std::atoi(worker.c_str()), SIGKILL);
  EXPECT_EQ(ExitStatus(guardian), 128 + SIGKILL);
  EXPECT_FALSE(IsAlive(PidIn("daemon")));
  EXPECT_FALSE(IsAlive(PidIn("task")));
  EXPECT_THAT(Contents("report"), ::testing::Not(HasSubstr("ALIVE")));
}

TEST_F(GuardianTest, AWorkerWhoseGuardianIsKilledEndsItsTasksAndLeaves) {
  const SpawnResult guardian =
      Guard({Program("haul_guardian_test_worker"), File("worker"), Daemon() + "exec sleep 1000"});
  ASSERT_TRUE(WaitFor([&] { return PidIn("daemon") > 0; }));
  ::kill(guardian.pid, SIGKILL);
  EXPECT_EQ(ExitStatus(guardian), -SIGKILL);
  // The worker is ours now.
  int status = 0;
  ASSERT_GT(::waitpid(-1, &status, 0), 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_FALSE(IsAlive(PidIn("daemon")));
}

TEST_F(GuardianTest, AWorkerAskedToEndLeavesCleanly) {
  const SpawnResult guardian = Guard(
      {Program("haul_guardian_test_worker"), File("worker"), Daemon() + "exec sleep 1000"}, true);
  ASSERT_TRUE(WaitFor([&] { return PidIn("daemon") > 0; }));
  ::kill(guardian.pid, SIGTERM);
  EXPECT_EQ(ExitStatus(guardian), 0);
  EXPECT_FALSE(IsAlive(PidIn("daemon")));
  EXPECT_EQ(Contents("report"), "");
}

TEST(ParentWatchTest, AParentThatIsDeadAlreadyIsTold) {
  Reactor reactor;
  bool told = false;
  // Not our parent: what a worker finds whose guardian died before it could look.
  const ParentWatch watch(reactor, ::getpid(), [&] { told = true; });
  reactor.RunOnce(0);
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace haul::exec
