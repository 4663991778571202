// The threads that start processes, so that the loop never waits for one to start; and that start
// the next of an assignment when one ends, so that its place never waits for the loop.
//
// Owned by the loop thread, which sends requests and takes news. A launcher must outlive what it
// started: each process dies with the thread that spawned it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/time.h"
#include "worker/core/places.h"
#include "worker/exec/launch/command_template.h"
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

// A process has ended, and is to be waited for.
struct LaunchEnd {
  std::uint64_t key = 0;
  Now at;
};

// What happened, in the order in which it did within each list; what ended had started before.
struct LaunchNews {
  std::vector<LaunchResult> started;  // or not
  std::vector<LaunchEnd> ended;
};

class Launcher {
 public:
  static constexpr int kThreads = 2;
  // Requests that wait for a thread, and results that wait for the loop.
  static constexpr std::size_t kCapacity = 64;

  // `settings` must outlive the launcher. `wake` is called on a launcher's thread when there is
  // news that the loop does not look for by itself, or when a place stands empty.
  Launcher(const TaskSettings& settings, std::function<void()> wake);
  // Drops what waits and joins. What was launched in the meantime is in Take() after Close().
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // False when full or closed; then `request` is untouched. The caller looks for the news soon.
  [[nodiscard]] bool TryLaunch(LaunchRequest&& request);
  // Launched when a process of its assignment ends that was launched here: after the others that
  // wait so, one for each end (worker/core/places.h). Likewise.
  void LaunchAfter(LaunchRequest request);
  // From this time on none follows an end by itself: until it is put off again, or they are
  // withdrawn, such ends are not in the news. At first never; monotonic.
  void FollowUntil(std::int64_t monotonic_us);
  // The first that waits so is launched now.
  void Advance(AssignmentId assignment);
  // The keys of those that waited so, in their order; they do no more.
  std::vector<std::uint64_t> Withdraw(AssignmentId assignment);
  // One of the assignment that was to be launched ended without a process, so that no thread has
  // seen that.
  void EndedWithoutProcess(AssignmentId assignment);
  // To be said just before the worker's core is told of an end.
  void OnEndTold(AssignmentId assignment);
  // Never refused for want of room: one for each task that ended.
  void Remove(RemoveRequest request);
  // The news so far. With some, or with `looks_again`, the caller looks again soon.
  LaunchNews Take(bool looks_again);
  // Ends are seen by the threads. Sees those that there are now: for the case that every thread is
  // stuck, in the file system for example.
  void LookForEnds();
  // Drops what waits, and joins the threads: what they started ends with them.
  void Close();

 private:
  // What a thread does next.
  using Work = std::variant<std::monostate, LaunchRequest, RemoveRequest>;

  void Run();
  // What there is to do after an event of events_fd_; false: nothing more will be.
  [[nodiscard]] bool NextWork(std::uint64_t event, Work* work);
  Work TakeRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LaunchNow(std::optional<LaunchRequest> request);
  std::optional<LaunchRequest> OnEnd(LaunchEnd end);
  // Not before whoever waits may follow.
  bool IsTooLate(const LaunchEnd& end) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Those that were too late, if they are not now.
  void LookAtLateEnds();
  LaunchResult Launch(const LaunchRequest& request) const;
  void Deliver(AssignmentId assignment, LaunchResult result);
  void Signal() const;

  const TaskSettings& settings_;
  const std::function<void()> wake_;
  // An epoll instance that the threads wait at. It watches requests_fd_, and the pidfds of what was
  // launched until they are closed.
  const int events_fd_;
  const int requests_fd_;
  Mutex mutex_;
  std::deque<LaunchRequest> requests_ ABSL_GUARDED_BY(mutex_);
  std::deque<RemoveRequest> removals_ ABSL_GUARDED_BY(mutex_);
  // None is empty.
  absl::flat_hash_map<AssignmentId, worker::Places<LaunchRequest>> places_ ABSL_GUARDED_BY(mutex_);
  // What runs, by key.
  absl::flat_hash_map<std::uint64_t, AssignmentId> running_ ABSL_GUARDED_BY(mutex_);
  LaunchNews news_ ABSL_GUARDED_BY(mutex_);
  std::vector<LaunchEnd> late_ends_ ABSL_GUARDED_BY(mutex_);
  std::int64_t follow_until_us_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<std::int64_t>::max();
  bool looked_for_ ABSL_GUARDED_BY(mutex_) = false;  // the loop takes the news soon by itself
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace haul::exec
