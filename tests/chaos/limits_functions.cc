// liblimits_functions.so: functions that fail, and that take others down with them.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "haul/function.h"

namespace {

// Appends "JOB TASK ATTEMPT FENCING_TOKEN PID" to the file and waits until `count` tasks have done
// so. Then the task of index `culprit` does its deed: "executor" kills the process that it runs in,
// "exit" ends it, "worker" kills that process's parent. The others give their index.
constexpr haul::Function<std::uint64_t(std::string, std::uint64_t, std::uint64_t, std::string)>
    kTakeDown{"take_down.v1"};

// Throws, and tells the number.
constexpr haul::Function<void(std::uint64_t)> kFail{"fail.v1"};

void RecordStart(const haul::Context& context, const std::string& path) {
  const std::string line =
      std::to_string(context.job_id()) + " " + std::to_string(context.task_index()) + " " +
      std::to_string(context.attempt()) + " " + std::to_string(context.fencing_token()) + " " +
      std::to_string(getpid()) + "\n";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) throw std::runtime_error("cannot open " + path);
  const bool written = write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  close(fd);
  if (!written) throw std::runtime_error("cannot write " + path);
}

std::uint64_t LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

HAUL_SERVE(kTakeDown, [](haul::Context& context, const std::string& path, std::uint64_t count,
                         std::uint64_t culprit, const std::string& deed) {
  RecordStart(context, path);
  while (LinesOf(path) < count) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (context.task_index() != culprit) return context.task_index();
  if (deed == "executor") kill(getpid(), SIGKILL);
  if (deed == "exit") _exit(3);
  if (deed == "worker") kill(getppid(), SIGKILL);
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
});

HAUL_SERVE(kFail, [](haul::Context&, std::uint64_t number) {
  throw std::runtime_error("this is failure number " + std::to_string(number));
});

}  // namespace
