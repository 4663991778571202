// Records: decisions, with their ids and times inside. They are the only thing that changes the
// state (State::Apply). Durable records go to the store and come back from it after a restart;
// applying one never reads what only volatile records wrote, so recovery is Apply over what the
// store gives back. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/input_sizes.h"
#include "common/interval_set.h"
#include "common/outcome.h"

namespace haul::coordinator {

enum class WorkKind : std::uint8_t { kCommand = 1, kFunction = 2 };

// The start of a task that submitted a job, while it goes on.
struct ParentTask {
  AssignmentId assignment;  // none: no task did
  JobId job;
  TaskIndex task = 0;
  friend bool operator==(const ParentTask&, const ParentTask&) = default;
};

// What scheduling needs to know of a job. The rest (arguments, environment, …) is its template:
// opaque bytes beside the core.
struct JobSpec {
  std::string name;
  std::string owner;
  std::string request_id;   // empty: none
  std::string description;  // the command line or call, cut short, for people
  WorkKind kind = WorkKind::kCommand;
  std::string function;  // for kFunction
  std::string signature;
  std::uint64_t task_count = 0;
  std::int32_t priority = 0;  // higher first
  std::uint32_t cpus_milli = 1000;
  std::uint32_t max_running = 0;  // 0: no limit
  std::uint32_t max_attempts = 1;
  bool at_most_once = false;  // a start is recorded before it is sent; what is lost then stays so
  bool is_volatile = false;
  bool is_open = false;           // takes more tasks until it is closed; task_count is so far
  std::uint64_t input_bytes = 0;  // of all tasks
  InputSetId input_set;           // none for an array
  ParentTask parent;              // the job ends with it
  std::uint32_t depth = 0;        // the parent's and 1; 0: no task submitted it

  friend bool operator==(const JobSpec&, const JobSpec&) = default;
};

enum class JobState : std::uint8_t {
  kQueued = 1,
  kRunning = 2,
  kSucceeded = 3,
  kFailed = 4,
  kCancelled = 5,
};
constexpr bool IsEnded(JobState state) { return state >= JobState::kSucceeded; }

// Tasks by terminal status.
struct TaskCounts {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t lost = 0;

  std::uint64_t total() const { return succeeded + failed + cancelled + lost; }
  std::uint64_t& Of(TaskStatus status);
  friend bool operator==(const TaskCounts&, const TaskCounts&) = default;
};

// ---- durable ----

struct JobAccepted {
  JobId job;
  JobSpec spec;
  std::int64_t unix_us = 0;
  // Of the tasks that it begins with. No column of its own: the store finds it in the inputs.
  InputSizes input_sizes = {};
};

// An open job got `count` tasks more, behind those that it has, or takes none from here on.
struct JobExtended {
  JobId job;
  std::uint64_t count = 0;
  std::uint64_t input_bytes = 0;  // of these tasks
  bool closed = false;
};

// Tasks of one job ended for good. `payload` says where the loop finds the outcome itself (results,
// outputs, times), by position in the event that brought it; kNoPayload where there is nothing but
// this.
struct OutcomeRecorded {
  static constexpr std::uint32_t kNoPayload = ~0u;

