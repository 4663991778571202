// The thread that owns the database handle: what the loop hands it while a commit is under way
// becomes the next transaction (group commit).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "coordinator/core/effects.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

class StoreThread {
 public:
  // `store` was recovered already and outlives this. `wake` is called on this thread after each
  // commit.
  StoreThread(Store& store, std::function<void()> wake);
  ~StoreThread();  // commits what it was given

  // Loop thread. When `through` shows in committed(), all of it is durable. Takes anything; the
  // loop keeps waiting_bytes() bounded by not reading from outside while it is high.
  void Commit(std::vector<Write> writes, RecordSequence through);

  RecordSequence committed() const { return committed_.load(std::memory_order_acquire); }
  std::size_t waiting_bytes() const { return waiting_bytes_.load(std::memory_order_relaxed); }
  // Of what was committed, the outcomes that are followed, in that order: all of those through
  // committed() as it was before this call, and no more than are durable.
  struct StoredOutcome {
    JobId job;
    OutcomePage::Entry entry;
  };
  std::vector<StoredOutcome> TakeFollowed();
  // The first failed commit; nothing is committed after it.
  absl::Status failure() const;

 private:
  void Main();
  void KeepFollowed(std::vector<Write>& writes);

  Store& store_;
  const std::function<void()> wake_;
  std::atomic<RecordSequence> committed_ = 0;
  std::atomic<std::size_t> waiting_bytes_ = 0;

  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<Write> writes_ ABSL_GUARDED_BY(mutex_);
  RecordSequence through_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<StoredOutcome> followed_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace haul::coordinator
