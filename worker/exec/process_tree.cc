#include "worker/exec/process_tree.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>

namespace haul::exec {

void BecomeSubreaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

std::string ReadProcFile(const std::string& path, std::size_t most_bytes) {
  std::string content;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return content;
  char buffer[4096];
  while (content.size() < most_bytes) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    content.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return content;
}

std::vector<pid_t> FirstThreadsChildren() {
  constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // more than there can be processes
  const std::string text =
      ReadProcFile("/proc/self/task/" + std::to_string(::getpid()) + "/children", kMostBytes);
  std::vector<pid_t> children;
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at) break;
    children.push_back(static_cast<pid_t>(pid));
    at = end;
    while (*at == ' ') ++at;
  }
  return children;
}

bool KillChildren(const std::function<bool(pid_t)>& spare, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  // What forks as fast as it is killed is outrun only by not sleeping; what does not die is not
  // worth a core.
  constexpr int kRoundsWithoutSleep = 2000;
  for (int round = 0;; ++round) {
    bool any = false;
    for (const pid_t pid : FirstThreadsChildren()) {
      if (spare(pid)) continue;
      any = true;
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, WNOHANG);
    }
    if (!any) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    if (round < kRoundsWithoutSleep) {
      ::sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

}  // namespace haul::exec
