#include "common/check.h"
#include "coordinator/core/state.h"

namespace haul::coordinator {
namespace {

// It stands in line exactly where what is known of it puts it.
void CheckPlace(const State& state, const Job& job) {
  const ReadyJobs& ready = state.ready_jobs();
  HAUL_CHECK(ready.by_use().contains({job.facts.spec.priority, job.virtual_us, job.id}) ==
             job.has_ready());
  const bool wants =
      job.has_ready() && job.MayRunBeside(job.running_width) > 0 && !state.WaitsForAdoption(job);
  HAUL_CHECK(job.place.order.has_value() == wants);
  if (!wants) return;
  HAUL_CHECK(*job.place.order == job.OrderWith(job.running_width));
  if (!job.ready_alone.empty() || !job.refused_by.empty()) {
    return HAUL_CHECK(ready.apart().contains(*job.place.order));
  }
  const auto queue = ready.queues().find(WorkShape::Of(job.facts.spec));
  HAUL_CHECK(queue != ready.queues().end() && queue->second.contains(*job.place.order));
}

void CheckJob(const State& state, const Job& job, const IntervalSet& assigned) {
  if (job.is_ended()) {
    HAUL_CHECK(job.facts.counts.total() == job.facts.spec.task_count);
    HAUL_CHECK(job.assigned_tasks == 0 && !job.has_ready() && job.workers.empty());
    return;
  }
  // Every task is in exactly one place.
  HAUL_CHECK(job.facts.done.size() == job.facts.counts.total());
  HAUL_CHECK(assigned.size() == job.assigned_tasks);
  IntervalSet all = job.facts.done;
  all.Add(job.ready);
  all.Add(job.ready_alone);
  all.Add(assigned);
  const std::uint64_t parts =
      job.facts.done.size() + job.ready.size() + job.ready_alone.size() + assigned.size();
  HAUL_CHECK(all.size() == parts);
  HAUL_CHECK(parts == job.facts.spec.task_count);
  HAUL_CHECK(all.First(parts) == (TaskRange{0, parts}));
  CheckPlace(state, job);
  HAUL_CHECK(state.open_jobs().contains(job.id) == job.facts.open);
  for (const auto& [task, charge] : job.facts.charges) HAUL_CHECK(!job.facts.done.Contains(task));
  // Who holds a task may have started it; what may have started and nobody holds is lost.
  const bool at_most_once = job.facts.spec.at_most_once;
  const IntervalSet& started = job.facts.started;
  HAUL_CHECK(at_most_once ? started.Intersection(assigned) == assigned : started.empty());
  HAUL_CHECK(!at_most_once || started == assigned || !state.serving() ||
             state.WaitsForAdoption(job) || Planted(PlantedBug::kLostRunAgain));
}

std::uint64_t CheckWorker(const State& state, const Worker& worker) {
  std::uint64_t reserved = 0, tasks = 0, assignments = 0, exclusive = 0;
  absl::btree_map<std::uint32_t, std::uint64_t> blocked;
  for (const auto& [key, lane] : worker.lanes) {
    std::uint64_t outstanding = 0;
    for (const AssignmentId id : lane.assignments) {
      const Assignment* assignment = state.FindAssignment(id);
      HAUL_CHECK(assignment != nullptr && assignment->worker == worker.id);
      HAUL_CHECK(assignment->job == key.job && assignment->alone == key.alone);
      outstanding += assignment->tasks.size();
      ++assignments;
      if (assignment->fills_worker()) ++exclusive;
      HAUL_CHECK(state.on_trust().contains({assignment->given_us, id}) == assignment->on_trust);
      HAUL_CHECK(assignment->blocked <= assignment->tasks.size());
      for (const auto& [task, permille] : assignment->progress) {
        HAUL_CHECK(assignment->tasks.Contains(task) && permille <= 1000);
      }
      const JobSpec& spec = state.FindJob(key.job)->facts.spec;
      if (assignment->blocked > 0) blocked[spec.depth] += assignment->blocked * spec.cpus_milli;
    }
    HAUL_CHECK(outstanding == lane.outstanding && outstanding > 0);
    reserved += lane.running_width() * state.FindJob(key.job)->facts.spec.cpus_milli;
    tasks += outstanding;
  }
  HAUL_CHECK(reserved == worker.reserved_milli && tasks == worker.assigned_tasks);
  HAUL_CHECK(blocked == worker.blocked_milli);
  HAUL_CHECK(worker.used_milli() <= worker.profile.cpus_milli || worker.overcommitted);
  HAUL_CHECK(exclusive == worker.exclusive_assignments);
  HAUL_CHECK(state.roomy_workers().contains(worker.id) == worker.has_room());
  return assignments;
}

}  // namespace

void CheckInvariants(const State& state) {
  absl::btree_map<JobId, IntervalSet> assigned;
  for (const auto& [id, assignment] : state.assignments()) {
    HAUL_CHECK(!assignment.tasks.empty());
    IntervalSet& of_job = assigned[assignment.job];
    for (const TaskRange& range : assignment.tasks.ranges()) {
      const std::uint64_t added = of_job.Add(range);
      HAUL_CHECK(added == range.count);  // one task, one assignment
    }
  }
  std::uint64_t active = 0, ready = 0, wanting = 0;
  absl::btree_map<JobId, std::uint64_t> running;
  std::uint64_t assignments = 0, on_trust = 0;
  for (const auto& [id, assignment] : state.assignments()) on_trust += assignment.on_trust ? 1 : 0;
  HAUL_CHECK(on_trust == state.on_trust().size());
  for (const auto& [id, worker] : state.workers()) {
    assignments += CheckWorker(state, worker);
    for (const auto& [key, lane] : worker.lanes) running[key.job] += lane.running_width();
  }
  HAUL_CHECK(assignments == state.assignments().size());
  const IntervalSet none;
  for (const auto& [id, job] : state.jobs()) {
    const auto of_job = assigned.find(id);
    CheckJob(state, job, of_job == assigned.end() ? none : of_job->second);
    // Of most of them nothing more is to be known.
    if (job.is_ended()) continue;
    ++active;
    ready += job.has_ready() ? 1 : 0;
    wanting += job.place.order ? 1 : 0;
    HAUL_CHECK(running[id] == job.running_width);
    const std::uint32_t limit = job.facts.spec.max_running;
    HAUL_CHECK(limit == 0 || job.running_width <= limit || job.recovered);
  }
  HAUL_CHECK(active == state.active_jobs());
  HAUL_CHECK(ready == state.ready_jobs().by_use().size());
  HAUL_CHECK(wanting == state.ready_jobs().queued());
  for (const Child& child : state.children()) {
    const Job* job = state.FindJob(child.job);
    HAUL_CHECK(job != nullptr && !job->is_ended());
    // Where its parent's start is over, it is told to end.
    HAUL_CHECK(state.ParentGoesOn(job->facts.spec.parent) || job->facts.cancel.has_value() ||
               !state.serving() || state.WaitsForAdoption(*job) ||
               Planted(PlantedBug::kChildrenOutliveParent));
  }
}

}  // namespace haul::coordinator
