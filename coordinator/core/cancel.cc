// Cancelled jobs, and cancelled tasks of jobs that go on: what nobody holds ends at once, and who
// holds the rest is told.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {

void Core::On(const JobCancelAsked& event) {
  const Job* job = state_.FindJob(event.job);
  if (job == nullptr) {
    return Do(
        AnswerError{event.request, absl::NotFoundError(absl::StrCat("job ", event.job.value()))});
  }
  Cancel(*job, event.tasks, event.by);
  Do(AnswerJob{event.request, event.job}, last_sequence_);
}

void Core::Cancel(const Job& job, const std::vector<TaskRange>& tasks, const std::string& by) {
  if (job.is_ended() || job.facts.cancel) return;
  IntervalSet unwanted;
  for (const TaskRange& range : tasks) {
    unwanted.Add(IntervalSet({0, job.facts.spec.task_count}).Intersection(range));
    unwanted.Remove(job.facts.done.Intersection(range));
  }
  if (tasks.empty()) {
    Record(JobCancelRequested{job.id, by, now_.unix_us}, job.facts.spec.is_volatile);
  } else if (!unwanted.empty()) {
    Note(TasksUnwanted{job.id, std::move(unwanted), by});
  }
  for (const WorkerId worker_id : job.workers) {
    const Worker& worker = *state_.FindWorker(worker_id);
    if (!worker.connected()) continue;
    for (const bool alone : {false, true}) {
      const auto lane = worker.lanes.find(LaneKey{job.id, alone});
      if (lane == worker.lanes.end()) continue;
      for (const AssignmentId id : lane->second.assignments) {
        SayCancelled(worker, *state_.FindAssignment(id));
      }
    }
  }
  Settle(job.id);
}

// If it, or something of it, is cancelled. Once that is on the disk, and behind the assignment.
void Core::SayCancelled(const Worker& worker, const Assignment& assignment) {
  const Job& job = *state_.FindJob(assignment.job);
  SendCancel cancel{.session = {}, .id = assignment.id, .job = job.id, .by = job.cancelled_by()};
  if (!job.facts.cancel) {
    cancel.tasks = job.unwanted.Intersection(assignment.tasks).ranges();
    if (cancel.tasks.empty()) return;
  }
  Tell(worker, std::move(cancel),
       job.facts.spec.is_volatile ? job.rests_on : std::max(job.rests_on, last_sequence_));
}

void Core::EndUnowned(const Job& job) {
  // Of most jobs nothing ends so, and what is ready may be many ranges.
  if (!job.facts.cancel && job.unwanted.empty() && job.facts.started.empty()) return;
  IntervalSet unowned = job.ready;
  unowned.Add(job.ready_alone);
  OutcomeRecorded record{.job = job.id, .unix_us = now_.unix_us};
  const auto end = [&](const IntervalSet& tasks) {
    for (const TaskRange& range : tasks.ranges()) {
      record.tasks = range;
      RecordOutcome(job, record);
    }
  };
  IntervalSet cancelled = job.facts.cancel ? unowned : unowned.Intersection(job.unwanted);
  IntervalSet lost = unowned.Intersection(job.facts.started);
  lost.Remove(cancelled);
  const PlantedBug forgotten =
      job.facts.cancel ? PlantedBug::kCancelledTasksForgotten : PlantedBug::kUnwantedTasksRunAgain;
  if (Planted(forgotten) && job.started) cancelled = {};
  if (Planted(PlantedBug::kLostRunAgain)) lost = {};
  record.status = TaskStatus::kCancelled;
  record.cause = Cause::kCancelled;
  record.message = job.cancelled_by();
  end(cancelled);
  record.status = TaskStatus::kLost;
  record.cause = Cause::kWorkerLost;
  record.message = "it may have started, and whoever had it is gone";
  end(lost);
}

}  // namespace haul::coordinator
