#include "worker/exec/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

// The child shares the caller's memory until it executes, and never returns from its function: a
// sanitizer that kept its shadow stack or signal tables from within it would spoil those of the
// caller.
#define HAUL_IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

// glibc's clone by its other name: ThreadSanitizer takes `clone` for a fork, though it shares the
// memory, and from then on takes this process for the child of one.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

namespace haul::exec {
namespace {

constexpr std::size_t kChildStackBytes = 32 * 1024;
constexpr int kLastSignal = 64;

// The kernel's own form: glibc's cannot name the two signals that it keeps for itself.
struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  std::uint64_t mask;
};

// Everything the child needs, made ready before it exists: it must not touch the heap.
struct ChildPlan {
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  const char* const* candidates = nullptr;  // ends with null
  const char* directory = nullptr;          // or null
  const char* stdin_file = nullptr;         // or null
  std::array<int, SpawnRequest::kMostDescriptors> descriptors{};
  int descriptor_count = 0;
  ProcessGroup group = ProcessGroup::kOwnSession;
  int death_signal = 0;
  pid_t parent = 0;
  bool has_open_files_limit = false;
  rlimit open_files{};
  SignalSet signals_to_reset = ~SignalSet{0};
  // Written by the child.
  SpawnStep failed_step = SpawnStep::kNone;
  int error = 0;
};

[[noreturn]] HAUL_IN_CHILD void Fail(ChildPlan* plan, SpawnStep step) {
  plan->error = errno;
  plan->failed_step = step;
  for (;;) ::syscall(SYS_exit_group, 127);
}

// A handler of the caller's must never run in the child: default all before the mask opens.
HAUL_IN_CHILD void ResetSignals(const ChildPlan* plan) {
  KernelSigaction action{};  // SIG_DFL
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    if ((plan->signals_to_reset >> (signal - 1) & 1) == 0) continue;
    ::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
  }
  const std::uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

HAUL_IN_CHILD void JoinGroup(ChildPlan* plan) {
  if (plan->group == ProcessGroup::kOwnSession && ::syscall(SYS_setsid) < 0) {
    Fail(plan, SpawnStep::kSetup);
  }
  if (plan->group == ProcessGroup::kOwnGroup && ::syscall(SYS_setpgid, 0, 0) < 0) {
    Fail(plan, SpawnStep::kSetup);
  }
  if (plan->death_signal == 0) return;
  if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, plan->death_signal, 0, 0, 0) < 0) {
    Fail(plan, SpawnStep::kSetup);
  }
  // The caller may have died before the line above took effect.
  if (::syscall(SYS_getppid) != plan->parent) {
    errno = ECHILD;
    Fail(plan, SpawnStep::kSetup);
  }
}

// Opened without blocking, or a FIFO that nobody writes would hold the caller.
HAUL_IN_CHILD int OpenInput(ChildPlan* plan) {
  const long fd = ::syscall(SYS_openat, AT_FDCWD, plan->stdin_file,
                            O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0 || ::syscall(SYS_fcntl, fd, F_SETFL, 0) < 0) Fail(plan, SpawnStep::kStdin);
  return static_cast<int>(fd);
}

HAUL_IN_CHILD void PlaceDescriptors(ChildPlan* plan) {
  const int count = plan->descriptor_count;
  std::array<int, SpawnRequest::kMostDescriptors>& from = plan->descriptors;
  if (plan->stdin_file != nullptr) from[0] = OpenInput(plan);
  // First above the places to fill, so that none is overwritten before its turn.
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    long fd = from[i];
    if (fd < 0) fd = ::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
    if (fd >= 0 && fd < count) fd = ::syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, count);
    if (fd < 0) Fail(plan, SpawnStep::kSetup);
    from[i] = static_cast<int>(fd);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    if (::syscall(SYS_dup3, from[i], static_cast<int>(i), 0) < 0) Fail(plan, SpawnStep::kSetup);
  }
  // Without the call (an old system call filter) close-on-exec has to do, which all of Haul's have.
  ::syscall(SYS_close_range, static_cast<unsigned>(count), ~0u, 0u);
}

[[noreturn]] HAUL_IN_CHILD void Execute(ChildPlan* plan) {
  int error = ENOENT;
  for (const char* const* candidate = plan->candidates; *candidate != nullptr; ++candidate) {
    ::syscall(SYS_execve, *candidate, plan->arguments, plan->environment);
    if (errno == ENOENT || errno == ENOTDIR) continue;
    error = errno;
    if (error != EACCES) break;
  }
  errno = error;
  Fail(plan, SpawnStep::kExec);
}

HAUL_IN_CHILD int RunChild(void* argument) {
  auto* plan = static_cast<ChildPlan*>(argument);
  JoinGroup(plan);
  if (plan->directory != nullptr && ::syscall(SYS_chdir, plan->directory) < 0) {
    Fail(plan, SpawnStep::kDirectory);
  }
  PlaceDescriptors(plan);
  if (plan->has_open_files_limit) {
    ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &plan->open_files, nullptr);
  }
  ResetSignals(plan);
  Execute(plan);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The clone itself, with every signal blocked: none may be handled by the child in the caller's
