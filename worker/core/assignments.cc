// What is held, and how each task of it is answered for: by an outcome, or by handing it back.
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "worker/core/core.h"

namespace haul::worker {

void Core::Drain(std::int64_t deadline_us) {
  if (deadline_us > 0) {
    // Of several the earliest counts.
    const std::int64_t at_us = now_.monotonic_us + deadline_us;
    if (state_.drain_deadline_us == 0 || at_us < state_.drain_deadline_us) {
      state_.drain_deadline_us = at_us;
    }
  }
  if (state_.draining) return;
  state_.draining = true;
  Emit(SayDraining{});
  std::vector<AssignmentId> ids;
  for (const auto& [id, assignment] : state_.assignments) ids.push_back(id);
  for (const AssignmentId id : ids) Settle(id);
}

bool Core::IsAbandoned(AssignmentId id) const {
  const auto command = state_.commands.lower_bound({id, 0});
  if (command != state_.commands.end() && command->first.first == id) return true;
  for (const auto& [executor_id, executor] : state_.executors) {
    if (executor.runs.contains(id)) return true;
  }
  return false;
}

void Core::StopRunsOf(AssignmentId id, bool abandon) {
  for (auto& [executor_id, executor] : state_.executors) {
    const auto run = executor.runs.find(id);
    if (run == executor.runs.end()) continue;
    if (abandon) run->second.abandoned = true;
    if (run->second.stopping || state_.stopping) continue;
    run->second.stopping = true;
    run->second.stop_deadline_us = now_.monotonic_us + options_.stop_grace_us;
    switch (executor.phase) {
      case ExecutorState::Phase::kStarting:
        End(executor_id, executor);
        break;
      case ExecutorState::Phase::kReady:
        Emit(StopRun{executor_id, id});
        break;
      case ExecutorState::Phase::kEnding:
        break;
    }
  }
}

// What runs of `tasks` is asked to stop, and what an executor has not started of them comes back.
void Core::StopSome(AssignmentId id, const IntervalSet& tasks, const std::string& by) {
  WithdrawOf(id);
  for (auto it = state_.commands.lower_bound({id, 0});
       it != state_.commands.end() && it->first.first == id; ++it) {
    if (tasks.Contains(it->first.second)) Emit(StopCommand{id, it->first.second, by});
  }
  for (auto& [executor_id, executor] : state_.executors) {
    const auto found = executor.runs.find(id);
    if (found == executor.runs.end() || found->second.stopping || state_.stopping) continue;
    Run& run = found->second;
    IntervalSet here = run.unfinished.Intersection(tasks);
    if (here.empty()) continue;
    switch (executor.phase) {
      case ExecutorState::Phase::kStarting:
        End(executor_id, executor);
        break;
      case ExecutorState::Phase::kReady:
        for (const TaskRange& range : here.ranges()) Emit(StopTasks{executor_id, id, range});
        run.stopping_tasks.push_back({std::move(here), now_.monotonic_us + options_.stop_grace_us});
        break;
      case ExecutorState::Phase::kEnding:
        break;
    }
  }
}

void Core::Drop(AssignmentId id) {
  const auto it = state_.assignments.find(id);
  if (it == state_.assignments.end()) return;
  StopCommandsOf(id, true, "");
  StopRunsOf(id, true);
  for (const std::uint64_t sequence : state_.owed.Drop(id)) Emit(VoidBatch{sequence});
  state_.uploading_count -= it->second.uploading.size();
  it->second.uploading = {};
  it->second.pending = {};
  it->second.revoked = {};
  it->second.unwanted = {};
  it->second.held = {};
  ForgetIfAnswered(id);
}

void Core::Settle(AssignmentId id) {
  const auto it = state_.assignments.find(id);
  if (it == state_.assignments.end()) return;
  HeldAssignment& assignment = it->second;
  if (assignment.cancelled) {
    RecordAll(id, std::exchange(assignment.pending, {}), TaskStatus::kCancelled, Cause::kCancelled,
              assignment.cancelled_by);
  } else if (const IntervalSet unwanted = assignment.pending.Intersection(assignment.unwanted);
             !unwanted.empty()) {
    assignment.pending.Remove(unwanted);
    RecordAll(id, unwanted, TaskStatus::kCancelled, Cause::kCancelled, assignment.cancelled_by);
  }
  if (state_.draining && !assignment.pending.empty()) {
    const IntervalSet rest = std::exchange(assignment.pending, {});
    HandBack(id, assignment, rest, HandBackReason::kLeaving, "");
  }
  AnswerRevokes(id, assignment);
  UpdateSchedulable(id);
  ForgetIfAnswered(id);
}

// A revoke takes from what waits here first, then from what was given on and has not started; it is
// answered once, when no more can come.
void Core::AnswerRevokes(AssignmentId id, HeldAssignment& assignment) {
  while (!assignment.revokes.empty()) {
    std::uint64_t& wanted = assignment.revokes.front();
    while (wanted > 0 && !assignment.pending.empty()) {
      const TaskRange last = assignment.pending.Last(wanted);
      assignment.pending.Remove(last);
      assignment.revoked.Add(last);
      wanted -= last.count;
    }
    if (wanted > 0 && ReclaimForRevoke(id, wanted)) return;
    const IntervalSet revoked = std::exchange(assignment.revoked, {});
    assignment.revokes.pop_front();
    HandBack(id, assignment, revoked, HandBackReason::kRevoked, "");
    if (Planted(PlantedBug::kRevokedTasksKept)) {
      assignment.held.Add(revoked);
      assignment.pending.Add(revoked);
    }
  }
}

// Whether an answer is due.
bool Core::ReclaimForRevoke(AssignmentId id, std::uint64_t count) {
  if (const auto ahead = state_.ahead.find(id); ahead != state_.ahead.end()) {
    Withdraw(id, ahead->second);
    if (ahead->second.withdrawing) return true;
  }
  for (auto it = state_.executors.rbegin(); it != state_.executors.rend(); ++it) {
    const auto run = it->second.runs.find(id);
    if (run == it->second.runs.end() || it->second.phase != ExecutorState::Phase::kReady) continue;
    if (run->second.reclaiming) return true;
    if (!run->second.may_give_back || run->second.stopping) continue;
    Reclaim(it->first, id, run->second, count);
    return true;
  }
  return false;
}

void Core::HandBack(AssignmentId id, HeldAssignment& assignment, const IntervalSet& tasks,
                    HandBackReason reason, const std::string& message) {
  assignment.held.Remove(tasks);
  assignment.unwanted.Remove(tasks);
  if (Planted(PlantedBug::kHandBackSwallowed) && !tasks.empty()) return;
  Emit(SendHandedBack{id, assignment.job, tasks.ranges(), reason, message});
}

void Core::Keep(AssignmentId id, TaskRange tasks, TaskStatus status, std::size_t byte_count) {
  const HeldAssignment& assignment = state_.assignments.at(id);
  KeepOutcome keep{.assignment = id, .by = {}};
  // What succeeded in spite of the cancellation did succeed.
  if (assignment.is_cancelled(tasks) && status != TaskStatus::kSucceeded) {
    keep.cancelled = true;
    keep.by = assignment.cancelled_by;
  }
  Emit(std::move(keep));
  state_.owed.Add(id, assignment.job, tasks, byte_count);
}

void Core::Record(AssignmentId id, Outcome outcome) {
  outcome.assignment = id;
  state_.owed.Add(id, state_.assignments.at(id).job, outcome.tasks, ByteCount(outcome));
  Emit(RecordOutcome{id, std::move(outcome)});
}

// Those of `tasks` that must not start again under this assignment, since they may have started.
IntervalSet Core::MayHaveStarted(AssignmentId id, const IntervalSet& tasks) const {
  const HeldAssignment& assignment = state_.assignments.at(id);
  if (assignment.cancelled) return {};
  IntervalSet started = tasks;
  started.Remove(assignment.pending);
  started.Remove(assignment.revoked);
  started.Remove(assignment.unwanted);
  for (const auto& [executor_id, executor] : state_.executors) {
    const auto run = executor.runs.find(id);
    if (run != executor.runs.end() && !run->second.handed_over) {
      started.Remove(run->second.unfinished);
    }
  }
  return started;
}

void Core::RecordAll(AssignmentId id, const IntervalSet& tasks, TaskStatus status, Cause cause,
                     const std::string& message) {
  for (const TaskRange& range : tasks.ranges()) {
    Outcome outcome;
    outcome.tasks = range;
    outcome.status = status;
    outcome.cause = cause;
    outcome.message = message;
    outcome.finished_unix_us = now_.unix_us;
    Record(id, std::move(outcome));
  }
}

void Core::ForgetIfAnswered(AssignmentId id) {
  const auto it = state_.assignments.find(id);
  if (it == state_.assignments.end() || !it->second.held.empty()) return;
  // A revoke that waits for an executor still gets its answer.
  for (std::size_t i = 0; i < it->second.revokes.size(); ++i) {
    Emit(SendHandedBack{id, it->second.job, {}, HandBackReason::kRevoked, ""});
  }
  const JobId job = it->second.job;
  state_.schedulable.erase(KeyOf(id, it->second));
  state_.assignments.erase(it);
  --state_.jobs.at(job).assignments;
  Emit(ForgetAssignment{id, job});
  EraseJobIfUnused(job);
}

void Core::LeaveIfDone() {
  if (state_.left || !state_.draining) return;
  const bool nothing_runs = state_.commands.empty() && state_.executors.empty();
  bool done = false;
  if (state_.stopping) {
    done = nothing_runs && (!state_.connected || !state_.owed.HasUnsent());
  } else if (state_.departing) {
    bool idle = state_.commands.empty();
    for (const auto& [id, executor] : state_.executors) idle = idle && executor.runs.empty();
    done = idle;
  } else {
    done = state_.assignments.empty() && state_.commands.empty();
  }
  if (!done) return;
  state_.left = true;
  Emit(Leave{});
}

}  // namespace haul::worker
