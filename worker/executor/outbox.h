// What an executor tells its worker: threads put their outcomes in, and whichever finds nobody
// writing writes, while the others' gather for the next frame. Any thread.
//
// Bound: kUnsentLimit bytes and one batch a thread; a thread that finds more waits.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "common/outcome.h"
#include "haul/v1/executor.pb.h"

namespace haul::executor {

class Outbox {
 public:
  // Writes one frame, called by one thread at a time.
  using Write = std::function<void(const v1::FromExecutor&)>;
  static constexpr std::size_t kUnsentLimit = 8u << 20;

  explicit Outbox(Write write) : write_(std::move(write)) {}

  // Returns when the outcomes are written or someone else will write them. Merges what was not
  // reported one by one: see MergeInto.
  void AddOutcomes(AssignmentId assignment, std::vector<Outcome> outcomes, bool mergeable);
  // The same from the thread that reads the socket, which must never wait.
  void AddOutcomesWithoutWaiting(AssignmentId assignment, std::vector<Outcome> outcomes,
                                 bool mergeable);
  void AddReclaimed(AssignmentId assignment, TaskRange tasks);
  // What tasks ask for while they run, behind the outcomes and in this order within a frame.
  void AddCall(v1::ChildCall call);
  void AddWaiting(AssignmentId assignment, TaskIndex task);
  void AddResumable(AssignmentId assignment, TaskIndex task);

  // Returns when all that was added before is written.
  void WaitUntilWritten();

 private:
  struct Pending {
    std::vector<Outcome> outcomes;
    std::vector<TaskRange> reclaimed;
  };
  struct PendingFrames {
    absl::btree_map<AssignmentId, Pending> by_assignment;
    v1::FromExecutor of_tasks;  // calls, waiting and resumable
    bool has_any = false;
  };

  void Add(AssignmentId assignment, std::vector<Outcome> outcomes, bool mergeable)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return unsent_bytes_ <= kUnsentLimit;
  }
  bool AllWritten() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !writing_ && !pending_.has_any;
  }
  // Becomes the writer, unless there is one, until nothing is pending.
  void WritePending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteFrames(PendingFrames&& pending) const;

  const Write write_;
  Mutex mutex_;
  CondVar written_;
  PendingFrames pending_ ABSL_GUARDED_BY(mutex_);
  std::size_t unsent_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // pending, and being written
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace haul::executor
