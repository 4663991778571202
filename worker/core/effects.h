// What a worker's core wants done. Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/ids.h"
#include "common/outcome.h"
#include "worker/core/events.h"

namespace haul::worker {

struct StartCommand {
  AssignmentId assignment;
  JobId job;
  TaskIndex task = 0;
  std::uint32_t attempt = 1;
  // Not now, but behind those that were given ahead before: the first of them starts, without
  // asking, when a command of its assignment ends, in its place (places.h).
  bool ahead = false;
};
// The first of those that were given ahead starts now, if all of them have not started meanwhile.
struct AdvanceCommands {
  AssignmentId assignment;
};
// Those that were given ahead and have not started come back: CommandsWithdrawn is the next event.
struct WithdrawCommands {
  AssignmentId assignment;
};
// SIGTERM, a grace period, SIGKILL. Its outcome comes all the same.
struct StopCommand {
  AssignmentId assignment;
  TaskIndex task = 0;
  std::string by;
};
// SIGKILL for every command, at once; nobody waits for their outcomes.
struct KillCommands {};

struct StartExecutor {
  ExecutorId executor;
  bool alone = false;  // an extra one for one task at a time
};
// Kill it; ExecutorDied follows.
struct EndExecutor {
  ExecutorId executor;
};
// Hand tasks to an executor. An empty range changes the width of what it has.
struct StartRun {
  ExecutorId executor;
  AssignmentId assignment;
  JobId job;
  TaskRange tasks;
  std::uint32_t width = 1;
  std::vector<ChargedTask> charged;  // of `tasks`
};
struct ReclaimRun {
  ExecutorId executor;
  AssignmentId assignment;
  std::uint64_t count = 0;
};
// Ask what runs to stop; what has not started comes back.
struct StopRun {
  ExecutorId executor;
  AssignmentId assignment;
};
// Likewise for some tasks of a run that goes on.
struct StopTasks {
  ExecutorId executor;
  AssignmentId assignment;
  TaskRange tasks;
};

// A task that waited goes on.
struct ResumeTask {
  ExecutorId executor;
  AssignmentId assignment;
  TaskIndex task = 0;
};
// To the coordinator: from now on so many tasks of the assignment wait for what they submitted. Not
// to be repeated after a reconnect: the next hello says it.
struct ReportBlocked {
  AssignmentId assignment;
  std::uint64_t count = 0;
};

// The outcome that the event was about is owed from now on, behind the earlier ones of its
// assignment. Without this effect it is dropped.
struct KeepOutcome {
  AssignmentId assignment;
  bool cancelled = false;  // report it as cancelled, by `by`
  std::string by;
};
// The outcome that the event was about is kept until its large outputs are with the coordinator.
// OutputUploaded follows, unless the assignment is forgotten first. Without this effect it is
// dropped.
struct UploadOutput {
  AssignmentId assignment;
  TaskRange tasks;
};
// An outcome that the core itself gives, behind the earlier ones of its assignment.
struct RecordOutcome {
  AssignmentId assignment;
  Outcome outcome;
};
// The first `outcome_count` unsealed outcomes of the assignment become batch `sequence`, for good.
struct SealBatch {
  std::uint64_t sequence = 0;
  AssignmentId assignment;
  JobId job;
  std::size_t outcome_count = 0;
};
// Put the batch into the message that is written next.
struct SendBatch {
  std::uint64_t sequence = 0;
};
struct ForgetBatches {
  std::uint64_t through = 0;
};
// Empty the batch: nothing of a dropped assignment is reported, but sequences stay without gaps.
struct VoidBatch {
  std::uint64_t sequence = 0;
};

enum class HandBackReason : std::uint8_t { kRevoked, kDirectoryMissing, kLeaving, kExecutorDied };
// Not to be repeated after a reconnect: the next hello says the same by not listing the tasks.
struct SendHandedBack {
  AssignmentId assignment;
  JobId job;
  std::vector<TaskRange> tasks;
  HandBackReason reason = HandBackReason::kRevoked;
  std::string message;
};
// Nothing of it is held any more: inputs, unsealed outcomes and uploads of it can go.
struct ForgetAssignment {
  AssignmentId assignment;
  JobId job;
};
struct SayDraining {};
// Say goodbye and end.
struct Leave {};

using Effect =
    std::variant<StartCommand, AdvanceCommands, WithdrawCommands, StopCommand, KillCommands,
                 StartExecutor, EndExecutor, StartRun, ReclaimRun, StopRun, StopTasks, ResumeTask,
                 ReportBlocked, KeepOutcome, UploadOutput, RecordOutcome, SealBatch, SendBatch,
                 ForgetBatches, VoidBatch, SendHandedBack, ForgetAssignment, SayDraining, Leave>;

}  // namespace haul::worker
