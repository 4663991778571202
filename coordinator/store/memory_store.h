// The store of volatile jobs, and of tests: everything in memory, within a bound if it is given
// one.
//
// Threads as in store.h; readers and the store share one lock, held for one call: a page, the
// inputs of a range, a commit. Recover may be called again: it then stands for another start over
// what was committed.
//
// Errors: a commit that would pass the bound gets RESOURCE_EXHAUSTED, changes nothing, and leaves
// the store usable. Any other error is a broken invariant, after which nothing is promised.
//
// Outcomes that adjoin in order of completion and are alike are kept as one, unless they are single
// tasks or have a payload. A sequence is therefore how many tasks of the job had ended by then: a
// cursor within a joined outcome, in either order, brings the rest of it, with its share of the
// durations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "common/mutex.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::size_t byte_limit = std::numeric_limits<std::size_t>::max())
      : byte_limit_(byte_limit) {}

  absl::StatusOr<Recovered> Recover() override;
  absl::Status Commit(const std::vector<Write>& writes) override;
  const std::vector<std::uint64_t>& outcome_sequences() const override {
    return outcome_sequences_;
  }
  absl::StatusOr<std::unique_ptr<StoreReader>> NewReader() override;

  // What is held, roughly.
  std::size_t bytes() const;

 private:
  class Reader;

  struct StoredOutcome {
    std::uint64_t ended_before = 0;  // tasks of the job, in order of completion
    Outcome outcome;
    std::uint64_t sequence() const { return ended_before + outcome.tasks.count; }
  };
  struct Inputs {
    absl::btree_map<TaskIndex, PackedBytes> chunks;
    TaskIndex end = 0;
    std::size_t bytes = 0;
  };
  struct Worker {
    WorkerJoined joined;
    bool left = false;
  };
  struct Job {
    JobAccepted record;
    std::string job_template;
    std::vector<StoredOutcome> outcomes;               // in order of completion
    absl::btree_map<TaskIndex, std::size_t> by_index;  // first -> position in outcomes
    std::vector<AttemptsCharged> attempts;
    std::vector<StartsRecorded> starts;
    std::vector<JobExtended> extensions;
    std::optional<JobCancelRequested> cancel;
    std::optional<JobEnded> ended;
    std::uint64_t ended_tasks = 0;
    std::size_t bytes = 0;
  };

  // One more record of a job's.
  template <typename Record>
  absl::Status Keep(const Record& write, std::vector<Record> Job::*records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const AppendInputs& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const DropInputs& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const AddJob& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const JobExtended& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const AddOutcome& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const AttemptsCharged& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const StartsRecorded& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const JobCancelRequested& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const JobEnded& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const JobForgotten& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const WorkerJoined& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Apply(const WorkerLeft& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Job* FindJob(JobId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropLooseInputs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddJobRecords(const Job& job, std::vector<DurableRecord>& records) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static bool CanJoin(const Outcome& last, const Outcome& next);
  static void Join(const Outcome& next, Outcome& last);
  // The position in `by_index` of the run that holds or follows `task`.
  static absl::btree_map<TaskIndex, std::size_t>::const_iterator RunAt(const Job& job,
                                                                       TaskIndex task);
  static OutcomePage ReadCompleted(const Job& job, const OutcomeQuery& query);
  static OutcomePage ReadInOrder(const Job& job, const OutcomeQuery& query);

  const std::size_t byte_limit_;
  std::vector<std::uint64_t> outcome_sequences_;  // of the store's thread
  mutable Mutex mutex_;
  std::size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  JobId last_job_ ABSL_GUARDED_BY(mutex_);
  WorkerId last_worker_ ABSL_GUARDED_BY(mutex_);
  InputSetId last_input_set_ ABSL_GUARDED_BY(mutex_);
  std::map<JobId, Job> jobs_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::pair<std::string, std::string>> requests_
      ABSL_GUARDED_BY(mutex_);  // of these jobs, each with its owner
  std::map<InputSetId, Inputs> inputs_ ABSL_GUARDED_BY(mutex_);
  std::map<WorkerId, Worker> workers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace haul::coordinator
