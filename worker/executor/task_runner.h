// Runs chunks of tasks on one thread, and lets others look in: take the part that has not started,
// ask what runs to stop, or hand over what is finished while a long task holds the thread.
//
// Run() belongs to one thread at a time; the other methods to any. Outlives the calls that it
// makes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "haul/function.h"
#include "worker/executor/assignment.h"
#include "worker/executor/batch.h"
#include "worker/executor/child_calls.h"
#include "worker/executor/outbox.h"
#include "worker/executor/output_capture.h"
#include "worker/executor/slots.h"

namespace haul::executor {

// What a task may return, and where it goes if it is large.
struct ResultLimits {
  std::uint64_t bytes = std::uint64_t{1} << 30;
  std::string directory;
};

// Why a single task is asked to stop.
enum class StopReason : std::uint8_t { kNone, kCancelled, kTimedOut };

class TaskRunner {
 public:
  // The slot, the outbox and the calls must outlive it. Results over OutputCapture::kInlineBytes
  // become files in the limits' directory, whose names begin with `file_prefix`.
  TaskRunner(Slot* slot, Outbox* outbox, ChildCalls* calls, const ResultLimits& limits,
             std::string file_prefix);
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  struct Ran {
    std::uint64_t tasks = 0;
    std::uint64_t elapsed_ns = 0;
  };
  // Before Run, so that the chunk can be taken from at once. Nothing runs here meanwhile.
  void Load(const Chunk& chunk);
  // Runs what was loaded. Returns when every task has ended, or was taken away, and the outcomes
  // are in the outbox.
  Ran Run(const Chunk& chunk);

  // Takes up to `limit` tasks from the end of what has not started; half of it (rounded up) with
  // kHalf.
  static constexpr std::uint64_t kHalf = 0;
  TaskRange TakeTail(std::uint64_t limit);
  std::uint64_t NotStartedCount();
  // If some of these have not started, takes the first of them and all that follow it here.
  TaskRange TakeFrom(TaskRange tasks);
  // Marks what runs here, if it is one of these, as asked to stop.
  bool StopIfAmong(TaskRange tasks, StopReason why);
  // Tells a task that waits for it that it is asked to stop. Runs user code: hold no lock.
  void NotifyStop();
  // Takes what finished, if that has waited behind a running task for a while. `task_ns` is what a
  // task of the chunk takes by experience, since nobody measured these.
  std::vector<Outcome> TakeStuck(std::uint64_t task_ns);

 private:
  static constexpr TaskIndex kNoTask = ~TaskIndex{0};

  std::optional<TaskIndex> Begin(std::int64_t now_ns);
  void Call(const Chunk& chunk, TaskIndex task);
  std::optional<TaskIndex> FinishAndNext(const Chunk& chunk, TaskIndex task);
  void HandOver(const Chunk& chunk, std::vector<Outcome> outcomes);
  std::optional<TaskIndex> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RenewResult();
  void Record(const Chunk& chunk, TaskIndex task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RecordResult(const Chunk& chunk, TaskIndex task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string FailureMessage() const;
  std::vector<Outcome> Settle(const Chunk& chunk, std::int64_t now_ns)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::int64_t UnixUs(std::int64_t steady_ns) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return steady_ns / 1000 + unix_offset_us_;
  }
  bool StopRequested() const;

  // What a function asks of its host; `task` is the TaskRunner.
  static void AppendResult(void* task, const void* data, std::uint64_t size);
  static void SetError(void* task, const char* message, std::uint64_t size);
  static std::int32_t IsStopRequested(void* task);
  static void WatchStop(void* task, void (*on_stop)(void*), void* argument);
  static void Log(void* task, const char* text, std::uint64_t size);
  static std::uint64_t Submit(void* task, const char* function, const char* signature,
                              const void* arguments, std::uint64_t size);
  static void Wait(void* task, std::uint64_t number, haul_answer* answer);
  static void Progress(void* task, double done);
  static const haul_host kHost;

  Slot& slot_;
  Outbox& outbox_;
  ChildCalls& calls_;
  const ResultLimits limits_;
  const std::string file_prefix_;

  // Of the thread that is in Run().
  haul_call call_{};
  const Assignment* assignment_ = nullptr;
  std::uint64_t files_ = 0;
  std::string result_file_;              // its name, should there be one
  std::optional<OutputCapture> result_;  // anew after every file
  std::uint64_t result_bytes_ = 0;       // more than result_ has if it is over the limit
  int result_error_ = 0;                 // errno: result_ is not complete
  std::string error_;
  bool failed_ = false;
  bool made_calls_ = false;
  ChildCalls::Answer answer_;         // the last one taken
  std::int64_t task_started_ns_ = 0;  // with detail or a time limit
  std::uint64_t tasks_run_ = 0;

  std::atomic<StopReason> stop_current_{StopReason::kNone};

  // Held for some instructions between two tasks, so without contention.
  Mutex mutex_;
  TaskIndex next_ ABSL_GUARDED_BY(mutex_) = 0;
  TaskIndex end_ ABSL_GUARDED_BY(mutex_) = 0;
  TaskIndex current_ ABSL_GUARDED_BY(mutex_) = kNoTask;
  Batch batch_ ABSL_GUARDED_BY(mutex_);
  bool detail_ ABSL_GUARDED_BY(mutex_) = false;
  // The time up to which the chunk's duration is accounted for.
  std::int64_t settled_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t unix_offset_us_ ABSL_GUARDED_BY(mutex_) =
      0;  // of the wall clock against the steady one

  // Held while a task is told to stop.
  Mutex watch_mutex_;
  void (*on_stop_)(void*) ABSL_GUARDED_BY(watch_mutex_) = nullptr;
  void* on_stop_argument_ ABSL_GUARDED_BY(watch_mutex_) = nullptr;
};

}  // namespace haul::executor
