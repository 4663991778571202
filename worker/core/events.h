// What happened to a worker, as its core is told of it. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/outcome.h"

namespace haul::worker {

// Names one executor process for ever: a replacement has another id.
using ExecutorId = Id<struct ExecutorKind>;

enum class WorkKind : std::uint8_t { kCommand, kFunction };

struct ChargedTask {
  TaskIndex task = 0;
  std::uint32_t attempts = 0;  // charged so far
  friend bool operator==(const ChargedTask&, const ChargedTask&) = default;
};

// The worker's own start: its executors are wanted.
struct Started {};

// --- from the coordinator; each of them renews the lease ---
struct Welcomed {
  std::int64_t lease_us = 0;
  std::vector<AssignmentId> dropped;  // held here, owned here no longer
};
struct CoordinatorHeard {};
// Of an assignment that is known already: more tasks of it.
struct AssignmentReceived {
  AssignmentId assignment;
  JobId job;
  TaskRange tasks;
  std::uint32_t width = 1;  // of the whole job here, from now on
  std::uint32_t cpus_milli = 1000;
  std::int32_t priority = 0;
  WorkKind kind = WorkKind::kCommand;
  bool alone = false;
  bool at_most_once = false;  // what may have started is not started again, here or elsewhere
  bool own_process = false;   // of functions: one at a time in an executor
  std::uint32_t tasks_per_process = 0;  // with own_process: then another one; 0: no limit
  std::uint32_t depth = 0;  // 0: no task submitted the job; otherwise one more than the task's
  std::vector<ChargedTask> charged;
};
struct RevokeReceived {
  AssignmentId assignment;
  std::uint64_t count = 0;
};
struct CancelReceived {
  AssignmentId assignment;
  std::string by;
  std::vector<TaskRange> tasks;  // empty: all, also those that come later
};
struct BatchesDurable {
  std::uint64_t through = 0;
};
// Also by a signal. What still runs after the deadline is stopped and handed back.
struct DrainRequested {
  std::int64_t deadline_us = 0;  // from now on; 0: none
};
struct StopRequested {};  // also by a signal
struct DepartReceived {};

// --- of the connection ---
struct Disconnected {};
// The stream takes a message: what is owed may leave.
struct SendSlotFree {};

// --- of what runs ---
// Tasks that ended; `executor` is none for a command. With `output_pending` they ended, but a large
// output of theirs is not with the coordinator yet: OutputUploaded follows.
struct OutcomeArrived {
  ExecutorId executor;
  AssignmentId assignment;
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
  std::size_t byte_count = 0;
  bool output_pending = false;
};
struct OutputUploaded {
  AssignmentId assignment;
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
  std::size_t byte_count = 0;
};
// A command could not be started because its job's directory does not exist here.
struct DirectoryMissing {
  AssignmentId assignment;
  TaskIndex task = 0;
  std::string message;
};
// The answer to WithdrawCommands: they will not start. What else was given ahead has started, or
// has ended.
struct CommandsWithdrawn {
  AssignmentId assignment;
  std::vector<TaskIndex> tasks;
};
// An executor gives back what it had not started: the answer to ReclaimRun (an empty range:
// everything has started), or after StopRun.
struct TasksReclaimed {
  ExecutorId executor;
  AssignmentId assignment;
  TaskRange tasks;
};
// A task waits for what it submitted, and uses no cpu meanwhile.
struct TaskBlocked {
  ExecutorId executor;
  AssignmentId assignment;
  TaskIndex task = 0;
};
// What it waited for is there; it goes on once there is a cpu for it.
struct ResumeAsked {
  ExecutorId executor;
  AssignmentId assignment;
  TaskIndex task = 0;
};
struct ExecutorReady {
  ExecutorId executor;
};
struct Suspect {
  AssignmentId assignment;
  TaskIndex task = 0;
  bool culprit = false;  // it took the signal
  bool timed_out = false;
};
struct ExecutorDied {
  ExecutorId executor;
  std::vector<Suspect> suspects;  // what it was running
  Cause cause = Cause::kSignal;
  std::int32_t code = 0;
  std::string message;
  std::uint32_t pid = 0;
};
struct TimePassed {};

using Event = std::variant<Started, Welcomed, CoordinatorHeard, AssignmentReceived, RevokeReceived,
                           CancelReceived, BatchesDurable, DrainRequested, StopRequested,
                           DepartReceived, Disconnected, SendSlotFree, OutcomeArrived,
                           OutputUploaded, DirectoryMissing, CommandsWithdrawn, TasksReclaimed,
                           TaskBlocked, ResumeAsked, ExecutorReady, ExecutorDied, TimePassed>;

}  // namespace haul::worker
