// How tasks ended, from when they end until the coordinator says that it is durable. The payloads
// are elsewhere; here are their order, sizes and batches. A plain value; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/container/btree_map.h"
#include "common/ids.h"
#include "common/interval_set.h"

namespace haul::worker {

class OwedOutcomes {
 public:
  struct Batch {
    AssignmentId assignment;
    JobId job;
    std::vector<TaskRange> tasks;
    std::size_t outcome_count = 0;
    std::size_t byte_count = 0;
    bool is_void = false;
  };
  struct Sealed {
    std::uint64_t sequence = 0;
    Batch batch;
  };

  void Add(AssignmentId assignment, JobId job, TaskRange tasks, std::size_t byte_count);

  // Some outcomes wait for a message.
  bool HasUnsent() const { return !unsealed_.empty() || HasUnsentBatch(); }
  bool HasUnsentBatch() const {
    return !batches_.empty() && batches_.rbegin()->first >= next_unsent_;
  }
  // The sequences of sealed batches that the next message takes, in order, of `byte_limit` bytes in
  // all but one at least; they count as sent.
  std::vector<std::uint64_t> TakeUnsent(std::size_t byte_limit, std::size_t* bytes_taken);
  // Seals one batch of at most `byte_limit` bytes, but one outcome at least. Unsealed outcomes
  // exist.
  Sealed Seal(std::size_t byte_limit);
  bool has_unsealed() const { return !unsealed_.empty(); }

  // What was sent may be lost: all of it is unsent again.
  void Resend() { next_unsent_ = batches_.empty() ? next_sequence_ : batches_.begin()->first; }
  // Takes out what is durable; sequences that were never given are ignored.
  std::vector<Batch> DurableThrough(std::uint64_t sequence);
  // Forgets what is owed of an assignment; returns the batches that became void.
  std::vector<std::uint64_t> Drop(AssignmentId assignment);

  std::size_t byte_count() const { return byte_count_; }
  bool empty() const { return unsealed_.empty() && batches_.empty(); }
  // For invariants: the tasks of an assignment that are owed.
  IntervalSet TasksOf(AssignmentId assignment) const;

 private:
  struct Item {
    TaskRange tasks;
    std::size_t byte_count = 0;
  };
  struct Unsealed {
    JobId job;
    std::deque<Item> items;
  };

  absl::btree_map<AssignmentId, Unsealed> unsealed_;  // the oldest assignment first
  absl::btree_map<std::uint64_t, Batch> batches_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t next_unsent_ = 1;
  std::size_t byte_count_ = 0;
};

}  // namespace haul::worker
