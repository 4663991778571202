#include "worker/core/core.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"

namespace haul::worker {

namespace {

// For the next task that wants a process of its own.
bool Waits(const ExecutorState& executor) {
  return executor.alone && executor.phase == ExecutorState::Phase::kReady && executor.runs.empty();
}

// When whatever of it was asked to stop must have.
std::optional<std::int64_t> StopDeadlineOf(const Run& run) {
  if (run.stopping) return run.stop_deadline_us;
  if (!run.stopping_tasks.empty()) return run.stopping_tasks.front().deadline_us;
  return std::nullopt;
}

}  // namespace

Core::Core(const CoreOptions& options)
    : options_(options),
      capacity_milli_(std::uint64_t{options.processes} * options.threads * 1000) {
  HAUL_CHECK(capacity_milli_ > 0);
  if (options.serves_functions) state_.slots.resize(options.processes);
}

std::vector<Effect> Core::Step(const Event& event, Now now) {
  now_ = now;
  effects_.clear();
  if (state_.left) return {};
  std::visit([this](const auto& e) { On(e); }, event);
  Resume();
  Schedule();
  LeaveIfDone();
  return std::exchange(effects_, {});
}

std::optional<std::int64_t> Core::NextDeadlineUs() const {
  std::optional<std::int64_t> next;
  const auto at = [&next](std::int64_t deadline_us) {
    next = std::min(next.value_or(deadline_us), deadline_us);
  };
  bool anything_to_reclaim =
      std::any_of(state_.ahead.begin(), state_.ahead.end(),
                  [](const auto& entry) { return entry.second.may_give_back; });
  for (const auto& [id, executor] : state_.executors) {
    if (Waits(executor)) at(executor.idle_since_us + options_.process_idle_us);
    for (const auto& [assignment, run] : executor.runs) {
      if (run.may_give_back && !run.reclaiming) anything_to_reclaim = true;
      if (executor.phase == ExecutorState::Phase::kReady) {
        if (const auto deadline_us = StopDeadlineOf(run)) at(*deadline_us);
      }
    }
  }
  for (const ExecutorSlot& slot : state_.slots) {
    if (slot.executor.is_none() && !state_.stopping) at(slot.retry_at_us);
  }
  if (state_.drain_deadline_us > 0 && !state_.stopping) at(state_.drain_deadline_us);
  if (state_.alone_restart.retry_at_us > now_.monotonic_us) at(state_.alone_restart.retry_at_us);
  if (state_.owed.HasUnsent() && Gathers()) at(state_.last_sent_us + options_.gather_us);
  // What was given on and has not started is taken back when the lease ends.
  if (anything_to_reclaim && LeaseHolds() && !Planted(PlantedBug::kStartsPastLease)) {
    at(state_.last_heard_us + state_.lease_us + 1);
  }
  return next;
}

bool Core::WantsToSend() const { return state_.owed.HasUnsent() && !Gathers(); }

// A worker that runs out of work reports at once: somebody may wait for it.
bool Core::Gathers() const {
  return now_.monotonic_us < state_.last_sent_us + options_.gather_us &&
         !state_.schedulable.empty() && state_.owed.byte_count() < options_.message_byte_limit;
}

std::vector<HeldLine> Core::Held() const {
  std::vector<HeldLine> lines;
  for (const auto& [id, assignment] : state_.assignments) {
    if (Planted(PlantedBug::kRunningNotListed) && assignment.pending.empty()) continue;
    lines.push_back({.assignment = id,
                     .job = assignment.job,
                     .width = static_cast<std::uint32_t>(state_.jobs.at(assignment.job).width),
                     .tasks = assignment.held.ranges(),
                     .alone = assignment.alone,
                     .blocked = BlockedOf(id)});
  }
  return lines;
}

void Core::On(const Started&) {
  for (std::size_t slot = 0; slot < state_.slots.size(); ++slot) StartSharedExecutor(slot);
}

void Core::On(const Welcomed& event) {
  Heard();
  state_.connected = true;
  state_.lease_us = event.lease_us;
  if (!Planted(PlantedBug::kOwedDroppedOnReconnect)) state_.owed.Resend();
  for (const AssignmentId id : event.dropped) Drop(id);
}

void Core::On(const CoordinatorHeard&) { Heard(); }

void Core::On(const AssignmentReceived& event) {
  Heard();
  auto it = state_.assignments.find(event.assignment);
  if (it == state_.assignments.end() && IsAbandoned(event.assignment)) {
    Emit(SendHandedBack{event.assignment, event.job, {event.tasks}, HandBackReason::kLeaving, ""});
    Emit(ForgetAssignment{event.assignment, event.job});
    return;
  }
  if (it == state_.assignments.end()) {
    const std::uint64_t most =
        event.kind == WorkKind::kCommand ? capacity_milli_ : std::uint64_t{options_.threads} * 1000;
    HeldAssignment assignment;
    assignment.job = event.job;
    assignment.kind = event.kind;
    assignment.alone = event.alone;
    assignment.at_most_once = event.at_most_once;
    assignment.own_process = event.own_process && !Planted(PlantedBug::kProcessShared);
    assignment.tasks_per_process = event.tasks_per_process;
    assignment.depth = event.depth;
    assignment.priority = event.priority;
    assignment.cpus_milli = std::clamp<std::uint64_t>(event.cpus_milli, 1, most);
    it = state_.assignments.emplace(event.assignment, std::move(assignment)).first;
    ++state_.jobs[event.job].assignments;
  }
  HeldAssignment& assignment = it->second;
  // A message that came twice changes nothing.
  IntervalSet fresh(event.tasks);
  fresh.Remove(assignment.held.Intersection(event.tasks));
  assignment.held.Add(fresh);
  assignment.pending.Add(fresh);
  for (const ChargedTask& charged : event.charged) {
    if (fresh.Contains(charged.task)) assignment.charged[charged.task] = charged.attempts;
  }
  state_.jobs.at(assignment.job).width = std::max<std::uint64_t>(event.width, 1);
  Narrow(assignment.job);
  if (assignment.kind == WorkKind::kFunction && !options_.serves_functions) {
    RecordAll(event.assignment, std::exchange(assignment.pending, {}), TaskStatus::kFailed,
              Cause::kStartFailed, "this worker serves no functions");
  }
  Settle(event.assignment);
}

void Core::On(const RevokeReceived& event) {
  Heard();
  const auto it = state_.assignments.find(event.assignment);
  if (it == state_.assignments.end()) {
    Emit(SendHandedBack{event.assignment, JobId(), {}, HandBackReason::kRevoked, ""});
    return;
  }
  it->second.revokes.push_back(event.count);
  Settle(event.assignment);
}

void Core::On(const CancelReceived& event) {
  Heard();
  const auto it = state_.assignments.find(event.assignment);
  if (it == state_.assignments.end() || it->second.cancelled) return;
  it->second.cancelled_by = event.by;
  if (event.tasks.empty()) {
    it->second.cancelled = true;
    StopCommandsOf(event.assignment, false, event.by);
    StopRunsOf(event.assignment, false);
  } else {
    IntervalSet fresh;
    for (const TaskRange& range : event.tasks) fresh.Add(it->second.held.Intersection(range));
    fresh.Remove(it->second.unwanted);
    it->second.unwanted.Add(fresh);
    StopSome(event.assignment, fresh, event.by);
  }
  Settle(event.assignment);
}

void Core::On(const BatchesDurable& event) {
  Heard();
  for (const OwedOutcomes::Batch& batch : state_.owed.DurableThrough(event.through)) {
    const auto it = state_.assignments.find(batch.assignment);
    HAUL_CHECK(it != state_.assignments.end());
    for (const TaskRange& tasks : batch.tasks) {
      it->second.held.Remove(tasks);
      it->second.unwanted.Remove(tasks);
    }
    ForgetIfAnswered(batch.assignment);
  }
  Emit(ForgetBatches{event.through});
}

void Core::On(const DrainRequested& event) { Drain(event.deadline_us); }

void Core::On(const DepartReceived&) {
  Heard();
  Drain();
  state_.departing = true;
}

void Core::On(const StopRequested&) {
  Drain();
  if (state_.stopping) return;
  state_.stopping = true;
  KillAllCommands();
  std::vector<AssignmentId> ids;
  for (const auto& [id, assignment] : state_.assignments) ids.push_back(id);
  for (const AssignmentId id : ids) {
    HeldAssignment& assignment = state_.assignments.at(id);
    StopRunsOf(id, true);
    IntervalSet unanswered = assignment.held;
    unanswered.Remove(state_.owed.TasksOf(id));
    const IntervalSet lost =
        assignment.at_most_once ? MayHaveStarted(id, unanswered) : IntervalSet();
    unanswered.Remove(lost);
    RecordAll(id, lost, TaskStatus::kLost, Cause::kWorkerLost, "its worker was stopped");
    state_.uploading_count -= assignment.uploading.size();
    assignment.pending = {};
    assignment.uploading = {};
    assignment.revoked = {};
    assignment.revokes.clear();
    if (!unanswered.empty()) HandBack(id, assignment, unanswered, HandBackReason::kLeaving, "");
    UpdateSchedulable(id);
    ForgetIfAnswered(id);
  }
  for (auto& [id, executor] : state_.executors) End(id, executor);
}

void Core::On(const Disconnected&) {
  state_.connected = false;
  if (!Planted(PlantedBug::kOwedDroppedOnReconnect)) state_.owed.Resend();
}

void Core::On(const SendSlotFree&) {
  state_.last_sent_us = now_.monotonic_us;
  std::size_t byte_count = 0;
  for (const std::uint64_t sequence :
       state_.owed.TakeUnsent(options_.message_byte_limit, &byte_count)) {
    Emit(SendBatch{sequence});
  }
  if (state_.owed.HasUnsentBatch()) return;
  while (byte_count < options_.message_byte_limit && state_.owed.has_unsealed()) {
    const auto [sequence, batch] = state_.owed.Seal(options_.message_byte_limit - byte_count);
    byte_count += batch.byte_count;
    Emit(SealBatch{sequence, batch.assignment, batch.job, batch.outcome_count});
    Emit(SendBatch{sequence});
    std::size_t ignored = 0;
    HAUL_CHECK(state_.owed.TakeUnsent(0, &ignored).size() == 1);
    if (Planted(PlantedBug::kForgottenBeforeDurable)) On(BatchesDurable{sequence});
  }
}

void Core::On(const OutcomeArrived& event) {
  const bool wanted = event.executor.is_none()
                          ? CommandEnded(event.assignment, event.tasks.first)
                          : FunctionsEnded(event.executor, event.assignment, event.tasks);
  if (!wanted) return;
  if (event.output_pending) {
    state_.assignments.at(event.assignment).uploading.Add(event.tasks);
    state_.uploading_count += event.tasks.count;
    Emit(UploadOutput{event.assignment, event.tasks});
  } else {
    Keep(event.assignment, event.tasks, event.status, event.byte_count);
  }
  Settle(event.assignment);
}

void Core::On(const OutputUploaded& event) {
  const auto it = state_.assignments.find(event.assignment);
  if (it == state_.assignments.end() || !it->second.uploading.ContainsAll(event.tasks)) return;
  state_.uploading_count -= it->second.uploading.Remove(event.tasks);
  Keep(event.assignment, event.tasks, event.status, event.byte_count);
}

void Core::On(const DirectoryMissing& event) {
  if (!CommandEnded(event.assignment, event.task)) return;
  HeldAssignment& assignment = state_.assignments.at(event.assignment);
  assignment.pending.Add({event.task, 1});
  if (!assignment.is_cancelled({event.task, 1})) {
    const IntervalSet rest = std::exchange(assignment.pending, {});
    HandBack(event.assignment, assignment, rest, HandBackReason::kDirectoryMissing, event.message);
  }
  Settle(event.assignment);
}

void Core::On(const TasksReclaimed& event) {
  const auto executor = state_.executors.find(event.executor);
  if (executor == state_.executors.end()) return;
  if (executor->second.late_answers.erase(event.assignment) > 0) return;
  const auto found = executor->second.runs.find(event.assignment);
  if (found == executor->second.runs.end()) return;
  Run& run = found->second;
  run.reclaiming = false;
  if (event.tasks.count == 0) run.may_give_back = false;
  if (event.tasks.count > 0) {
    if (!run.unfinished.ContainsAll(event.tasks)) return End(event.executor, executor->second);
    RemoveUnfinished(event.executor, event.assignment, run, event.tasks);
    SetReserved(executor->second, run, std::min(run.reserved, run.unfinished.size()));
    if (!run.abandoned) state_.assignments.at(event.assignment).pending.Add(event.tasks);
  }
  EraseRunIfDone(event.executor, event.assignment);
  Settle(event.assignment);
}

void Core::On(const ExecutorReady& event) {
  const auto it = state_.executors.find(event.executor);
  if (it == state_.executors.end() || it->second.phase != ExecutorState::Phase::kStarting) return;
  it->second.phase = ExecutorState::Phase::kReady;
  if (it->second.alone) {
    state_.alone_restart = {};
    if (!MayStart()) return End(event.executor, it->second);
  }
  StartTheOne(event.executor, it->second);
}

void Core::On(const ExecutorDied& event) {
  const auto it = state_.executors.find(event.executor);
  if (it == state_.executors.end()) return;
  ExecutorState& executor = it->second;
  const bool was_starting = executor.phase == ExecutorState::Phase::kStarting;
  // One that this worker ended itself has no culprit: what ran in it runs again.
  const bool was_ready = executor.phase == ExecutorState::Phase::kReady;
  const std::vector<Suspect> suspects =
      was_ready && event.suspects.empty() ? Unreported(executor) : event.suspects;
  if (was_ready) {
    for (const Suspect& suspect : suspects) {
      const auto run = executor.runs.find(suspect.assignment);
      if (run != executor.runs.end()) ReportSuspect(event, suspect, run->second);
    }
  }
  // Then what killed it may do so again, and no attempt of a task bounds that.
  const bool nobody_to_blame = was_ready && suspects.empty();
  const std::vector<AssignmentId> taken_back = TakeBackRuns(event.executor, executor);
  const bool alone = executor.alone;
  const std::size_t slot = executor.slot;
  state_.executors.erase(it);
  if (alone) {
    if (was_starting) BackOff(state_.alone_restart);
  } else {
    state_.slots[slot].executor = ExecutorId();
    if (was_starting || nobody_to_blame) {
      BackOff(state_.slots[slot]);
    } else if (!state_.stopping) {
      StartSharedExecutor(slot);
    }
  }
  for (const AssignmentId id : taken_back) Settle(id);
}

void Core::On(const TimePassed&) {
  if (state_.drain_deadline_us > 0 && now_.monotonic_us >= state_.drain_deadline_us) {
    On(StopRequested{});
  }
  for (auto& [id, executor] : state_.executors) {
    const bool overdue =
        std::any_of(executor.runs.begin(), executor.runs.end(), [this](const auto& entry) {
          const std::optional<std::int64_t> deadline_us = StopDeadlineOf(entry.second);
          return deadline_us.has_value() && *deadline_us <= now_.monotonic_us;
        });
    const bool idle =
        Waits(executor) && executor.idle_since_us + options_.process_idle_us <= now_.monotonic_us;
    if (overdue || idle) End(id, executor);
  }
  for (std::size_t slot = 0; slot < state_.slots.size(); ++slot) {
    const ExecutorSlot& waiting = state_.slots[slot];
    if (waiting.executor.is_none() && waiting.retry_at_us <= now_.monotonic_us &&
        !state_.stopping) {
      StartSharedExecutor(slot);
    }
  }
}

}  // namespace haul::worker
