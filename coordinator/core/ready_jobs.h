// The jobs that have ready tasks, in the orders in which scheduling asks for them, so that a pass
// costs as much as it gives out and not as much as waits. Part of State.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "common/ids.h"
#include "coordinator/core/records.h"

namespace haul::coordinator {

// Which of two jobs is served first: the lesser.
struct ServeOrder {
  std::int64_t priority_negated = 0;
  std::int64_t depth_negated = 0;
  std::uint64_t reserved_milli = 0;
  std::uint64_t virtual_us = 0;
  JobId job;
  friend auto operator<=>(const ServeOrder&, const ServeOrder&) = default;
};
using ServeQueue = absl::btree_set<ServeOrder>;

// What decides where a job can run: where one of this shape finds no room, no other does.
struct WorkShape {
  std::uint32_t cpus_milli = 0;
  std::uint32_t depth = 0;
  WorkKind kind = WorkKind::kCommand;
  std::string function;
  std::string signature;

  static WorkShape Of(const JobSpec& spec) {
    return {spec.cpus_milli, spec.depth, spec.kind, spec.function, spec.signature};
  }
  friend auto operator<=>(const WorkShape&, const WorkShape&) = default;
};

class ReadyJobs {
 public:
  // Where a job stands; kept with it.
  struct Place {
    std::optional<std::uint64_t> virtual_us;  // in by_use()
    std::optional<ServeOrder> order;          // in a queue
    bool apart = false;
  };
  // Moves a job. `order`: none where it has to wait for its own limit or for adoption. `apart`:
  // what it has does not run wherever others of its shape do.
  void Put(JobId job, const JobSpec& spec, Place& place, std::uint64_t virtual_us,
           const std::optional<ServeOrder>& order, bool apart);
  void Remove(JobId job, const JobSpec& spec, Place& place);

  // Those that may have more running, by shape; and those apart.
  const absl::btree_map<WorkShape, ServeQueue>& queues() const { return queues_; }
  const ServeQueue& apart() const { return apart_; }
  std::uint64_t queued() const { return queued_; }

  struct Use {
    std::int32_t priority = 0;
    std::uint64_t virtual_us = 0;
    JobId job;
    friend auto operator<=>(const Use&, const Use&) = default;
  };
  // All that have ready tasks.
  const absl::btree_set<Use>& by_use() const { return by_use_; }

  // Tasks of this priority used so much: each that has ready tasks had a claim to its share.
  void Used(std::int32_t priority, std::uint64_t used_us);
  // Where a job stands that now comes among those of its priority: with the least of the others,
  // or where the claims of one that was always there would have brought it. A steady flow of new
  // jobs is so behind whoever waits, however much that one has used.
  std::uint64_t StartOf(std::int32_t priority, JobId newcomer) const;

 private:
  // One priority's virtual time, as in weighted fair queueing (A. Demers, S. Keshav, S. Shenker,
  // SIGCOMM 1989).
  struct Clock {
    std::uint64_t ready_jobs = 0;
    std::uint64_t virtual_ns = 0;
  };
  void RemoveUse(const Use& use);
  void Enqueue(const JobSpec& spec, const ServeOrder& order, bool apart);
  void Dequeue(const JobSpec& spec, const ServeOrder& order, bool apart);

  absl::btree_map<WorkShape, ServeQueue> queues_;  // none is empty
  ServeQueue apart_;
  std::uint64_t queued_ = 0;
  absl::btree_set<Use> by_use_;
  absl::btree_map<std::int32_t, Clock> clocks_;  // by priority
};

}  // namespace haul::coordinator
