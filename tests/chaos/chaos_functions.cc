// libchaos_functions.so: functions that say that they started, for the chaos tests.
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>

#include "haul/function.h"

namespace {

// Appends "JOB TASK ATTEMPT FENCING_TOKEN PID" to the file, sleeps so many milliseconds, and gives
// the task's index.
constexpr haul::Function<std::uint64_t(std::string, std::uint64_t)> kRecordStart{"record_start.v1"};

// Does the same; its first start also starts a shell with this command line, as a child of the
// executor, and goes on until the executor is ended. Later ones end at once.
constexpr haul::Function<std::uint64_t(std::string, std::string)> kRecordStartWithChild{
    "record_start_with_child.v1"};

void Append(const std::string& path, const std::string& line) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) throw std::runtime_error("cannot open " + path);
  const bool written = write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  close(fd);
  if (!written) throw std::runtime_error("cannot write " + path);
}

void RecordStart(const haul::Context& context, const std::string& path) {
  Append(path, std::to_string(context.job_id()) + " " + std::to_string(context.task_index()) + " " +
                   std::to_string(context.attempt()) + " " +
                   std::to_string(context.fencing_token()) + " " + std::to_string(getpid()) + "\n");
}

// Whether nobody asked this of this file before.
bool IsFirst(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

void Sleep(haul::Context& context, std::uint64_t milliseconds) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, context.stop_token(),
                 std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)),
                 [] { return false; });
  if (context.stop_requested()) throw std::runtime_error("stopped while it slept");
}

HAUL_SERVE(kRecordStart,
           [](haul::Context& context, const std::string& path, std::uint64_t milliseconds) {
             RecordStart(context, path);
             Sleep(context, milliseconds);
             return context.task_index();
           });

HAUL_SERVE(kRecordStartWithChild,
           [](haul::Context& context, const std::string& path, const std::string& line) {
             constexpr std::uint64_t kLongMs = 1'000'000;
             RecordStart(context, path);
             if (IsFirst(path + "." + std::to_string(context.task_index()))) {
               const char* const arguments[] = {"sh", "-c", line.c_str(), nullptr};
               pid_t child = 0;
               if (posix_spawnp(&child, "sh", nullptr, nullptr, const_cast<char* const*>(arguments),
                                environ) != 0) {
                 throw std::runtime_error("cannot start a shell");
               }
               Sleep(context, kLongMs);
             }
             return context.task_index();
           });

}  // namespace
