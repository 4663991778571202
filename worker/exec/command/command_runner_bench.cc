// How many commands a second the command runner starts, captures and reaps, against xargs without
// capture.
//
//   haul_command_runner_bench [COMMANDS] [AT_ONCE] [PROGRAM]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "worker/exec/command/command_runner.h"
#include "worker/exec/test_directory.h"

namespace haul::exec {
namespace {

class Counter : public CommandListener {
 public:
  void OnCommandEnded(CommandEnd end) override {
    ++ended;
    if (end.outcome.status != TaskStatus::kSucceeded) ++failed;
  }
  void OnDirectoryMissing(const CommandTask&, const std::string&) override { ++failed; }
  bool IsOwnChild(pid_t) override { return false; }
  bool ExecutorRuns(std::uint64_t) override { return false; }

  std::uint64_t ended = 0;
  std::uint64_t failed = 0;
};

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void MeasureRunner(std::uint64_t commands, std::uint64_t at_once, const std::string& program) {
  const TestDirectory directory;
  Reactor reactor;
  Counter counter;
  CommandRunner::Options options;
  options.directory = directory.path();
  auto runner = CommandRunner::Create(reactor, counter, options);
  v1::Command command;
  command.add_arguments(program);
  const auto spec = CommandSpec::Parse(command);
  const Stopwatch stopwatch;
  std::uint64_t started = 0;
  while (counter.ended < commands) {
    for (; started < commands && started - counter.ended < at_once; ++started) {
      (*runner)->Start({.assignment = AssignmentId(1),
                        .job = JobId(1),
                        .task = started,
                        .command = *spec,
                        .array_value = 0});
    }
    reactor.RunOnce(Reactor::kNoDeadline);
  }
  const double took = stopwatch.seconds();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "runner, %2llu at once: %6.0f a second (%llu of %llu failed; own cpu %.2f s of %.2f s)\n",
      static_cast<unsigned long long>(at_once), static_cast<double>(commands) / took,
      static_cast<unsigned long long>(counter.failed), static_cast<unsigned long long>(commands),
      Seconds(usage.ru_utime) + Seconds(usage.ru_stime), took);
}

void MeasureXargs(std::uint64_t commands, const std::string& program) {
  const std::string line =
      "seq " + std::to_string(commands) + " | xargs -P2 -n1 " + program + " >/dev/null";
  const Stopwatch stopwatch;
  const int status = std::system(line.c_str());
  std::printf("xargs -P2, no capture: %6.0f a second (status %d)\n",
              static_cast<double>(commands) / stopwatch.seconds(), status);
}

}  // namespace
}  // namespace haul::exec

int main(int argc, char** argv) {
  const std::uint64_t commands = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 5000;
  const std::uint64_t at_once = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4;
  const std::string program = argc > 3 ? argv[3] : "/bin/true";
  haul::exec::MeasureXargs(commands, program);
  haul::exec::MeasureRunner(commands, at_once, program);
  return 0;
}
