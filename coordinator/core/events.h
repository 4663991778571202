// Events: what happened, in the past tense, as the shell tells the core. Sizes, ranges and states
// only; payloads pass beside the core. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/outcome.h"
#include "coordinator/core/records.h"

namespace haul::coordinator {

// Names a caller that waits for an answer; given by the shell, never interpreted here.
using RequestId = Id<struct RequestKind>;

// A submit came in whole and valid in itself.
struct JobSubmitted {
  RequestId request;
  JobSpec spec;
  InputSizes input_sizes = {};
};
// Tasks [first, first + count) for an open job, whose inputs wait beside the core, and perhaps the
// word that these were the last. What the job has already is said again. With neither it says that
// there may be more.
struct JobExtendAsked {
  RequestId request;
  JobId job;
  TaskIndex first = 0;
  std::uint64_t count = 0;
  std::uint64_t input_bytes = 0;
  bool close = false;
};
struct JobCancelAsked {
  RequestId request;
  JobId job;
  std::string by;
  std::vector<TaskRange> tasks;  // only these, as far as the job has them; empty: the whole job
};
struct JobForgetAsked {
  RequestId request;
  JobId job;
};

// Everything a worker still answers for when it (re)connects.
struct HeldAssignment {
  AssignmentId id;
  JobId job;
  std::uint32_t width = 1;
  std::vector<TaskRange> ranges;
  bool alone = false;
  std::uint64_t blocked = 0;
};
struct WorkerConnected {
  SessionId session;
  WorkerProfile profile;
  std::vector<HeldAssignment> held;
  bool draining = false;
  bool was_member = false;  // it has been welcomed before, by whatever coordinator
};
struct WorkerSpoke {  // anything at all: it lives
  SessionId session;
};
struct WorkerStartedDraining {  // by its own wish
  SessionId session;
};
struct WorkerSaidGoodbye {
  SessionId session;
};
struct SessionClosed {
  SessionId session;
};
// Its guardian's word: it is dead, and nothing of it runs any more.
struct WorkerDeathReported {
  std::string incarnation;
  std::string cause;
};

// The outcome's head; what it carries waits beside the core under its position in `outcomes`.
struct OutcomeHeader {
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
  Cause cause = Cause::kNone;
  std::uint64_t busy_ns = 0;
  bool culprit = false;
};
struct TasksFinished {
  SessionId session;
  std::uint64_t batch_sequence = 0;
  AssignmentId assignment;
  JobId job;
  std::vector<OutcomeHeader> outcomes;
};

// Tasks that have not started, or those of an executor that died, which may have: never of a job
// that starts them at most once.
enum class HandBackReason : std::uint8_t { kRevoked, kDirectoryMissing, kLeaving, kExecutorDied };
struct TasksHandedBack {
  SessionId session;
  AssignmentId assignment;
  JobId job;
  std::vector<TaskRange> ranges;
  HandBackReason reason = HandBackReason::kRevoked;
};

// From now on so many tasks of the assignment wait for jobs that they submitted.
struct BlockedReported {
  SessionId session;
  AssignmentId assignment;
  std::uint64_t count = 0;
};

// By the word of a task that runs.
struct ProgressReported {
  SessionId session;
  AssignmentId assignment;
  TaskIndex task = 0;
  std::uint32_t permille = 0;
};

struct WorkerDrainAsked {
  RequestId request;
  WorkerId worker;
  std::uint64_t deadline_ms = 0;  // from now on; then what still runs goes elsewhere. 0: none
};
struct WorkerStopAsked {
  RequestId request;
  WorkerId worker;
};

// Once after recovery, before anything else; and at the end of every turn of the loop, which is
// when work is scheduled and leases are looked at.
struct ServingStarted {};
struct TimePassed {
  bool unread = false;  // from now on nothing is read, until the next one: the silence is ours
};

using Event =
    std::variant<JobSubmitted, JobExtendAsked, JobCancelAsked, JobForgetAsked, WorkerConnected,
                 WorkerSpoke, WorkerStartedDraining, WorkerSaidGoodbye, SessionClosed,
                 WorkerDeathReported, TasksFinished, TasksHandedBack, BlockedReported,
                 ProgressReported, WorkerDrainAsked, WorkerStopAsked, ServingStarted, TimePassed>;

}  // namespace haul::coordinator