// memory.
SpawnResult CloneAndRun(ChildPlan* plan) {
  const std::unique_ptr<char[]> stack(new char[kChildStackBytes]);
  const std::uint64_t all = ~std::uint64_t{0};
  std::uint64_t before = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  SpawnResult result;
  constexpr int kFlags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
  // The stack grows down; its end must be aligned.
  auto* top = reinterpret_cast<char*>(
      (reinterpret_cast<std::uintptr_t>(stack.get()) + kChildStackBytes) & ~std::uintptr_t{63});
  result.pid = ::__clone(RunChild, top, kFlags, plan, &result.pidfd);
  const int clone_error = errno;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
  if (result.pid < 0) {
    result.pidfd = -1;
    result.failed_step = SpawnStep::kProcess;
    result.error = clone_error;
  } else if (plan->failed_step != SpawnStep::kNone) {
    while (::waitpid(result.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    ::close(result.pidfd);
    result = SpawnResult{.failed_step = plan->failed_step, .error = plan->error};
  }
  return result;
}

}  // namespace

std::optional<std::string_view> FindVariable(const std::vector<std::string>& environment,
                                             std::string_view name) {
  for (const std::string_view variable : environment) {
    if (variable.size() > name.size() && variable[name.size()] == '=' &&
        variable.substr(0, name.size()) == name) {
      return variable.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

std::vector<std::string> ProgramCandidates(std::string_view program, std::string_view path) {
  if (program.find('/') != std::string_view::npos) return {std::string(program)};
  std::vector<std::string> candidates;
  if (program.empty()) return candidates;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    // An empty directory is the current one, as everywhere.
    std::string candidate(path.substr(begin, end - begin));
    if (!candidate.empty() && candidate.back() != '/') candidate += '/';
    candidates.push_back(candidate.append(program));
    begin = end + 1;
  }
  return candidates;
}

SignalSet SignalsToReset() {
  SignalSet set = 0;
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    KernelSigaction action{};
    if (::syscall(SYS_rt_sigaction, signal, nullptr, &action, sizeof action.mask) != 0 ||
        action.handler != nullptr) {
      set |= SignalSet{1} << (signal - 1);
    }
  }
  return set;
}

SpawnResult Spawn(const SpawnRequest& request) {
  if (request.arguments.empty() || request.descriptors.size() > SpawnRequest::kMostDescriptors ||
      (!request.stdin_file.empty() && request.descriptors.empty())) {
    return {.failed_step = SpawnStep::kSetup, .error = EINVAL};
  }
  const std::vector<std::string> candidates =
      ProgramCandidates(request.arguments.front(),
                        FindVariable(request.environment, "PATH").value_or("/usr/bin:/bin"));
  const std::vector<char*> arguments = Pointers(request.arguments);
  const std::vector<char*> environment = Pointers(request.environment);
  const std::vector<char*> candidate_pointers = Pointers(candidates);

  ChildPlan plan;
  plan.arguments = arguments.data();
  plan.environment = environment.data();
  plan.candidates = candidate_pointers.data();
  if (!request.directory.empty()) plan.directory = request.directory.c_str();
  if (!request.stdin_file.empty()) plan.stdin_file = request.stdin_file.c_str();
  plan.descriptor_count = static_cast<int>(request.descriptors.size());
  std::copy(request.descriptors.begin(), request.descriptors.end(), plan.descriptors.begin());
  plan.group = request.group;
  plan.death_signal = request.death_signal;
  plan.parent = ::getpid();
  plan.signals_to_reset = request.signals_to_reset.value_or(plan.signals_to_reset);
  if (request.open_files_soft_limit && ::getrlimit(RLIMIT_NOFILE, &plan.open_files) == 0) {
    plan.has_open_files_limit = true;
    plan.open_files.rlim_cur = std::min(*request.open_files_soft_limit, plan.open_files.rlim_max);
  }
  return CloneAndRun(&plan);
}

std::string DescribeFailure(const SpawnRequest& request, const SpawnResult& result) {
  const std::string why = std::strerror(result.error);
  const std::string program = request.arguments.empty() ? "" : request.arguments.front();
  switch (result.failed_step) {
    case SpawnStep::kNone:
      return "";
    case SpawnStep::kProcess:
      return "cannot create a process for '" + program + "': " + why;
    case SpawnStep::kSetup:
      return "cannot prepare the process of '" + program + "': " + why;
    case SpawnStep::kDirectory:
      return "cannot enter directory '" + request.directory + "': " + why;
    case SpawnStep::kStdin:
      return "cannot open stdin file '" + request.stdin_file + "': " + why;
    case SpawnStep::kExec:
      break;
  }
  if (result.error == ENOENT) {
    const auto path = FindVariable(request.environment, "PATH").value_or("/usr/bin:/bin");
    for (const std::string& candidate : ProgramCandidates(program, path)) {
      if (candidate.front() == '/' && ::access(candidate.c_str(), F_OK) == 0) {
        return "cannot run '" + candidate + "': the interpreter that it names does not exist";
      }
    }
  }
  if (result.error == ENOEXEC) {
    return "cannot run '" + program + "': not a program (a script needs a first line with #!)";
  }
  return "cannot run '" + program + "': " + why;
}

}  // namespace haul::exec
