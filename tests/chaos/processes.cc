#include "tests/chaos/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "worker/exec/process_tree.h"
#include "worker/exec/spawn.h"

namespace haul::chaos {
namespace {

constexpr std::size_t kMostProcBytes = std::size_t{4} << 20;

std::vector<pid_t> AllPids() {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
      pids.push_back(static_cast<pid_t>(std::stol(name)));
    }
  }
  return pids;
}

int OpenForAppending(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) throw Failure(path + ": " + std::strerror(errno));
  return fd;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

std::chrono::milliseconds Await(const std::string& what, const std::function<bool()>& condition,
                                std::chrono::milliseconds limit) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const bool holds = condition();
    const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - start);
    if (holds) return passed;
    if (passed > limit) {
      throw Failure("waited " + std::to_string(passed.count()) + " ms in vain: " + what);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::optional<ProcessFacts> ReadProcess(pid_t pid) {
  const std::string text =
      exec::ReadProcFile("/proc/" + std::to_string(pid) + "/stat", kMostProcBytes);
  // The name stands in parentheses and may hold any byte, so the last one closes it.
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  ProcessFacts facts;
  facts.pid = pid;
  facts.name = text.substr(open + 1, close - open - 1);
  if (std::sscanf(text.c_str() + close + 1, " %c %d", &facts.state, &facts.parent) != 2) {
    return std::nullopt;
  }
  return facts;
}

bool IsRunning(pid_t pid) {
  const auto facts = ReadProcess(pid);
  return facts.has_value() && facts->state != 'Z' && facts->state != 'X';
}

std::vector<ProcessFacts> ChildrenOf(pid_t pid) {
  std::vector<ProcessFacts> children;
  for (const pid_t candidate : AllPids()) {
    const auto facts = ReadProcess(candidate);
    if (facts.has_value() && facts->parent == pid) children.push_back(*facts);
  }
  return children;
}

bool HasVariable(pid_t pid, std::string_view variable) {
  const std::string environment =
      exec::ReadProcFile("/proc/" + std::to_string(pid) + "/environ", kMostProcBytes);
  std::istringstream variables(environment);
  for (std::string one; std::getline(variables, one, '\0');) {
    if (one == variable) return true;
  }
  return false;
}

std::vector<ProcessFacts> ProcessesWith(std::string_view variable) {
  std::vector<ProcessFacts> found;
  for (const pid_t pid : AllPids()) {
    if (!HasVariable(pid, variable)) continue;
    if (const auto facts = ReadProcess(pid)) found.push_back(*facts);
  }
  return found;
}

Program::Program(const Options& options) : name_(Join(options.arguments)) {
  const Descriptor error(OpenForAppending(options.error_file));
  const Descriptor output(options.output_file.empty() ? -1 : OpenForAppending(options.output_file));
  exec::SpawnRequest request;
  request.arguments = options.arguments;
  request.environment = options.environment;
  request.descriptors = {-1, output.get() >= 0 ? output.get() : error.get(), error.get()};
  request.group = exec::ProcessGroup::kOwnGroup;
  const exec::SpawnResult started = exec::Spawn(request);
  if (!started.ok()) throw Failure(exec::DescribeFailure(request, started));
  pid_ = started.pid;
  pidfd_ = started.pidfd;
}

Program::~Program() {
  if (owned()) {
    Signal(SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  ::close(pidfd_);
}

void Program::Signal(int signal) {
  if (owned()) ::kill(pid_, signal);
}

std::optional<int> Program::Poll() {
  int status = 0;
  if (owned() && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

namespace {

// What the system says of each of its threads, for whoever wonders why it does not end.
std::string WhereItStands(pid_t pid) {
  const std::filesystem::path threads = "/proc/" + std::to_string(pid) + "/task";
  std::string text;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator(threads, gone)) {
    text += "\nthread " + thread.path().filename().string() + " waits in " +
            ReadFile(thread.path() / "wchan") + ", stack:\n" + ReadFile(thread.path() / "stack") +
            ReadFile(thread.path() / "status");
  }
  return text.empty() ? "the system knows nothing of it" : text;
}

}  // namespace

int Program::Wait(std::chrono::milliseconds limit) {
  pollfd ended{.fd = pidfd_, .events = POLLIN, .revents = 0};
  if (owned()) ::poll(&ended, 1, static_cast<int>(limit.count()));
  if (!Poll()) throw Failure("does not end: " + name_ + "; " + WhereItStands(pid_));
  return *status_;
}

std::string DescribeWaitStatus(int status) {
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

std::string RunTool(const std::vector<std::string>& arguments) {
  std::string pattern = std::filesystem::temp_directory_path() / "haul-tool-XXXXXX";
  const Descriptor file(::mkostemp(pattern.data(), O_CLOEXEC));
  if (file.get() < 0) throw Failure(pattern + ": " + std::strerror(errno));
  Program::Options options{.arguments = arguments, .error_file = pattern};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    options.environment.emplace_back(*variable);
  }
  int status = -1;
  std::string written;
  try {
    status = Program(options).Wait();
    written = ReadFile(pattern);
  } catch (const Failure& failure) {
    written = failure.what();
  }
  ::unlink(pattern.c_str());
  if (status != 0) throw Failure(Join(arguments) + ": " + written);
  return written;
}

std::int64_t UnixMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + word;
  return joined;
}

}  // namespace haul::chaos
