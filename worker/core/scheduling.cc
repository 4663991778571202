// What may start now: highest priority first, then the deepest, then the oldest assignment; what
// does not fit keeps its place, and nothing behind it overtakes but what is deeper.
#include <algorithm>
#include <vector>

#include "common/check.h"
#include "common/planted_bug.h"
#include "worker/core/core.h"

namespace haul::worker {
namespace {

// What tasks at this depth may use of so many cpus: what blocked tasks gave back is for deeper ones
// alone. They are what it waits for, and so no depth ever has more started tasks than there are
// cpus.
std::uint64_t FreeMilli(std::uint64_t all_milli, std::uint64_t reserved_milli,
                        const MilliByDepth& blocked_milli, std::uint32_t depth) {
  for (const auto& [shallower, milli] : blocked_milli) {
    if (shallower < depth) all_milli += milli;
  }
  return all_milli - std::min(all_milli, reserved_milli);
}

// Tasks of a run that cannot have started.
std::uint64_t Waiting(const Run& run) { return run.unfinished.size() - run.reserved; }

// Whether an assignment that shares executors may have a run in it.
bool MayRunIn(const ExecutorState& executor, AssignmentId id) {
  return !executor.alone && executor.phase == ExecutorState::Phase::kReady &&
         !executor.late_answers.contains(id);
}

}  // namespace

bool Core::LeaseHolds() const {
  if (Planted(PlantedBug::kStartsPastLease)) return state_.lease_us > 0;
  return state_.lease_us > 0 && now_.monotonic_us - state_.last_heard_us <= state_.lease_us;
}

bool Core::MayStart() const {
  return LeaseHolds() && !state_.draining && state_.owed.byte_count() <= options_.owed_byte_limit &&
         state_.uploading_count < options_.uploading_limit;
}

bool Core::WantsToStart(AssignmentId id, const HeldAssignment& assignment) const {
  if (assignment.cancelled || !assignment.revokes.empty()) return false;
  if (!assignment.pending.empty()) return true;
  if (assignment.kind == WorkKind::kCommand) return state_.ahead.contains(id);
  if (RunsOneAtATime(assignment)) return false;
  for (const auto& [executor_id, executor] : state_.executors) {
    const auto run = executor.runs.find(id);
    if (run == executor.runs.end() || run->second.abandoned) continue;
    if (run->second.may_give_back && run->second.width < run->second.unfinished.size()) return true;
  }
  return false;
}

void Core::UpdateSchedulable(AssignmentId id) {
  const HeldAssignment& assignment = state_.assignments.at(id);
  const ScheduleKey key = KeyOf(id, assignment);
  if (WantsToStart(id, assignment)) {
    state_.schedulable.insert(key);
  } else {
    state_.schedulable.erase(key);
  }
}

void Core::Schedule() {
  if (!MayStart()) return ReclaimAll();
  // Then a run that was told to give way does not get its tasks back.
  if (used_milli() > capacity_milli_) return WithdrawAll();
  // A task that could go on has the next cpu.
  if (!state_.resumable.empty()) WithdrawAll();
  std::int64_t stuck_depth = -1;  // of what does not fit
  auto it = state_.schedulable.begin();
  while (it != state_.schedulable.end()) {
    const ScheduleKey key = *it;
    HeldAssignment& assignment = state_.assignments.at(key.assignment);
    if (assignment.depth <= stuck_depth) {
      ++it;
      continue;
    }
    Progress progress = Progress::kDone;
    if (assignment.kind == WorkKind::kCommand) {
      // Behind what does not fit nobody passes a place on.
      progress = StartCommands(key.assignment, assignment, stuck_depth < 0);
    } else if (RunsOneAtATime(assignment)) {
      progress = StartAlone(key.assignment, assignment);
    } else {
      progress = StartRuns(key.assignment, assignment);
    }
    UpdateSchedulable(key.assignment);
    if (progress == Progress::kNoRoom) {
      MakeRoom(key);
      if (state_.blocked_milli.empty()) return;
      // What keeps the room may wait for what is deeper.
      stuck_depth = assignment.depth;
    }
    it = state_.schedulable.upper_bound(key);
  }
}

// How many more tasks of it the job's width and the cpus allow.
std::uint64_t Core::FreeSlots(const HeldAssignment& assignment) const {
  const HeldJob& job = state_.jobs.at(assignment.job);
  const std::uint64_t of_job = job.width - std::min(job.width, job.running);
  if (Planted(PlantedBug::kCapacityIgnored)) return of_job;
  const std::uint64_t free_milli =
      FreeMilli(capacity_milli_, state_.reserved_milli, state_.blocked_milli, assignment.depth);
  const std::uint64_t slots = std::min(of_job, free_milli / assignment.cpus_milli);
  if (assignment.kind != WorkKind::kCommand) return slots;
  const std::size_t commands = state_.commands.size() - state_.ahead_count;
  return std::min<std::uint64_t>(
      slots, options_.command_limit - std::min(options_.command_limit, commands));
}

Core::Progress Core::StartAlone(AssignmentId id, HeldAssignment& assignment) {
  while (!assignment.pending.empty()) {
    const HeldJob& job = state_.jobs.at(assignment.job);
    if (job.running >= job.width) return Progress::kDone;
    if (FreeSlots(assignment) == 0) return Progress::kNoRoom;
    const std::optional<ExecutorId> executor_id = ExecutorForOne(id, assignment);
    if (!executor_id.has_value()) return Progress::kDone;
    const TaskRange task = assignment.pending.First(1);
    assignment.pending.Remove(task);
    ExecutorState& executor = state_.executors.at(*executor_id);
    ++executor.tasks_started;
    executor.retires = assignment.alone || (assignment.tasks_per_process > 0 &&
                                            executor.tasks_started >= assignment.tasks_per_process);
    Run& run = executor.runs[id];
    run.job = assignment.job;
    run.cpus_milli = assignment.cpus_milli;
    run.depth = assignment.depth;
    run.unfinished.Add(task);
    run.width = 1;
    SetReserved(executor, run, 1);
    if (executor.phase == ExecutorState::Phase::kReady) StartTheOne(*executor_id, executor);
  }
  return Progress::kDone;
}

// One that waits, or a new one. A suspect gets a new one, and a second task of its assignment waits
// for it.
std::optional<ExecutorId> Core::ExecutorForOne(AssignmentId id, const HeldAssignment& assignment) {
  std::size_t count = 0;
  std::optional<ExecutorId> waiting;
  for (const auto& [executor_id, executor] : state_.executors) {
    if (!executor.alone) continue;
    const auto blocks = [](const auto& entry) { return !entry.second.blocked.empty(); };
    // What waits is bounded by the cpus and the depth, and must not keep from starting what it
    // waits for.
    if (std::none_of(executor.runs.begin(), executor.runs.end(), blocks)) ++count;
    if (assignment.alone && executor.runs.contains(id)) return std::nullopt;
    if (executor.phase == ExecutorState::Phase::kReady && executor.runs.empty() &&
        !executor.late_answers.contains(id)) {
      waiting = executor_id;
      const bool takes = assignment.tasks_per_process == 0 ||
                         executor.tasks_started < assignment.tasks_per_process;
      if (takes && !assignment.alone) return executor_id;
    }
  }
  if (now_.monotonic_us < state_.alone_restart.retry_at_us) return std::nullopt;
  if (count < options_.process_limit) return NewExecutor(true, 0);
  if (waiting.has_value()) End(*waiting, state_.executors.at(*waiting));
  return std::nullopt;
}

// Its only task, to an executor that is ready.
void Core::StartTheOne(ExecutorId id, ExecutorState& executor) {
  for (auto& [assignment_id, run] : executor.runs) {
    run.handed_over = true;
    const HeldAssignment& assignment = state_.assignments.at(assignment_id);
    StartRun start{id, assignment_id, run.job, run.unfinished.First(1), 1, {}};
    if (const auto charged = assignment.charged.find(start.tasks.first);
        charged != assignment.charged.end()) {
      start.charged.push_back({charged->first, charged->second});
    }
    Emit(std::move(start));
  }
}

Core::Progress Core::StartRuns(AssignmentId id, HeldAssignment& assignment) {
  struct Candidate {
    ExecutorId executor;
    std::uint64_t room = 0;  // tasks that its threads can take beyond what it has
  };
  std::vector<Candidate> candidates;
  const std::uint64_t threads_milli = std::uint64_t{options_.threads} * 1000;
  for (const auto& [executor_id, executor] : state_.executors) {
    if (!MayRunIn(executor, id)) continue;
    const auto found = executor.runs.find(id);
    if (found != executor.runs.end()) {
      const Run& run = found->second;
      const bool takes_more = !assignment.pending.empty() &&
                              (options_.processes == 1 || run.unfinished.size() <= run.width);
      const bool narrow = run.may_give_back && run.width < run.unfinished.size();
      if (run.reclaiming || (!takes_more && !narrow)) continue;
    } else if (assignment.pending.empty()) {
      continue;
    }
    const std::uint64_t free_milli =
        FreeMilli(threads_milli, executor.reserved_milli, executor.blocked_milli, assignment.depth);
    candidates.push_back({executor_id, free_milli / assignment.cpus_milli});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.room > b.room; });
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const std::uint64_t left = candidates.size() - i;
    const std::uint64_t share = (FreeSlots(assignment) + left - 1) / left;
    Give(candidates[i].executor, id, assignment, std::min(share, candidates[i].room));
  }
  if (assignment.pending.empty() && FreeSlots(assignment) > 0) Rebalance(id, assignment);
  const HeldJob& job = state_.jobs.at(assignment.job);
  const bool wants_room = !candidates.empty() && WantsToStart(id, assignment) &&
                          job.running < job.width && FreeSlots(assignment) == 0;
  return wants_room ? Progress::kNoRoom : Progress::kDone;
}

