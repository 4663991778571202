// Executor processes and the runs in them, as far as the core knows them.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "worker/core/core.h"

namespace haul::worker {

ExecutorId Core::NewExecutor(bool alone, std::size_t slot) {
  const ExecutorId id(++state_.last_executor_id);
  ExecutorState& executor = state_.executors[id];
  executor.alone = alone;
  executor.slot = slot;
  Emit(StartExecutor{id, alone});
  return id;
}

void Core::StartSharedExecutor(std::size_t slot) {
  HAUL_CHECK(state_.slots[slot].executor.is_none());
  state_.slots[slot].executor = NewExecutor(false, slot);
}

void Core::End(ExecutorId id, ExecutorState& executor) {
  if (executor.phase == ExecutorState::Phase::kEnding) return;
  executor.phase = ExecutorState::Phase::kEnding;
  Emit(EndExecutor{id});
}

void Core::BackOff(ExecutorSlot& slot) {
  slot.backoff_us = slot.backoff_us == 0 ? options_.backoff_min_us
                                         : std::min(2 * slot.backoff_us, options_.backoff_max_us);
  slot.retry_at_us = now_.monotonic_us + slot.backoff_us;
}

void Core::Reclaim(ExecutorId id, AssignmentId assignment, Run& run, std::uint64_t count) {
  run.reclaiming = true;
  Emit(ReclaimRun{id, assignment, count});
}

void Core::Reserve(JobId job, std::uint64_t count, std::uint64_t cpus_milli) {
  state_.reserved_milli += count * cpus_milli;
  state_.jobs.at(job).running += count;
}

void Core::Release(JobId job, std::uint64_t count, std::uint64_t cpus_milli) {
  state_.reserved_milli -= count * cpus_milli;
  state_.jobs.at(job).running -= count;
}

void Core::EraseJobIfUnused(JobId job) {
  const auto it = state_.jobs.find(job);
  if (it != state_.jobs.end() && it->second.assignments == 0 && it->second.running == 0) {
    state_.jobs.erase(it);
  }
}

void Core::SetReserved(ExecutorState& executor, Run& run, std::uint64_t reserved) {
  if (reserved > run.reserved) {
    const std::uint64_t more = reserved - run.reserved;
    executor.reserved_milli += more * run.cpus_milli;
    Reserve(run.job, more, run.cpus_milli);
  } else {
    const std::uint64_t less = run.reserved - reserved;
    executor.reserved_milli -= less * run.cpus_milli;
    Release(run.job, less, run.cpus_milli);
  }
  run.reserved = reserved;
}

void Core::EraseRunIfDone(ExecutorId id, AssignmentId assignment) {
  ExecutorState& executor = state_.executors.at(id);
  const auto it = executor.runs.find(assignment);
  if (!it->second.unfinished.empty()) return;
  SetReserved(executor, it->second, 0);
  if (it->second.reclaiming) executor.late_answers.insert(assignment);
  const JobId job = it->second.job;
  executor.runs.erase(it);
  EraseJobIfUnused(job);
  if (!executor.alone) return;
  executor.idle_since_us = now_.monotonic_us;
  if (executor.retires) End(id, executor);
}

void Core::RemoveUnfinished(ExecutorId id, AssignmentId assignment, Run& run, TaskRange tasks) {
  run.unfinished.Remove(tasks);
  Unblock(id, assignment, run, run.blocked.Intersection(tasks));
  for (StoppingTasks& stopping : run.stopping_tasks) stopping.tasks.Remove(tasks);
  std::erase_if(run.stopping_tasks, [](const auto& stopping) { return stopping.tasks.empty(); });
}

// Whether somebody waits for their outcome.
bool Core::FunctionsEnded(ExecutorId id, AssignmentId assignment, TaskRange tasks) {
  const auto executor = state_.executors.find(id);
  if (executor == state_.executors.end()) return false;
  const auto found = executor->second.runs.find(assignment);
  if (found == executor->second.runs.end()) return false;
  Run& run = found->second;
  if (tasks.count == 0 || !run.unfinished.ContainsAll(tasks)) {
    // User code has damaged it: nothing that it says counts any more.
    End(id, executor->second);
    return false;
  }
  RemoveUnfinished(id, assignment, run, tasks);
  const std::uint64_t still = run.reserved - std::min(run.reserved, tasks.count);
  const std::uint64_t least = std::max({run.width, still, run.blocked.size()});
  SetReserved(executor->second, run, std::min({run.reserved, run.unfinished.size(), least}));
  if (!executor->second.alone) state_.slots[executor->second.slot].backoff_us = 0;
  GiveWay(id, assignment, run);
  const bool wanted = !run.abandoned;
  EraseRunIfDone(id, assignment);
  return wanted;
}

void Core::ReportSuspect(const ExecutorDied& event, const Suspect& suspect, Run& run) {
  if (run.abandoned || !run.unfinished.Contains(suspect.task)) return;
  const HeldAssignment& assignment = state_.assignments.at(suspect.assignment);
  if (assignment.is_cancelled({suspect.task, 1})) return;  // it will be reported as cancelled
  const bool any_timed_out = std::any_of(event.suspects.begin(), event.suspects.end(),
                                         [](const Suspect& s) { return s.timed_out; });
  // A task whose time was up is known; what ran beside it runs again.
  if (any_timed_out && !suspect.timed_out) return;
  Outcome outcome;
  outcome.tasks = {suspect.task, 1};
  // Seen running in a process of its own it failed like any other: nobody else can have caused it.
  const bool is_failure = suspect.timed_out || (assignment.own_process && !event.suspects.empty());
  outcome.status = is_failure ? TaskStatus::kFailed : TaskStatus::kCrashed;
  outcome.cause = suspect.timed_out ? Cause::kTimeout : event.cause;
  outcome.code = suspect.timed_out ? 0 : event.code;
  outcome.message = event.message;
  outcome.pid = event.pid;
  outcome.finished_unix_us = now_.unix_us;
  const auto charged = assignment.charged.find(suspect.task);
  outcome.attempt = 1 + (charged == assignment.charged.end() ? 0 : charged->second);
  outcome.culprit = suspect.culprit || assignment.alone || event.suspects.size() == 1;
  run.unfinished.Remove({suspect.task, 1});
  Record(suspect.assignment, std::move(outcome));
}

// Of one that died while it ran nothing, as far as is known: what it was given first and had not
// reported, since a task that ends may have made an end of what would have said so.
std::vector<Suspect> Core::Unreported(const ExecutorState& executor) const {
  constexpr std::uint64_t kMost = 64;  // of a run
  std::vector<Suspect> suspects;
  for (const auto& [id, run] : executor.runs) {
    if (run.reclaiming || run.stopping) continue;  // it may have given them back
    std::uint64_t left = std::min(run.reserved, kMost);
    for (const TaskRange& tasks : run.unfinished.ranges()) {
      for (TaskIndex task = tasks.first; task < tasks.end() && left > 0; ++task, --left) {
        suspects.push_back({.assignment = id, .task = task});
      }
    }
  }
  return suspects;
}

// What may have started goes back to the coordinator: it starts again under another assignment,
// whose token is greater, and what the first start submitted is cancelled.
std::vector<AssignmentId> Core::TakeBackRuns(ExecutorId executor_id, ExecutorState& executor) {
  std::vector<AssignmentId> ids;
  for (auto& [id, run] : executor.runs) {
    Unblock(executor_id, id, run, IntervalSet(run.blocked));
    SetReserved(executor, run, 0);
    EraseJobIfUnused(run.job);
    if (run.abandoned) continue;
    HeldAssignment& assignment = state_.assignments.at(id);
    const IntervalSet started = MayHaveStarted(id, run.unfinished);
    run.unfinished.Remove(started);
    assignment.pending.Add(run.unfinished);
    if (assignment.at_most_once) {
      RecordAll(id, started, TaskStatus::kLost, Cause::kWorkerLost, "its executor died");
    } else if (Planted(PlantedBug::kTokenUsedTwice)) {
      assignment.pending.Add(started);
    } else if (!started.empty()) {
      HandBack(id, assignment, started, HandBackReason::kExecutorDied, "");
    }
    ids.push_back(id);
  }
  executor.runs.clear();
  return ids;
}

std::size_t Core::ready_executor_count() const {
  return static_cast<std::size_t>(
      std::count_if(state_.executors.begin(), state_.executors.end(), [](const auto& entry) {
        return !entry.second.alone && entry.second.phase == ExecutorState::Phase::kReady;
      }));
}

}  // namespace haul::worker
