#include "worker/exec/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <thread>

#include "worker/exec/test_directory.h"

namespace haul::exec {
namespace {

struct Ran {
  std::string output;
  int status = 0;
};

// Runs to the end; stdout and stderr are one pipe.
Ran RunToEnd(SpawnRequest request) {
  int fds[2];
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  request.descriptors.resize(std::max<std::size_t>(request.descriptors.size(), 3), -1);
  request.descriptors[1] = request.descriptors[2] = fds[1];
  const SpawnResult result = Spawn(request);
  ::close(fds[1]);
  EXPECT_TRUE(result.ok()) << DescribeFailure(request, result);
  Ran ran;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fds[0], buffer, sizeof buffer)) > 0;) {
    ran.output.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fds[0]);
  ::close(result.pidfd);
  EXPECT_EQ(::waitpid(result.pid, &ran.status, 0), result.pid);
  return ran;
}

SpawnRequest Shell(std::string script) {
  return {.arguments = {"sh", "-c", std::move(script)}, .environment = {"PATH=/usr/bin:/bin"}};
}

void ExpectNoChildren() {
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(SpawnTest, HasItsOwnSessionAndNothingElseOpen) {
  const int leak = ::open("/dev/null", O_RDONLY);  // without close-on-exec
  const Ran ran = RunToEnd(Shell("[ $(ps -o sid= -p $$) -eq $$ ] && exec ls /proc/self/fd"));
  EXPECT_EQ(ran.output, "0\n1\n2\n3\n");  // 3 is the directory that ls reads
  ::close(leak);
}

TEST(SpawnTest, SignalsAreAsInAFreshProcess) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &mask, nullptr), 0);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const Ran ran = RunToEnd({.arguments = {"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}});
  EXPECT_EQ(ran.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  std::signal(SIGPIPE, before);
  ASSERT_EQ(::pthread_sigmask(SIG_UNBLOCK, &mask, nullptr), 0);
}

TEST(SpawnTest, OnlyWhatIsNotDefaultNeedsToBeReset) {
  const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
  const auto user_before = std::signal(SIGUSR1, [](int) {});
  const SignalSet set = SignalsToReset();
  EXPECT_TRUE(set >> (SIGPIPE - 1) & 1);
  EXPECT_TRUE(set >> (SIGUSR1 - 1) & 1);
  EXPECT_FALSE(set >> (SIGUSR2 - 1) & 1);
  SpawnRequest request{.arguments = {"grep", "SigIgn", "/proc/self/status"}};
  request.signals_to_reset = set;
  EXPECT_EQ(RunToEnd(request).output, "SigIgn:\t0000000000000000\n");
  request.signals_to_reset = set & ~(SignalSet{1} << (SIGPIPE - 1));
  EXPECT_EQ(RunToEnd(request).output, "SigIgn:\t0000000000001000\n");
  std::signal(SIGPIPE, pipe_before);
  std::signal(SIGUSR1, user_before);
}

TEST(SpawnTest, DirectoryEnvironmentAndStdin) {
  const TestDirectory directory;
  std::ofstream(directory.path("in")) << "from the file";
  SpawnRequest request = Shell("pwd; echo $A; cat");
  request.environment.push_back("A=b c");
  request.directory = directory.path();
  request.stdin_file = "in";
  EXPECT_EQ(RunToEnd(request).output, directory.path() + "\nb c\nfrom the file");
}

TEST(SpawnTest, DescriptorsMayTradePlaces) {
  // The caller's lowest free descriptors are the places to fill, in the wrong order.
  int a[2];
  int b[2];
  ASSERT_EQ(::pipe2(a, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(b, O_CLOEXEC), 0);
  SpawnRequest request = Shell("echo three >&3; echo four >&4");
  request.descriptors = {-1, -1, -1, a[1], b[1]};
  if (a[1] == 4) std::swap(request.descriptors[3], request.descriptors[4]);
  const Ran ran = RunToEnd(request);
  EXPECT_EQ(ran.status, 0) << ran.output;
  char buffer[16] = {};
  EXPECT_EQ(::read(request.descriptors[3] == a[1] ? a[0] : b[0], buffer, sizeof buffer), 6);
  EXPECT_STREQ(buffer, "three\n");
  for (const int fd : {a[0], a[1], b[0], b[1]}) ::close(fd);
}

TEST(SpawnTest, FailuresSayWhichStepAndLeaveNoZombie) {
  const TestDirectory directory;
  std::ofstream(directory.path("plain")) << "data";
  std::ofstream(directory.path("script")) << "#!/no/such/interpreter\n";
  ASSERT_EQ(::chmod(directory.path("script").c_str(), 0700), 0);
  const auto expect = [](const SpawnRequest& request, SpawnStep step, int error, const char* says) {
    const SpawnResult result = Spawn(request);
    EXPECT_EQ(result.failed_step, step);
    EXPECT_EQ(result.error, error);
    EXPECT_NE(DescribeFailure(request, result).find(says), std::string::npos)
        << DescribeFailure(request, result);
    ExpectNoChildren();
  };
  expect({.arguments = {"no-such-program"}}, SpawnStep::kExec, ENOENT, "no-such-program");
  expect({.arguments = {directory.path("plain")}}, SpawnStep::kExec, EACCES, "Permission denied");
  expect({.arguments = {directory.path("script")}}, SpawnStep::kExec, ENOENT, "interpreter");
  expect({.arguments = {""}}, SpawnStep::kExec, ENOENT, "cannot run ''");
  expect({.arguments = {"true"}, .directory = "/no/such"}, SpawnStep::kDirectory, ENOENT,
         "/no/such");
  expect({.arguments = {"true"}, .stdin_file = "/no/in"}, SpawnStep::kStdin, ENOENT, "/no/in");
  ASSERT_EQ(::chmod(directory.path("plain").c_str(), 0700), 0);
  expect({.arguments = {directory.path("plain")}}, SpawnStep::kExec, ENOEXEC, "#!");
}

TEST(SpawnTest, AFifoAsStdinDoesNotHoldTheCaller) {
  const TestDirectory directory;
  ASSERT_EQ(::mkfifo(directory.path("fifo").c_str(), 0600), 0);
  SpawnRequest request = Shell("cat; echo done");
  request.stdin_file = directory.path("fifo");
  EXPECT_EQ(RunToEnd(request).output, "done\n");
}

TEST(SpawnTest, PathFindsTheFirstThatCanBeRun) {
  const TestDirectory directory;
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(::mkdir(directory.path(name).c_str(), 0700), 0);
    std::ofstream(directory.path(name) + "/prog") << "#!/bin/sh\necho " << name << "\n";
  }
  ASSERT_EQ(::chmod(directory.path("b/prog").c_str(), 0700), 0);
  ASSERT_EQ(::chmod(directory.path("c/prog").c_str(), 0700), 0);
  const std::string path = "PATH=/no/such:" + directory.path("a") + ":" + directory.path("b") +
                           ":" + directory.path("c");
  EXPECT_EQ(RunToEnd({.arguments = {"prog"}, .environment = {path}}).output, "b\n");
  EXPECT_EQ(ProgramCandidates("x", ":/a/:/b"), (std::vector<std::string>{"x", "/a/x", "/b/x"}));
  EXPECT_EQ(ProgramCandidates("./x", "/a"), (std::vector<std::string>{"./x"}));
}

TEST(SpawnTest, DiesWithTheThreadThatSpawnedIt) {
  SpawnResult result;
  std::thread thread([&] { result = Spawn({.arguments = {"sleep", "1000"}}); });
  thread.join();
  ASSERT_TRUE(result.ok());
  int status = 0;
  ASSERT_EQ(::waitpid(result.pid, &status, 0), result.pid);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  ::close(result.pidfd);
}

TEST(SpawnTest, OpenFilesLimit) {
  SpawnRequest request = Shell("ulimit -Sn");
  request.open_files_soft_limit = 77;
  EXPECT_EQ(RunToEnd(request).output, "77\n");
}

}  // namespace
}  // namespace haul::exec
