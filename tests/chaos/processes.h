// Processes as the chaos tests see them: starting programs, reading /proc, waiting for what must
// become true.
//
// Any thread; but a Program's process dies with the *thread* that started it, so start what shall
// live from the test's own. What a test's surroundings do not give it, and waits that were in vain,
// are thrown as Failure, which GoogleTest turns into a failed test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace haul::chaos {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// How long something may take on a machine that is busy with other things.
inline constexpr std::chrono::seconds kPatience{120};

// Asks every few milliseconds until `condition` holds; throws Failure with `what` after `limit`.
// Gives how long that took.
std::chrono::milliseconds Await(const std::string& what, const std::function<bool()>& condition,
                                std::chrono::milliseconds limit = kPatience);

struct ProcessFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';  // as in /proc/PID/stat: R, S, D, T (stopped), Z (zombie) …
  std::string name;  // the first 15 bytes of the program's
};

// Absent: there is no such process any more.
std::optional<ProcessFacts> ReadProcess(pid_t pid);
// There, and no zombie.
bool IsRunning(pid_t pid);
std::vector<ProcessFacts> ChildrenOf(pid_t pid);
// Whose environment has `variable`, a whole "NAME=value". Zombies have none.
std::vector<ProcessFacts> ProcessesWith(std::string_view variable);
bool HasVariable(pid_t pid, std::string_view variable);

// A program that was started; killed and waited for with the object.
class Program {
 public:
  struct Options {
    std::vector<std::string> arguments;    // the program first
    std::vector<std::string> environment;  // "NAME=value", nothing else
    std::string output_file;               // stdout, appended; empty: stderr's
    std::string error_file;                // stderr, appended
  };

  explicit Program(const Options& options);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  // Whether it has not been waited for. Only then may its pid be signalled: it is nobody else's.
  bool owned() const { return !status_.has_value(); }
  void Signal(int signal);
  // Its wait status, if it has ended.
  std::optional<int> Poll();
  // Throws Failure when it has not ended after `limit`.
  int Wait(std::chrono::milliseconds limit = kPatience);

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::string name_;
  std::optional<int> status_;
};

// "exit status 3" or "signal 9".
std::string DescribeWaitStatus(int status);

// Runs `arguments` to its end with this process's environment; throws Failure with what it wrote
// unless it ends with status 0. Gives its stdout.
std::string RunTool(const std::vector<std::string>& arguments);

std::int64_t UnixMicroseconds();                // now
std::string ReadFile(const std::string& path);  // empty where there is none
std::string Join(const std::vector<std::string>& words);

}  // namespace haul::chaos
