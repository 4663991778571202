#include "cli/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace haul::cli {
namespace {

// What the child does between vfork and exec: system calls alone, since it borrows our memory.
[[noreturn]] void BecomeChild(char* const* arguments, int output, int* error) {
  sigset_t none;
  sigemptyset(&none);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  // Handlers are gone after exec, but until then they would run in our memory.
  signal(SIGINT, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(arguments[0], arguments);
  *error = errno;
  _exit(127);
}

}  // namespace

std::string OwnProgram() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "haul" : path.string();
}

absl::StatusOr<std::string> HelperProgram(const std::string& name) {
  const std::filesystem::path here = std::filesystem::path(OwnProgram()).parent_path();
  const std::filesystem::path beside = here / name;
  if (access(beside.c_str(), X_OK) == 0) return beside.string();
  const std::filesystem::path installed = (here / "../libexec/haul" / name).lexically_normal();
  if (access(installed.c_str(), X_OK) == 0) return installed.string();
  return absl::NotFoundError(absl::StrCat(name, " is neither ", beside.string(), " nor ",
                                          installed.string(), ": install it there"));
}

absl::StatusOr<Child> StartChild(const std::vector<std::string>& arguments, bool read_output) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  int pipe[2] = {-1, -1};
  if (read_output && pipe2(pipe, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("pipe: ", strerror(errno)));
  }
  // Signals wait until the child has left our memory.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  volatile int error = 0;
  // NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): the child makes system calls alone.
  const pid_t pid = vfork();
  // NOLINTNEXTLINE(clang-analyzer-unix.Vfork): it calls nothing else before it execs.
  if (pid == 0) BecomeChild(pointers.data(), pipe[1], const_cast<int*>(&error));
  if (pid < 0) error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pipe[1] >= 0) close(pipe[1]);
  if (error != 0) {
    if (pipe[0] >= 0) close(pipe[0]);
    if (pid > 0) waitpid(pid, nullptr, 0);
    return absl::InternalError(absl::StrCat(arguments[0], ": ", strerror(error)));
  }
  Child child;
  child.pid = pid;
  child.pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  HAUL_CHECK(child.pidfd >= 0);
  child.output = pipe[0];
  return child;
}

int WaitForChild(Child& child) {
  int status = 0;
  while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(child.pidfd);
  if (child.output >= 0) close(child.output);
  child = Child();
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace haul::cli