// Tasks for one executor, `extra` more of them at once than now. With one executor all there are;
// with several guided chunks, whose size falls with what remains (guided self-scheduling,
// Polychronopoulos and Kuck 1987), so that they end together.
void Core::Give(ExecutorId executor_id, AssignmentId id, HeldAssignment& assignment,
                std::uint64_t extra) {
  ExecutorState& executor = state_.executors.at(executor_id);
  const auto found = executor.runs.find(id);
  const bool is_new = found == executor.runs.end();
  const std::uint64_t now = is_new ? 0 : std::min(found->second.reserved, found->second.width);
  const std::uint64_t width = now + extra;
  if (width == 0 || (is_new && assignment.pending.empty())) return;
  const bool low = is_new || found->second.unfinished.size() <= found->second.width;
  const std::uint64_t remaining = assignment.pending.size();
  std::uint64_t chunk = remaining;
  if (options_.processes > 1 && remaining > 0) {
    const std::uint64_t parts = 2 * std::uint64_t{options_.processes};
    chunk = low ? std::max(width, (remaining + parts - 1) / parts) : 0;
  }
  if (chunk == 0 && extra == 0) return;

  Run& run = executor.runs[id];
  run.job = assignment.job;
  run.cpus_milli = assignment.cpus_milli;
  run.depth = assignment.depth;
  run.width = width;
  run.handed_over = true;
  bool told = false;
  while (chunk > 0 && !assignment.pending.empty()) {
    StartRun start{executor_id,
                   id,
                   assignment.job,
                   assignment.pending.First(chunk),
                   static_cast<std::uint32_t>(width),
                   {}};
    chunk -= start.tasks.count;
    assignment.pending.Remove(start.tasks);
    run.unfinished.Add(start.tasks);
    run.may_give_back = true;
    for (auto it = assignment.charged.lower_bound(start.tasks.first);
         it != assignment.charged.end() && it->first < start.tasks.end(); ++it) {
      start.charged.push_back({it->first, it->second});
    }
    Emit(std::move(start));
    told = true;
  }
  if (!told) {
    Emit(StartRun{executor_id, id, assignment.job, {}, static_cast<std::uint32_t>(width), {}});
  }
  SetReserved(executor, run, std::min(run.unfinished.size(), std::max(width, run.reserved)));
}

