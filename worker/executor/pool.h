// The threads of an executor and what they run: assignments by priority, then age, never more than
// an assignment's width of tasks at once.
//
// A thread takes a chunk of consecutive tasks under the pool's lock and then runs it without: a
// chunk is as long as some 200 microseconds of work, one task where tasks are longer. What has not
// started can be taken back from a chunk at any time, by idle threads or by the worker.
//
// Threads start as the widths of what is there ask for them, up to a limit, and leave when idle;
// `threads` of them stay. Run, Reclaim, StopTasks and Tick are called by one thread, which must not
// run user code; the functions, slots and outbox outlive the pool.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "haul/v1/executor.pb.h"
#include "worker/executor/assignment.h"
#include "worker/executor/child_calls.h"
#include "worker/executor/library.h"
#include "worker/executor/outbox.h"
#include "worker/executor/slots.h"
#include "worker/executor/task_runner.h"

namespace haul::executor {

struct PoolOptions {
  std::uint32_t threads = 1;
  std::uint32_t thread_limit = kSlotLimit;  // at most kSlotLimit
  ResultLimits results;
  std::int64_t idle_limit_ms = 2000;  // of threads beyond `threads`
};

class Pool {
 public:
  Pool(const PoolOptions& options, const FunctionTable* functions, Slots* slots, Outbox* outbox);
  // Waits for the tasks that run; what has not started never will.
  ~Pool();

  // Tasks that cannot run, since nobody serves their function or their inputs are malformed, fail
  // at once.
  void Run(v1::Run run);
  // Answers with one Reclaimed: adjoining tasks from the end, or none.
  void Reclaim(AssignmentId assignment, std::uint64_t count);
  // Answers with Reclaimed for whatever had not started. Returns when what waits for it knows.
  void StopTasks(AssignmentId assignment);
  void StopSome(AssignmentId assignment, TaskRange tasks, StopReason why);
  // Of what its tasks call.
  ChildCalls& calls() { return calls_; }
  // Every 20 ms or so while not idle: hands over what finished and waits behind long tasks.
  void Tick();

  // Nothing waits or runs, and every outcome is in the outbox.
  bool IsIdle() const;
  std::size_t thread_count() const;

 private:
  struct PoolThread {
    std::unique_ptr<TaskRunner> runner;
    std::thread thread;
    Chunk chunk;  // what it runs; without assignment: nothing
  };
  struct ClaimKey {
    std::int64_t negated_priority;
    std::uint64_t sequence;
    Assignment* assignment;
    friend auto operator<=>(const ClaimKey&, const ClaimKey&) = default;
  };

  absl::StatusOr<std::shared_ptr<Assignment>> Know(const v1::Run& run)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddTasks(v1::Run run) ABSL_LOCKS_EXCLUDED(mutex_);
  void Refuse(const v1::Run& run, const absl::Status& status);
  std::shared_ptr<Assignment> Find(AssignmentId id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Around every change of what claimable() or the key rests on.
  void Unlist(Assignment& assignment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void List(Assignment& assignment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteIfDrained(Assignment& assignment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Pending tasks of the last segments that adjoin, up to `limit`, and likewise those of a range.
  TaskRange TakePendingTail(Assignment& assignment, std::uint64_t limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<TaskRange> TakePendingAmong(Assignment& assignment, TaskRange tasks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TaskRange TakeRunnersTail(const Assignment& assignment, std::uint64_t limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeBackFromRunner(PoolThread& thread, TaskRange tasks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddPending(Assignment& assignment, Segment segment, bool at_front)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Threads.
  // Starts those that are missing for what is pending and for so many that steal, and says how many
  // of the waiting ones Wake shall wake: unlocked, or they would wake to wait for the lock.
  std::uint64_t StartThreads(std::uint64_t stealing = 0) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake(std::uint64_t threads) ABSL_LOCKS_EXCLUDED(mutex_);
  bool StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ThreadMain(std::uint32_t index);
  std::optional<Chunk> NextChunk(std::uint32_t index, TaskRunner::Ran ran, TaskRunner** runner)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveUpSeat(PoolThread& thread, TaskRunner::Ran ran) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Chunk> Claim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint64_t Stealable(const Assignment& assignment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Chunk> Steal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Chunk MakeChunk(const Assignment& assignment, TaskRange tasks,
                  std::shared_ptr<const Inputs> inputs, std::uint32_t attempt) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const PoolOptions options_;
  const FunctionTable& functions_;
  Slots& slots_;
  Outbox& outbox_;
  ChildCalls calls_;
  const std::uint32_t pid_;

  mutable Mutex mutex_;
  CondVar work_;
  absl::btree_map<AssignmentId, std::shared_ptr<Assignment>> assignments_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<ClaimKey> claimable_ ABSL_GUARDED_BY(mutex_);
  // Assignments without tasks, oldest first, kept in case more of one comes: at most kDrainedLimit.
  std::deque<std::pair<AssignmentId, std::uint64_t>> drained_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 1;
  std::uint64_t live_ ABSL_GUARDED_BY(mutex_) = 0;  // pending tasks and taken seats

  std::vector<PoolThread> threads_ ABSL_GUARDED_BY(mutex_);  // one a slot, made when first needed
  std::vector<std::uint32_t> free_threads_ ABSL_GUARDED_BY(mutex_);
  std::uint32_t running_threads_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint32_t idle_threads_ ABSL_GUARDED_BY(mutex_) = 0;  // and those just started
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace haul::executor
