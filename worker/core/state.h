// What a worker's core knows. Plain values, ordered containers; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "common/ids.h"
#include "common/interval_set.h"
#include "worker/core/events.h"
#include "worker/core/owed_outcomes.h"

namespace haul::worker {

// What the coordinator gave, while this worker answers for any of it.
struct HeldAssignment {
  JobId job;
  WorkKind kind = WorkKind::kCommand;
  bool alone = false;
  bool at_most_once = false;
  bool own_process = false;
  std::uint32_t tasks_per_process = 0;
  std::uint32_t depth = 0;
  std::int32_t priority = 0;
  std::uint64_t cpus_milli = 0;  // of one task, at most what this worker has

  IntervalSet held;       // not yet answered for: an outcome that is durable, or handed back
  IntervalSet pending;    // of these: not started, and here
  IntervalSet uploading;  // of these: ended, its large output on the way to the coordinator
  absl::btree_map<TaskIndex, std::uint32_t> charged;

  bool cancelled = false;
  IntervalSet unwanted;  // cancelled alone, and not answered for
  std::string cancelled_by;
  std::deque<std::uint64_t> revokes;  // how many tasks each unanswered revoke still asks for
  IntervalSet revoked;                // taken for the first of them

  bool is_cancelled(TaskRange tasks) const { return cancelled || unwanted.ContainsAll(tasks); }
};

// A job has an entry while an assignment or something running refers to it.
struct HeldJob {
  std::uint64_t width = 1;    // tasks at once here
  std::uint64_t running = 0;  // tasks that reserve a share of it
  std::uint64_t assignments = 0;
};

struct RunningCommand {
  JobId job;
  std::uint64_t cpus_milli = 0;
  bool abandoned = false;  // nobody waits for its outcome
  // Has no place of its own, as far as is known: it takes that of one of its assignment that ends.
  bool ahead = false;
};

// Commands of one assignment that were given ahead, in the order in which they take places. While
// there are any, one of the assignment has a place.
struct CommandsAhead {
  std::deque<TaskIndex> tasks;
  bool may_give_back = true;  // as far as is known, some have not started
  bool withdrawing = false;   // an answer is due
};

// Tasks of a run that were asked to stop, while the rest goes on.
struct StoppingTasks {
  IntervalSet tasks;
  std::int64_t deadline_us = 0;  // then their executor is ended
};

// Thousandths of cpus by the depth of the jobs.
using MilliByDepth = absl::btree_map<std::uint32_t, std::uint64_t>;

// Tasks of one assignment within one executor.
struct Run {
  JobId job;
  std::uint64_t cpus_milli = 0;
  std::uint32_t depth = 0;
  IntervalSet unfinished;
  IntervalSet blocked;  // of these: wait for what they submitted, or for a cpu to go on
  std::uint64_t width = 0;
  // At most so many of them run now. Follows min(width, unfinished), but falls only as tasks end,
  // and is never less than those that wait.
  std::uint64_t reserved = 0;
  bool handed_over = false;   // the executor was told of it: any of them may have started
  bool reclaiming = false;    // an answer is due
  bool may_give_back = true;  // as far as is known, some have not started
  bool abandoned = false;
  bool stopping = false;
  std::int64_t stop_deadline_us = 0;         // of a stopping one; then its executor is ended
  std::deque<StoppingTasks> stopping_tasks;  // the earliest first
};

struct ExecutorState {
  enum class Phase : std::uint8_t { kStarting, kReady, kEnding };

  Phase phase = Phase::kStarting;
  bool alone = false;    // for one task at a time
  std::size_t slot = 0;  // of one that is not alone
  // Of one that is alone: without a run it waits for the next task, unless it retires.
  bool retires = false;
  std::uint64_t tasks_started = 0;
  std::int64_t idle_since_us = 0;
  std::uint64_t reserved_milli = 0;  // blocked tasks included
  MilliByDepth blocked_milli;
  absl::btree_map<AssignmentId, Run> runs;
  // Whose run ended before the answer to a ReclaimRun was there: they get no other run here until
  // it is, since it would be taken for an answer about that one.
  absl::btree_set<AssignmentId> late_answers;
};

// A place for one of the executors that serve many tasks.
struct ExecutorSlot {
  ExecutorId executor;  // none while it waits for retry_at_us
  std::int64_t retry_at_us = 0;
  std::int64_t backoff_us = 0;  // of the last retry; 0 after an outcome
};

// Highest priority first, then the deepest, for which others wait, then the oldest assignment.
struct ScheduleKey {
  std::int64_t negated_priority = 0;
  std::int64_t negated_depth = 0;
  AssignmentId assignment;
  friend auto operator<=>(const ScheduleKey&, const ScheduleKey&) = default;
};

// A task that could go on: the deepest first, since others wait for it.
struct ResumeKey {
  std::int64_t negated_depth = 0;
  AssignmentId assignment;
  TaskIndex task = 0;
  ExecutorId executor;
  friend auto operator<=>(const ResumeKey&, const ResumeKey&) = default;
};

struct State {
  using CommandKey = std::pair<AssignmentId, TaskIndex>;

  absl::btree_map<AssignmentId, HeldAssignment> assignments;
  absl::btree_map<JobId, HeldJob> jobs;
  absl::btree_map<CommandKey, RunningCommand> commands;  // those that were given ahead, too
  absl::btree_map<AssignmentId, CommandsAhead> ahead;    // none of them is empty
  std::size_t ahead_count = 0;
  absl::btree_map<ExecutorId, ExecutorState> executors;
  std::vector<ExecutorSlot> slots;
  ExecutorSlot alone_restart;                // its backoff only
  absl::btree_set<ScheduleKey> schedulable;  // assignments of which something may start
  absl::btree_set<ResumeKey> resumable;
  OwedOutcomes owed;

  std::uint64_t reserved_milli = 0;  // blocked tasks included
  MilliByDepth blocked_milli;
  // More runs than there are cpus, since tasks that waited were stopped; until it does not.
  bool overcommitted = false;
  std::uint64_t uploading_count = 0;
  std::uint64_t last_executor_id = 0;
  std::int64_t lease_us = 0;  // 0: never welcomed
  std::int64_t last_heard_us = 0;
  std::int64_t last_sent_us = 0;  // outcomes
  bool connected = false;
  bool draining = false;
  std::int64_t drain_deadline_us = 0;  // monotonic; then it stops. 0: none
  bool stopping = false;
  bool departing = false;
  bool left = false;
};

}  // namespace haul::worker
