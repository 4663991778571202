// Assignments and the lanes that they form: what of which job is at which worker, and what that
// reserves there.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "coordinator/core/state.h"

namespace haul::coordinator {

void State::ChangeLane(Worker& worker, Job& job, const Assignment& assignment, std::int64_t tasks) {
  const LaneKey key{job.id, assignment.alone};
  Lane& lane = worker.lanes[key];
  const std::uint64_t before = lane.running_width();
  const auto change = static_cast<std::uint64_t>(tasks);  // two's complement: adds or takes
  lane.outstanding += change;
  if (assignment.tasks.empty()) {
    lane.assignments.erase(assignment.id);
  } else {
    lane.assignments.insert(assignment.id);
  }
  if (tasks > 0) {
    lane.width = assignment.alone ? static_cast<std::uint32_t>(lane.outstanding) : assignment.width;
  }
  const std::uint64_t after = lane.running_width();
  job.assigned_tasks += change;
  job.running_width += after - before;
  worker.assigned_tasks += change;
  worker.reserved_milli += (after - before) * job.facts.spec.cpus_milli;
  if (worker.used_milli() <= worker.profile.cpus_milli) worker.overcommitted = false;

  const std::pair<WorkerId, LaneKey> place{worker.id, key};
  if (tasks < 0) hungry_.insert(place);
  if (lane.backlog() > 0) {
    backlogged_.insert(place);
  } else {
    backlogged_.erase(place);
  }
  if (lane.outstanding == 0) {
    worker.lanes.erase(key);
    hungry_.erase(place);
  }
  const bool holds_some =
      worker.lanes.contains({job.id, false}) || worker.lanes.contains({job.id, true});
  if (holds_some) {
    job.workers.insert(worker.id);
  } else {
    job.workers.erase(worker.id);
  }
  IndexWorker(worker);
}

void State::On(const AssignmentOpened& record) {
  HAUL_CHECK(!assignments_.contains(record.id));
  HAUL_CHECK(!record.tasks.empty());
  Job& job = MutableJob(record.job);
  Worker& worker = MutableWorker(record.worker);
  Assignment& assignment = assignments_[record.id];
  assignment = {.id = record.id,
                .job = record.job,
                .worker = record.worker,
                .width = record.width,
                .tasks = record.tasks,
                .alone = record.alone,
                .exclusive = record.alone && job.alone_on_worker(),
                .on_trust = record.on_trust,
                .given_us = record.monotonic_us};
  if (record.on_trust) on_trust_.insert({record.monotonic_us, record.id});
  if (assignment.exclusive) ++worker.exclusive_assignments;
  for (const TaskRange& range : record.tasks.ranges()) {
    const std::uint64_t taken = job.ready.Remove(range) + job.ready_alone.Remove(range);
    HAUL_CHECK(taken == range.count);  // an assignment takes only what nobody else owns
  }
  job.started = true;
  ChangeLane(worker, job, assignment, static_cast<std::int64_t>(record.tasks.size()));
  if (worker.used_milli() > worker.profile.cpus_milli) worker.overcommitted = true;
  IndexJob(job);
}

void State::Requeue(Job& job, const IntervalSet& tasks) {
  job.ready.Add(tasks);
  for (const TaskRange& range : tasks.ranges()) {
    auto it = job.facts.charges.lower_bound(range.first);
    for (; it != job.facts.charges.end() && it->first < range.end(); ++it) {
      if (!it->second.run_alone) continue;
      job.ready.Remove({it->first, 1});
      job.ready_alone.Add({it->first, 1});
    }
  }
  IndexJob(job);
}

void State::On(const AssignmentReduced& record) {
  const auto it = assignments_.find(record.id);
  HAUL_CHECK(it != assignments_.end());
  Assignment& assignment = it->second;
  Job& job = MutableJob(assignment.job);
  Worker& worker = MutableWorker(assignment.worker);
  for (const TaskRange& range : record.tasks.ranges()) {
    const std::uint64_t removed = assignment.tasks.Remove(range);
    HAUL_CHECK(removed == range.count);
    assignment.progress.erase(assignment.progress.lower_bound(range.first),
                              assignment.progress.lower_bound(range.end()));
  }
  IntervalSet undone = record.tasks;
  if (!Planted(PlantedBug::kDoneTasksRequeued)) {
    undone.Remove(job.facts.done.Intersection(record.tasks));
  }
  worker.ended_tasks += record.tasks.size() - undone.size();
  if (undone.size() < record.tasks.size()) {
    worker.lanes.find(LaneKey{job.id, assignment.alone})->second.ran_some = true;
  }
  ChangeBlocked(worker, assignment, std::min(assignment.blocked, assignment.tasks.size()));
  if (assignment.exclusive && assignment.tasks.empty()) --worker.exclusive_assignments;
  ChangeLane(worker, job, assignment, -static_cast<std::int64_t>(record.tasks.size()));
  Requeue(job, undone);
  if (!assignment.tasks.empty()) return;
  EndTrust(assignment);
  assignments_.erase(it);
}

void State::EndTrust(Assignment& assignment) {
  if (!std::exchange(assignment.on_trust, false)) return;
  on_trust_.erase({assignment.given_us, assignment.id});
}

void State::ChangeBlocked(Worker& worker, Assignment& assignment, std::uint64_t count) {
  if (count == assignment.blocked) return;
  const JobSpec& spec = FindJob(assignment.job)->facts.spec;
  worker.exclusive_assignments -= assignment.fills_worker() ? 1 : 0;
  std::uint64_t& milli = worker.blocked_milli[spec.depth];
  milli -= assignment.blocked * spec.cpus_milli;
  milli += count * spec.cpus_milli;
  if (milli == 0) worker.blocked_milli.erase(spec.depth);
  assignment.blocked = count;
  worker.exclusive_assignments += assignment.fills_worker() ? 1 : 0;
  worker.overcommitted = worker.used_milli() > worker.profile.cpus_milli;
}

// Those that resume may have to wait for a cpu again: the worker sees to it that no more are used
// than it has.
void State::On(const TasksBlocked& record) {
  const auto it = assignments_.find(record.id);
  HAUL_CHECK(it != assignments_.end());
  Worker& worker = MutableWorker(it->second.worker);
  ChangeBlocked(worker, it->second, std::min(record.count, it->second.tasks.size()));
  IndexWorker(worker);
}

void State::On(const TaskProgressed& record) {
  const auto it = assignments_.find(record.id);
  HAUL_CHECK(it != assignments_.end());
  auto& progress = it->second.progress;
  if (progress.size() < Assignment::kMostProgress || progress.contains(record.task)) {
    progress[record.task] = record.permille;
  }
}

void State::On(const RevokeAsked& record) {
  const auto it = assignments_.find(record.id);
  HAUL_CHECK(it != assignments_.end());
  it->second.revoke_asked = true;
  if (it->second.on_trust) MutableJob(it->second.job).misjudged = true;
}

void State::On(const RevokeAnswered& record) {
  const auto it = assignments_.find(record.id);
  if (it == assignments_.end()) return;
  it->second.revoke_asked = false;
  if (!record.lost) EndTrust(it->second);
}

}  // namespace haul::coordinator
