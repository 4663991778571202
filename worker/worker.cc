// The wiring of a worker: what is built, in which order, and how it ends. Destruction is the
// reverse: the loop first, which kills what commands are left, then the executors, then the
// session's thread.
#include "worker/worker.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/version.h"
#include "spdlog/spdlog.h"
#include "worker/exec/guardian/watch_parent.h"
#include "worker/exec/launch/command_template.h"
#include "worker/exec/reactor.h"
#include "worker/executor/slots.h"
#include "worker/loop/executors.h"
#include "worker/loop/worker_loop.h"
#include "worker/rpc/child_calls.h"
#include "worker/rpc/session.h"

namespace haul::worker {
namespace {

static_assert(kMostExecutorThreads == executor::kSlotLimit);

enum ExitStatus : int { kLeft = 0, kFailed = 1, kBadLibrary = 2, kRefused = 4 };

std::string HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::string Incarnation(const WorkerOptions& options) {
  if (!options.incarnation.empty()) return options.incarnation;
  if (const char* given = std::getenv("HAUL_INCARNATION"); given != nullptr && *given != '\0') {
    return given;
  }
  std::random_device random;
  return absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(), random());
}

// Signals as events of the loop. Blocked in every thread, so this is made before any other thread.
class Signals {
 public:
  Signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    // Whoever read the log may be gone, which is no reason to end. Tasks start with the default.
    ::signal(SIGPIPE, SIG_IGN);
    fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    HAUL_CHECK(fd_ >= 0);
  }
  ~Signals() { ::close(fd_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void DeliverTo(WorkerLoop& loop, exec::Reactor& reactor, std::uint64_t drain_deadline_ms) {
    const bool watched = reactor.Watch(fd_, EPOLLIN, [=, this, &loop](std::uint32_t) {
      signalfd_siginfo info{};
      while (::read(fd_, &info, sizeof(info)) == sizeof(info)) {
        if (++count_ == 1) {
          spdlog::info("signal {}: finishing what runs; a second one stops it", info.ssi_signo);
          loop.Drain(drain_deadline_ms);
        } else {
          spdlog::info("signal {}: stopping", info.ssi_signo);
          loop.Stop();
        }
      }
    });
    HAUL_CHECK(watched);
  }

 private:
  int fd_ = -1;
  int count_ = 0;
};

// Where executors put large results.
std::string ResultsDirectory(const WorkerOptions& options) {
  return options.directory + "/results";
}

LoopOptions MakeLoopOptions(const WorkerOptions& options, const std::string& host) {
  LoopOptions loop;
  const bool serves_functions = !options.libraries.empty();
  const std::uint32_t threads =
      options.threads > 0 ? options.threads : DefaultThreads(serves_functions);
  const std::string name =
      options.name.empty() ? absl::StrCat(host, "-", ::getpid()) : options.name;
  loop.hello.set_incarnation(Incarnation(options));
  loop.hello.set_name(name);
  loop.hello.set_host(host);
  loop.hello.set_pid(static_cast<std::uint32_t>(::getpid()));
  loop.hello.set_processes(options.processes);
  loop.hello.set_threads(threads);
  loop.hello.set_version(std::string(kVersion));
  loop.core.processes = options.processes;
  loop.core.threads = threads;
  loop.core.serves_functions = serves_functions;
  loop.core.stop_grace_us = options.stop_grace_ms * 1000;
  loop.commands.directory = options.directory;
  loop.commands.worker = name;
  loop.commands.coordinator = options.coordinator;
  loop.commands.grace_period_ms = options.stop_grace_ms;
  loop.commands.task_processes =
      options.task_processes > 0 ? options.task_processes : DefaultTaskProcesses();
  loop.commands.output_limit_bytes = options.output_limit_bytes;
  return loop;
}

exec::ExecutorOptions MakeExecutorOptions(const WorkerOptions& options, std::uint32_t threads) {
  exec::ExecutorOptions executors;
  executors.program = options.executor_program;
  executors.libraries = options.libraries;
  executors.environment = exec::InheritedEnvironment(environ);
  executors.threads = threads;
  executors.results_directory = ResultsDirectory(options);
  // What waits is in this process anyway, as inputs of the assignments: the coordinator bounds it.
  executors.unsent_limit_bytes = std::size_t{4} << 30;
  return executors;
}

int ExitStatusOf(const WorkerEnd& end) {
  switch (end.why) {
    case WorkerEnd::Why::kLeft:
      spdlog::info("left");
      return kLeft;
    case WorkerEnd::Why::kRefused:
      spdlog::error("the coordinator refuses this worker: {}", end.message);
      return kRefused;
    case WorkerEnd::Why::kNoExecutors:
      spdlog::error("cannot serve functions: {}", end.message);
      return kBadLibrary;
  }
  HAUL_CHECK(false);
}

// Made anew: what an earlier worker left there is nobody's.
absl::Status MakeResultsDirectory(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  std::filesystem::create_directories(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  return absl::OkStatus();
}

}  // namespace

int RunWorker(const WorkerOptions& options) {
  Signals signals;
  const LoopOptions loop_options = MakeLoopOptions(options, HostName());
  if (const absl::Status made = MakeResultsDirectory(ResultsDirectory(options)); !made.ok()) {
    spdlog::error("cannot start: {}", std::string(made.message()));
    return kFailed;
  }

  exec::Reactor reactor;
  Session session(reactor, {.address = options.coordinator, .token = options.token});
  Executors executors(reactor, MakeExecutorOptions(options, loop_options.core.threads));
  ChildCalls calls(reactor, options.coordinator, options.token);
  auto loop = WorkerLoop::Create(reactor, session, executors, calls, loop_options);
  if (!loop.ok()) {
    spdlog::error("cannot start: {}", std::string(loop.status().message()));
    return kFailed;
  }
  signals.DeliverTo(**loop, reactor, options.drain_deadline_ms);
  bool orphaned = false;
  const exec::ParentWatch guardian(reactor, exec::ParentWatch::GuardianPid(), [&] {
    spdlog::error("the guardian has died: ending what runs");
    orphaned = true;
    (*loop)->Stop();
  });

  const int status = ExitStatusOf((*loop)->Run());
  std::error_code ignored;
  std::filesystem::remove_all(ResultsDirectory(options), ignored);
  return orphaned ? kFailed : status;
}

}  // namespace haul::worker