  JobId job;
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
  Cause cause = Cause::kNone;
  std::string message;  // for outcomes without payload
  WorkerId worker;
  std::int64_t unix_us = 0;
  std::uint32_t payload = kNoPayload;
};

// A start of this task that it may have failed by itself was charged to it; totals, not increments.
struct AttemptsCharged {
  JobId job;
  TaskIndex task = 0;
  std::uint32_t attempts = 0;  // ended by the task itself and to be retried
  std::uint32_t crashes = 0;   // took its executor or worker down, alone or as the proven culprit
  bool run_alone = false;      // the next start is in an executor or on a worker of its own
  // Whose start it was. What this assignment, or an earlier one, still says of the task after a
  // restart is said twice.
  AssignmentId assignment;
};

// These tasks of an at-most-once job may have started from here on; or, withdrawn, they came back
// and did not. What has such a start, no outcome and nobody who holds it is lost.
struct StartsRecorded {
  JobId job;
  TaskRange tasks;
  AssignmentId assignment;
  bool withdrawn = false;
};

struct JobCancelRequested {
  JobId job;
  std::string by;
  std::int64_t unix_us = 0;
};

struct JobEnded {
  JobId job;
  JobState state = JobState::kSucceeded;
  TaskCounts counts;
  std::int64_t unix_us = 0;
};

struct JobForgotten {
  JobId job;
};

struct WorkerJoined {
  WorkerId worker;
  std::string name;
  std::string incarnation;
  std::string host;
  std::int64_t unix_us = 0;
  // The newest assignment when it joined: what it holds up to that one is of an earlier membership,
  // which was lost, and void for ever.
  AssignmentId joined_after;
};

struct WorkerLeft {
  WorkerId worker;
  std::string reason;
  std::int64_t unix_us = 0;
};

// ---- volatile ----

struct ServedFunction {
  std::string name;
  std::string signature;
  std::string library;
  friend auto operator<=>(const ServedFunction&, const ServedFunction&) = default;
};

// What a worker says of itself.
struct WorkerProfile {
  std::string name;
  std::string incarnation;
  std::string host;
  std::uint32_t pid = 0;
  std::uint64_t cpus_milli = 0;
  std::uint32_t processes = 0;
  std::uint32_t threads = 0;
  std::string version;
  std::vector<ServedFunction> functions;
};

struct WorkerAttached {
  WorkerId worker;
  SessionId session;
  WorkerProfile profile;
  bool draining = false;
};
struct WorkerDetached {  // its connection is gone; its lease still runs
  WorkerId worker;
};
struct WorkerHeard {
  WorkerId worker;
  std::int64_t lease_clock_us = 0;
  std::int64_t unix_us = 0;
};
struct WorkerDraining {
  WorkerId worker;
  std::int64_t deadline_us = 0;  // monotonic; 0: none
};
struct WorkerStopping {  // told to end what it runs and to leave
  WorkerId worker;
};
struct WorkerDeparting {  // told to end now
  WorkerId worker;
};
// Tasks of this job ran at a worker when it died: those that run alone do so on a whole worker.
struct JobSuspected {
  JobId job;
};
// These tasks were cancelled, though not their job: what comes back of them does not start again.
// Volatile, since whoever asked waits for their outcomes, and asks again after a restart.
struct TasksUnwanted {
  JobId job;
  IntervalSet tasks;
  std::string by;
};
struct WorkerRefusedJob {  // it has not the job's directory
  WorkerId worker;
  JobId job;
};
struct AssignmentOpened {
  AssignmentId id;
  JobId job;
  WorkerId worker;
  IntervalSet tasks;  // one range, unless adopted
  std::uint32_t width = 1;
  bool alone = false;
  bool on_trust = false;  // as much as it is, since its function took so long in other jobs
  std::int64_t monotonic_us = 0;
};
// The assignment no longer owns these tasks; what has no outcome becomes ready again.
struct AssignmentReduced {
  AssignmentId id;
  IntervalSet tasks;
};
// So many tasks of it wait for jobs that they submitted, and use no cpu meanwhile.
struct TasksBlocked {
  AssignmentId id;
  std::uint64_t count = 0;
};
// For people.
struct TaskProgressed {
  AssignmentId id;
  TaskIndex task = 0;
  std::uint32_t permille = 0;
};
struct RevokeAsked {
  AssignmentId id;
};
struct RevokeAnswered {
  AssignmentId id;
  bool lost = false;  // with the connection; it may be asked anew
};
// Tasks of this job took so long; folded into its mean, and into that of its function.
struct TasksMeasured {
  JobId job;
  AssignmentId assignment;
  WorkerId worker;
  std::uint64_t count = 0;
  std::uint64_t busy_ns = 0;
};
// The job is first in line and fits no free room, or those of its tasks that run alone on a worker
// find none idle; since when.
struct JobBlocked {
  JobId job;
  std::int64_t since_us = 0;  // 0: no longer
  bool alone = false;
};
// Serving starts: jobs and workers that came from the store wait for each other.
struct AdoptionBegan {};
struct AdoptionEnded {};
// An assignment of this job waits for that durable record.
struct JobRestsOn {
  JobId job;
  std::uint64_t sequence = 0;
};
// What is sent to this worker waits for that durable record, as its welcome does: the welcome comes
// first, and work only when its membership is on the disk.
struct WorkerRestsOn {
  WorkerId worker;
  std::uint64_t sequence = 0;
};
// Whoever extends this open job is still there.
struct JobKeptOpen {
  JobId job;
  std::int64_t lease_clock_us = 0;
};
// A job joins those that run: it has no claim to what they used before it came.
struct JobCaughtUp {
  JobId job;
  std::uint64_t virtual_us = 0;
};
struct LanesFed {};  // scheduling has looked at every hungry lane

using DurableRecord =
    std::variant<JobAccepted, JobExtended, OutcomeRecorded, AttemptsCharged, StartsRecorded,
                 JobCancelRequested, JobEnded, JobForgotten, WorkerJoined, WorkerLeft>;
using VolatileRecord =
    std::variant<WorkerAttached, WorkerDetached, WorkerHeard, WorkerDraining, WorkerStopping,
                 WorkerDeparting, JobSuspected, TasksUnwanted, WorkerRefusedJob, AssignmentOpened,
                 AssignmentReduced, TasksBlocked, TaskProgressed, RevokeAsked, RevokeAnswered,
                 TasksMeasured, JobBlocked, AdoptionBegan, AdoptionEnded, JobRestsOn, WorkerRestsOn,
                 JobKeptOpen, JobCaughtUp, LanesFed>;

}  // namespace haul::coordinator
