// Tasks that wait for what they submitted: their cpus are for what they wait for, and they go on
// before anything new starts.
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "worker/core/core.h"

namespace haul::worker {
namespace {

void Move(MilliByDepth& milli_by_depth, std::uint32_t depth, std::uint64_t from, std::uint64_t to) {
  std::uint64_t& milli = milli_by_depth[depth];
  milli = milli - from + to;
  if (milli == 0) milli_by_depth.erase(depth);
}

}  // namespace

Run* Core::FindRunning(ExecutorId executor_id, AssignmentId assignment, TaskIndex task) {
  const auto executor = state_.executors.find(executor_id);
  if (executor == state_.executors.end()) return nullptr;
  const auto run = executor->second.runs.find(assignment);
  if (run == executor->second.runs.end() || !run->second.unfinished.Contains(task)) return nullptr;
  return &run->second;
}

void Core::ChangeBlocked(ExecutorState& executor, Run& run, const IntervalSet& blocked) {
  const std::uint64_t before = run.blocked.size() * run.cpus_milli;
  run.blocked = blocked;
  const std::uint64_t after = run.blocked.size() * run.cpus_milli;
  Move(executor.blocked_milli, run.depth, before, after);
  Move(state_.blocked_milli, run.depth, before, after);
}

void Core::On(const TaskBlocked& event) {
  Run* run = FindRunning(event.executor, event.assignment, event.task);
  if (run == nullptr || run->blocked.Contains(event.task)) return;
  ExecutorState& executor = state_.executors.at(event.executor);
  // More wait than are to run where one that waited was told to stop and its end is not known yet,
  // or where a thread goes on with its chunk after the run was narrowed.
  if (run->blocked.size() == run->reserved) SetReserved(executor, *run, run->reserved + 1);
  IntervalSet blocked = run->blocked;
  blocked.Add({event.task, 1});
  ChangeBlocked(executor, *run, blocked);
  if (!run->abandoned) Emit(ReportBlocked{event.assignment, BlockedOf(event.assignment)});
}

void Core::On(const ResumeAsked& event) {
  const Run* run = FindRunning(event.executor, event.assignment, event.task);
  if (run == nullptr || !run->blocked.Contains(event.task)) return;
  state_.resumable.insert(
      {-std::int64_t{run->depth}, event.assignment, event.task, event.executor});
}

// They go on, or are no more.
void Core::Unblock(ExecutorId id, AssignmentId assignment, Run& run, const IntervalSet& tasks) {
  if (tasks.empty()) return;
  IntervalSet blocked = run.blocked;
  blocked.Remove(tasks);
  ChangeBlocked(state_.executors.at(id), run, blocked);
  for (const TaskRange& range : tasks.ranges()) {
    for (TaskIndex task = range.first; task < range.end(); ++task) {
      state_.resumable.erase({-std::int64_t{run.depth}, assignment, task, id});
    }
  }
  if (!run.abandoned) Emit(ReportBlocked{assignment, BlockedOf(assignment)});
}

std::uint64_t Core::BlockedOf(AssignmentId id) const {
  std::uint64_t count = 0;
  for (const auto& [executor_id, executor] : state_.executors) {
    const auto run = executor.runs.find(id);
    if (run != executor.runs.end() && !run->second.abandoned) count += run->second.blocked.size();
  }
  return count;
}

std::uint64_t Core::used_milli() const {
  std::uint64_t used = state_.reserved_milli;
  for (const auto& [depth, milli] : state_.blocked_milli) used -= milli;
  return used;
}

// A task that was told to stop while it waited has ended without a cpu, and the next of its run has
// started in its place: more runs than there are cpus until the run has one task less.
void Core::GiveWay(ExecutorId id, AssignmentId assignment, Run& run) {
  state_.overcommitted = used_milli() > capacity_milli_;
  if (!state_.overcommitted || run.unfinished.empty() || run.stopping) return;
  if (run.width > 1) {
    --run.width;
    Emit(StartRun{id, assignment, run.job, {}, static_cast<std::uint32_t>(run.width), {}});
    if (!run.abandoned) UpdateSchedulable(assignment);
  } else if (run.may_give_back && !run.reclaiming) {
    Reclaim(id, assignment, run, run.unfinished.size());
  }
}

void Core::Resume() {
  while (!state_.resumable.empty()) {
    const ResumeKey key = *state_.resumable.begin();
    Run& run = state_.executors.at(key.executor).runs.at(key.assignment);
    if (used_milli() + run.cpus_milli > capacity_milli_ &&
        !Planted(PlantedBug::kResumedBeyondCpus)) {
      return;
    }
    Unblock(key.executor, key.assignment, run, IntervalSet({key.task, 1}));
    Emit(ResumeTask{key.executor, key.assignment, key.task});
  }
}

}  // namespace haul::worker
