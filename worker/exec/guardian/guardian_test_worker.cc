// A worker proper for tests of the guardian: runs one shell script as a task until it is told to
// leave.
//
//   haul_guardian_test_worker DIRECTORY SCRIPT
//
// Ends with status 7 when its guardian has died.
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "worker/exec/command/command_runner.h"
#include "worker/exec/guardian/watch_parent.h"

namespace haul::exec {
namespace {

class Silent : public CommandListener {
 public:
  void OnCommandEnded(CommandEnd) override {}
  void OnDirectoryMissing(const CommandTask&, const std::string&) override {}
  bool IsOwnChild(pid_t) override { return false; }
  bool ExecutorRuns(std::uint64_t) override { return false; }
};

int Main(const char* directory, const char* script) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  Reactor reactor;
  Silent listener;
  CommandRunner::Options options;
  options.directory = directory;
  options.grace_period_ms = 100;
  auto runner = CommandRunner::Create(reactor, listener, options);
  if (!runner.ok()) return 1;
  int status = -1;
  const auto leave = [&](int with_status) {
    status = with_status;
    (*runner)->Stop(AssignmentId(1), 0, Cause::kCancelled, "leaving");
  };
  if (!reactor.Watch(signals, EPOLLIN, [&](std::uint32_t) {
        signalfd_siginfo info{};
        if (::read(signals, &info, sizeof info) > 0) leave(0);
      })) {
    return 1;
  }
  const ParentWatch watch(reactor, ParentWatch::GuardianPid(), [&] { leave(7); });
  v1::Command command;
  for (const char* argument : {"/bin/sh", "-c", script}) command.add_arguments(argument);
  (*runner)->Start({.assignment = AssignmentId(1),
                    .job = JobId(1),
                    .command = *CommandSpec::Parse(command),
                    .array_value = 0});
  while (status < 0 || !(*runner)->is_idle()) reactor.RunOnce(Reactor::kNoDeadline);
  reactor.Unwatch(signals);
  ::close(signals);
  return status;
}

}  // namespace
}  // namespace haul::exec

int main(int argc, char** argv) { return argc == 3 ? haul::exec::Main(argv[1], argv[2]) : 2; }
