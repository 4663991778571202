// What the core does not see: what jobs are, the inputs of tasks that are held, and how tasks
// ended, from the outcome until it is durable. Owned by the loop; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "common/packed_bytes.h"
#include "haul/v1/common.pb.h"
#include "haul/v1/session.pb.h"
#include "worker/core/effects.h"
#include "worker/core/events.h"
#include "worker/exec/launch/command_template.h"

namespace haul::worker {

// A job as a worker needs it.
struct KnownJob {
  v1::JobSpec spec;
  // Of commands: or why it cannot be understood, which fails each of its tasks.
  absl::StatusOr<std::shared_ptr<const exec::CommandSpec>> command = nullptr;
};

// Inputs of consecutive tasks.
struct InputChunk {
  TaskRange tasks;
  PackedBytes values;
};

class Payloads {
 public:
  // Specifications of jobs of which nothing is held any more: the coordinator may still be sending
  // an assignment without one, since it thought that something was.
  static constexpr std::size_t kIdleJobs = 64;

  // Takes the spec and the inputs in. InvalidArgument: malformed, or at odds with what came before;
  // NotFound: the job is not known here.
  absl::StatusOr<AssignmentReceived> Add(v1::Assignment&& message);
  // Nothing of the assignment is held any more.
  void Forget(AssignmentId assignment, JobId job);

  // Of a job of which something is held.
  const KnownJob& job(JobId id) const;
  // The input of a task that is held; empty with an array.
  std::string_view InputOf(AssignmentId assignment, TaskIndex task) const;
  // The parts of the range by the chunks that their inputs came in; one part with an array.
  std::vector<InputChunk> InputsOf(AssignmentId assignment, TaskRange tasks) const;

  // An outcome waits for its batch.
  void Keep(AssignmentId assignment, Outcome outcome);
  void Seal(const SealBatch& seal);
  const v1::OutcomeBatch& batch(std::uint64_t sequence) const;
  void VoidBatch(std::uint64_t sequence);
  void ForgetBatches(std::uint64_t through);

 private:
  struct Entry {
    JobId job;
    std::vector<InputChunk> inputs;  // by rising ranges
    std::deque<Outcome> unsealed;
  };
  struct JobEntry {
    std::shared_ptr<const KnownJob> job;
    std::uint64_t assignments = 0;
  };

  absl::StatusOr<std::shared_ptr<const KnownJob>> JobOf(v1::Assignment& message) const;

  absl::btree_map<AssignmentId, Entry> assignments_;
  absl::btree_map<JobId, JobEntry> jobs_;
  std::deque<JobId> idle_jobs_;  // oldest first; some may have come back
  absl::btree_map<std::uint64_t, v1::OutcomeBatch> batches_;
};

// A welcome as the core takes it; a lease beyond 100 years is one of 100 years.
Welcomed FromWire(const v1::Welcome& welcome);

}  // namespace haul::worker
