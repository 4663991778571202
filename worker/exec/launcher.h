// The threads that start processes, so that the loop never waits for one to start.
//
// Owned by the loop thread, which sends requests and takes results; the threads keep no state
// between two. A launcher must outlive what it started: each process dies with the thread that
// spawned it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "common/time.h"
#include "worker/exec/command_template.h"
#include "worker/exec/spawn.h"

namespace haul::exec {

struct LaunchRequest {
  std::uint64_t key = 0;  // the caller's
  CommandTask task;
  std::string temporary_directory;  // to be made for it; empty: none
};

// A directory tree that is no longer needed.
struct RemoveRequest {
  std::string path;
};

struct LaunchResult {
  std::uint64_t key = 0;
  SpawnResult spawned;
  // The reading ends of the process's stdout and stderr, not blocking; -1 where it failed.
  int output_fd = -1;
  int error_fd = -1;
  Now started;
  // The worker's own peak of memory: rusage cannot tell a smaller one of the process, which shared
  // the worker's memory until it executed.
  std::uint64_t own_peak_memory_bytes = 0;
  std::string failure;  // for people; where it failed
};

class Launcher {
 public:
  static constexpr int kThreads = 2;
  // Requests that wait for a thread, and results that wait for the loop.
  static constexpr std::size_t kCapacity = 64;

  // `settings` must outlive the launcher. `wake` is called on a launcher's thread when something
  // did not start. Of what did, the loop hears with its end, or when it looks: most commands end
  // soon, and are worth one wake.
  Launcher(const TaskSettings& settings, std::function<void()> wake);
  // Drops what waits and joins. What was launched in the meantime is in TakeResults() after
  // Close().
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // False when full or closed; then `request` is untouched.
  bool TryLaunch(LaunchRequest&& request);
  // Never refused for want of room: one for each task that ended.
  void Remove(RemoveRequest request);
  // The results so far, oldest first.
  std::vector<LaunchResult> TakeResults();
  // Readable when a process that was launched has ended.
  int ends_fd() const { return ends_fd_; }
  // The keys of those that have ended, each once; their results were there before. They are to be
  // waited for.
  std::vector<std::uint64_t> TakeEnded();
  // Drops what waits, and joins the threads: what they started ends with them.
  void Close();

 private:
  using Request = std::variant<LaunchRequest, RemoveRequest>;

  void Run();
  LaunchResult Launch(const LaunchRequest& request) const;
  void Deliver(LaunchResult result);
  void WatchEnd(std::uint64_t key, int pidfd) const;

  const TaskSettings& settings_;
  const std::function<void()> wake_;
  const int ends_fd_;  // an epoll instance that watches pidfds until they are closed
  Mutex mutex_;
  CondVar changed_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<LaunchResult> results_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace haul::exec