// At the end of an assignment: where one executor idles while tasks wait in another, half of these
// come back, to be given out anew.
void Core::Rebalance(AssignmentId id, const HeldAssignment& assignment) {
  const std::uint64_t threads_milli = std::uint64_t{options_.threads} * 1000;
  bool idle = false;
  ExecutorId fullest;
  Run* of_fullest = nullptr;
  for (auto& [executor_id, executor] : state_.executors) {
    if (!MayRunIn(executor, id)) continue;
    const auto run = executor.runs.find(id);
    if (run == executor.runs.end()) {
      idle = idle || FreeMilli(threads_milli, executor.reserved_milli, executor.blocked_milli,
                               assignment.depth) >= assignment.cpus_milli;
      continue;
    }
    if (run->second.reclaiming) return;
    const std::uint64_t waiting = Waiting(run->second);
    if (!run->second.may_give_back || run->second.stopping || waiting == 0) continue;
    if (of_fullest == nullptr || waiting > Waiting(*of_fullest)) {
      fullest = executor_id;
      of_fullest = &run->second;
    }
  }
  if (idle && of_fullest != nullptr) {
    Reclaim(fullest, id, *of_fullest, (Waiting(*of_fullest) + 1) / 2);
  }
}

// Nothing new may start: what has not started comes back.
void Core::ReclaimAll() {
  if (!Planted(PlantedBug::kAheadStartsPastLease)) WithdrawAll();
  for (auto& [executor_id, executor] : state_.executors) {
    if (executor.phase != ExecutorState::Phase::kReady) continue;
    for (auto& [id, run] : executor.runs) {
      if (run.may_give_back && !run.reclaiming && !run.stopping) {
        Reclaim(executor_id, id, run, run.unfinished.size());
      }
    }
  }
}

