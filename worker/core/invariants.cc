#include "common/check.h"
#include "worker/core/core.h"

namespace haul::worker {
namespace {

// Adds to `sum` what must not be in it yet.
void AddDisjoint(IntervalSet& sum, const IntervalSet& tasks) {
  const std::uint64_t before = sum.size();
  sum.Add(tasks);
  HAUL_CHECK(sum.size() == before + tasks.size());
}

// Every task that is held is in exactly one place.
void CheckHeldTasks(const State& state) {
  std::uint64_t uploading = 0;
  for (const auto& [id, assignment] : state.assignments) {
    HAUL_CHECK(!assignment.held.empty());
    IntervalSet places = assignment.pending;
    AddDisjoint(places, assignment.uploading);
    AddDisjoint(places, assignment.revoked);
    AddDisjoint(places, state.owed.TasksOf(id));
    for (auto it = state.commands.lower_bound({id, 0});
         it != state.commands.end() && it->first.first == id; ++it) {
      if (!it->second.abandoned) AddDisjoint(places, IntervalSet({it->first.second, 1}));
    }
    for (const auto& [executor_id, executor] : state.executors) {
      const auto run = executor.runs.find(id);
      if (run != executor.runs.end() && !run->second.abandoned) {
        AddDisjoint(places, run->second.unfinished);
      }
    }
    HAUL_CHECK(places == assignment.held);
    uploading += assignment.uploading.size();
  }
  HAUL_CHECK(uploading == state.uploading_count);
}

// What is reserved is what runs.
void CheckReservations(const State& state, std::uint64_t capacity_milli) {
  std::uint64_t reserved_milli = 0;
  std::uint64_t used_milli = 0;
  MilliByDepth blocked;
  absl::btree_map<JobId, std::uint64_t> running;
  absl::btree_map<JobId, std::uint64_t> assignments;
  for (const auto& [key, command] : state.commands) {
    if (command.ahead) continue;
    reserved_milli += command.cpus_milli;
    used_milli += command.cpus_milli;
    ++running[command.job];
  }
  for (const auto& [executor_id, executor] : state.executors) {
    std::uint64_t of_executor = 0;
    MilliByDepth blocked_here;
    for (const auto& [id, run] : executor.runs) {
      HAUL_CHECK(!run.unfinished.empty());
      HAUL_CHECK(run.width >= 1);
      HAUL_CHECK(run.reserved >= 1 && run.reserved <= run.unfinished.size());
      HAUL_CHECK(!executor.alone || (executor.runs.size() == 1 && run.unfinished.size() == 1));
      const auto assignment = state.assignments.find(id);
      HAUL_CHECK(executor.alone || assignment == state.assignments.end() ||
                 !(assignment->second.alone || assignment->second.own_process));
      of_executor += run.reserved * run.cpus_milli;
      HAUL_CHECK(run.blocked.size() <= run.reserved);
      HAUL_CHECK(run.unfinished.Intersection(run.blocked) == run.blocked);
      used_milli += (run.reserved - run.blocked.size()) * run.cpus_milli;
      if (!run.blocked.empty()) blocked_here[run.depth] += run.blocked.size() * run.cpus_milli;
      running[run.job] += run.reserved;
    }
    HAUL_CHECK(of_executor == executor.reserved_milli);
    HAUL_CHECK(blocked_here == executor.blocked_milli);
    for (const auto& [depth, milli] : blocked_here) blocked[depth] += milli;
    reserved_milli += of_executor;
  }
  HAUL_CHECK(reserved_milli == state.reserved_milli);
  HAUL_CHECK(blocked == state.blocked_milli);
  HAUL_CHECK(used_milli <= capacity_milli || state.overcommitted);
  for (const auto& [id, assignment] : state.assignments) ++assignments[assignment.job];
  for (const auto& [id, job] : state.jobs) {
    HAUL_CHECK(job.running == running[id]);
    HAUL_CHECK(job.assignments == assignments[id]);
    HAUL_CHECK(job.running > 0 || job.assignments > 0);
  }
  for (const auto& [id, count] : running) HAUL_CHECK(state.jobs.contains(id));
}

// Whoever was given ahead is behind one that has a place.
void CheckAhead(const State& state) {
  std::size_t count = 0;
  for (const auto& [id, ahead] : state.ahead) {
    HAUL_CHECK(!ahead.tasks.empty());
    for (const TaskIndex task : ahead.tasks) HAUL_CHECK(state.commands.at({id, task}).ahead);
    count += ahead.tasks.size();
    bool has_place = false;
    for (auto it = state.commands.lower_bound({id, 0});
         it != state.commands.end() && it->first.first == id; ++it) {
      has_place = has_place || !it->second.ahead;
    }
    HAUL_CHECK(has_place);
  }
  HAUL_CHECK(count == state.ahead_count);
  for (const auto& [key, command] : state.commands) count -= command.ahead ? 1 : 0;
  HAUL_CHECK(count == 0);
}

}  // namespace

void Core::CheckInvariants() const {
  CheckHeldTasks(state_);
  CheckAhead(state_);
  CheckReservations(state_, capacity_milli_);
  for (const auto& [id, assignment] : state_.assignments) {
    const bool listed = state_.schedulable.contains(KeyOf(id, assignment));
    HAUL_CHECK(listed == WantsToStart(id, assignment));
    HAUL_CHECK(!assignment.cancelled || assignment.pending.empty());
    HAUL_CHECK(assignment.pending.Intersection(assignment.unwanted).empty());
    HAUL_CHECK(assignment.held.Intersection(assignment.unwanted) == assignment.unwanted);
    HAUL_CHECK(assignment.revokes.empty() || assignment.pending.empty());
  }
  HAUL_CHECK(state_.schedulable.size() <= state_.assignments.size());
  for (const ResumeKey& key : state_.resumable) {
    const Run& run = state_.executors.at(key.executor).runs.at(key.assignment);
    HAUL_CHECK(run.blocked.Contains(key.task));
  }
  for (std::size_t slot = 0; slot < state_.slots.size(); ++slot) {
    const ExecutorId id = state_.slots[slot].executor;
    if (id.is_none()) continue;
    const auto executor = state_.executors.find(id);
    HAUL_CHECK(executor != state_.executors.end());
    HAUL_CHECK(!executor->second.alone && executor->second.slot == slot);
  }
}

}  // namespace haul::worker
