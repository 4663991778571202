#include "worker/exec/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

namespace haul::exec {
namespace {

// Appends the numbers of a file that holds numbers and spaces.
void ReadPids(const std::string& path, std::vector<pid_t>* pids) {
  constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // more than there can be processes
  const std::string text = ReadProcFile(path, kMostBytes);
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at) break;
    pids->push_back(static_cast<pid_t>(pid));
    at = end;
    while (*at == ' ') ++at;
  }
}

std::string FirstThreadsFile() {
  return "/proc/self/task/" + std::to_string(::getpid()) + "/children";
}

// Whichever of its threads has them. Leaves what has ended to who waits for it.
bool HasChildren() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

// While it lives, this thread is not kept from the cpu by thousands of others; where it may.
class Urgent {
 public:
  Urgent() : before_(::getpriority(PRIO_PROCESS, 0)) { ::setpriority(PRIO_PROCESS, 0, kMostNice); }
  ~Urgent() { ::setpriority(PRIO_PROCESS, 0, before_); }
  Urgent(const Urgent&) = delete;
  Urgent& operator=(const Urgent&) = delete;

 private:
  static constexpr int kMostNice = -20;
  const int before_;
};

// Stops what is found below `roots`, parents before their children are looked for; what was found
// before is stopped already. Whether anything was new.
bool StopTrees(const std::vector<pid_t>& roots, std::set<pid_t>* stopped) {
  bool any_new = false;
  std::set<pid_t> seen;
  std::vector<pid_t> queue = roots;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const pid_t pid = queue[i];
    if (pid <= 1 || pid == ::getpid() || !seen.insert(pid).second) continue;
    if (stopped->insert(pid).second) {
      any_new = true;
      ::kill(pid, SIGSTOP);
    }
    for (const pid_t child : ChildrenOf(pid)) queue.push_back(child);
  }
  return any_new;
}

}  // namespace

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
  std::vector<pid_t> children;
  ReadPids(FirstThreadsFile(), &children);
  return children;
}

bool ChildrenAreTold() { return ::access(FirstThreadsFile().c_str(), R_OK) == 0; }

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = ::opendir(tasks.c_str());
  if (directory == nullptr) return children;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    ReadPids(tasks + "/" + entry->d_name + "/children", &children);
  }
  ::closedir(directory);
  return children;
}

std::vector<pid_t> TreeOf(const std::vector<pid_t>& roots) {
  std::set<pid_t> seen(roots.begin(), roots.end());
  std::vector<pid_t> tree(seen.begin(), seen.end());
  for (std::size_t i = 0; i < tree.size(); ++i) {
    for (const pid_t child : ChildrenOf(tree[i])) {
      if (seen.insert(child).second) tree.push_back(child);
    }
  }
  return tree;
}

void KillTrees(const std::vector<pid_t>& roots) {
  // A fork in progress when its process is stopped still gives a child, which the next round finds.
  constexpr int kMostRounds = 1000;
  const Urgent urgent;
  std::set<pid_t> stopped;
  for (int round = 0; round < kMostRounds && StopTrees(roots, &stopped); ++round) {
  }
  for (const pid_t pid : stopped) ::kill(pid, SIGKILL);
}

std::uint64_t ResidentBytes(pid_t pid) {
  const std::string statm = ReadProcFile("/proc/" + std::to_string(pid) + "/statm", 4096);
  const std::size_t second = statm.find(' ');
  if (second == std::string::npos) return 0;
  return std::strtoull(statm.c_str() + second, nullptr, 10) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t ProportionalBytes(pid_t pid) {
  constexpr const char* kName = "\nPss:";
  const std::string smaps = ReadProcFile("/proc/" + std::to_string(pid) + "/smaps_rollup", 4096);
  const std::size_t at = smaps.find(kName);
  // Another user's by now, or a kernel that does not tell: then shared pages count more than once.
  if (at == std::string::npos) return ResidentBytes(pid);
  return std::strtoull(smaps.c_str() + at + std::strlen(kName), nullptr, 10) * 1024;
}

std::optional<std::uint64_t> ThreadsOfMachine() {
  const std::string load = ReadProcFile("/proc/loadavg", 4096);  // "0.20 0.18 0.12 1/80 11206"
  const std::size_t slash = load.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const std::uint64_t threads = std::strtoull(load.c_str() + slash + 1, nullptr, 10);
  if (threads == 0) return std::nullopt;
  return threads;
}

bool KillChildren(const std::function<bool(pid_t)>& spare, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  // What forks as fast as it is killed is outrun only by not sleeping; what does not die is not
  // worth a core.
  constexpr int kRoundsWithoutSleep = 2000;
  // What has children of its own faster than it can be killed one by one is stopped first.
  constexpr int kRoundsBetweenTrees = 50;
  for (int round = 0;; ++round) {
    std::vector<pid_t> left;
    bool any_reaped = false;
    for (const pid_t pid : FirstThreadsChildren()) {
      if (spare && spare(pid)) continue;
      if (::waitpid(pid, nullptr, WNOHANG) == pid) {
        any_reaped = true;
        continue;
      }
      left.push_back(pid);
      ::kill(pid, SIGKILL);
    }
    // What ended after the children were read has left its own to us.
    if (left.empty() && !any_reaped && (spare || !HasChildren())) return true;
    if (round % kRoundsBetweenTrees == kRoundsBetweenTrees - 1) KillTrees(left);
    if (std::chrono::steady_clock::now() > deadline) return false;
    if (round < kRoundsWithoutSleep) {
      ::sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

}  // namespace haul::exec