// Something waits for cpus: what is behind it and has not started comes back, so that what ends
// next makes room. Of functions only those of lower priority: others take turns by their widths.
void Core::MakeRoom(const ScheduleKey& key) {
  for (auto& [id, ahead] : state_.ahead) {
    const auto assignment = state_.assignments.find(id);
    if (assignment != state_.assignments.end() && key < KeyOf(id, assignment->second)) {
      Withdraw(id, ahead);
    }
  }
  for (auto& [executor_id, executor] : state_.executors) {
    if (executor.phase != ExecutorState::Phase::kReady) continue;
    for (auto& [id, run] : executor.runs) {
      if (!run.may_give_back || run.reclaiming || run.stopping) continue;
      if (state_.assignments.at(id).priority < -key.negated_priority) {
        Reclaim(executor_id, id, run, run.unfinished.size());
      }
    }
  }
}

// After the job's width fell: the newest runs of it give way first.
void Core::Narrow(JobId job_id) {
  const HeldJob& job = state_.jobs.at(job_id);
  if (job.running <= job.width) return;
  for (auto& [id, ahead] : state_.ahead) {
    if (state_.commands.lower_bound({id, 0})->second.job == job_id) Withdraw(id, ahead);
  }
  std::uint64_t excess = job.running - job.width;
  for (auto executor = state_.executors.rbegin(); executor != state_.executors.rend(); ++executor) {
    if (executor->second.phase != ExecutorState::Phase::kReady) continue;
    for (auto& [id, run] : executor->second.runs) {
      if (run.job != job_id || run.stopping || excess == 0) continue;
      const std::uint64_t planned = std::min(run.width, run.unfinished.size());
      // Narrowed before: its tasks are ending.
      excess -= std::min(excess, run.reserved - std::min(run.reserved, planned));
      const std::uint64_t cut = std::min(excess, planned);
      if (cut == 0) continue;
      excess -= cut;
      if (cut < planned) {
        run.width = planned - cut;
        Emit(StartRun{executor->first, id, job_id, {}, static_cast<std::uint32_t>(run.width), {}});
        UpdateSchedulable(id);
      } else if (run.may_give_back && !run.reclaiming) {
        Reclaim(executor->first, id, run, run.unfinished.size());
      }
    }
  }
}

}  // namespace haul::worker
