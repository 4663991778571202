// What workers say of tasks: how they ended, or that they come back.
#include <algorithm>
#include <utility>

#include "common/planted_bug.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {

RecordSequence Core::RecordOutcome(const Job& job, OutcomeRecorded record) {
  return Record(std::move(record), job.facts.spec.is_volatile);
}

RecordSequence Core::Conclude(const Assignment& assignment, const Job& job,
                              const OutcomeHeader& outcome, std::uint32_t payload) {
  OutcomeRecorded record{.job = job.id,
                         .tasks = outcome.tasks,
                         .status = outcome.status,
                         .cause = outcome.cause,
                         .worker = assignment.worker,
                         .unix_us = now_.unix_us,
                         .payload = payload};
  if (outcome.status == TaskStatus::kCrashed) {
    return ConcludeCrash(assignment, job, std::move(record), outcome.culprit);
  }
  if (outcome.status != TaskStatus::kFailed || job.is_cancelled(outcome.tasks) ||
      job.facts.spec.max_attempts <= 1) {
    return RecordOutcome(job, std::move(record));
  }
  return ConcludeFailures(assignment, job, std::move(record));
}

RecordSequence Core::ConcludeCrash(const Assignment& assignment, const Job& job,
                                   OutcomeRecorded record, bool culprit) {
  if (job.is_cancelled(record.tasks)) {
    record.status = TaskStatus::kCancelled;
    record.cause = Cause::kCancelled;
    record.message = job.cancelled_by();
    return RecordOutcome(job, std::move(record));
  }
  if (job.facts.spec.at_most_once) {
    record.status = culprit ? TaskStatus::kFailed : TaskStatus::kLost;
    return RecordOutcome(job, std::move(record));
  }
  RecordSequence sequence = 0;
  const TaskRange tasks = record.tasks;
  for (TaskIndex task = tasks.first; task < tasks.end(); ++task) {
    Charge charge = job.ChargeOf(task);
    if (culprit || assignment.alone || Planted(PlantedBug::kSuspectCharged)) ++charge.crashes;
    if (charge.crashes >= options_.max_crashes) {
      record.tasks = {task, 1};
      record.status = TaskStatus::kFailed;
      sequence = RecordOutcome(job, record);
    } else {
      charge.run_alone = true;
      sequence = RecordCharge(assignment.id, job, task, charge);
    }
  }
  return sequence;
}

RecordSequence Core::ConcludeFailures(const Assignment& assignment, const Job& job,
                                      OutcomeRecorded record) {
  RecordSequence sequence = 0;
  const TaskRange tasks = record.tasks;
  for (TaskIndex task = tasks.first; task < tasks.end(); ++task) {
    Charge charge = job.ChargeOf(task);
    if (Planted(PlantedBug::kRetriesMiscounted) && charge.attempts == 0) ++charge.attempts;
    if (++charge.attempts < job.facts.spec.max_attempts) {
      sequence = RecordCharge(assignment.id, job, task, charge);
    } else {
      record.tasks = {task, 1};
      sequence = RecordOutcome(job, record);
    }
  }
  return sequence;
}

RecordSequence Core::RecordCharge(AssignmentId assignment, const Job& job, TaskIndex task,
                                  const Charge& charge) {
  const bool is_volatile = job.facts.spec.is_volatile;
  const RecordSequence sequence = Record(
      AttemptsCharged{job.id, task, charge.attempts, charge.crashes, charge.run_alone, assignment},
      is_volatile);
  // Were the next start sent before that is on the disk, a restart could find two workers with the
  // task: this one, which still owes the outcome, and the next.
  if (!is_volatile) Note(JobRestsOn{job.id, sequence});
  return sequence;
}

void Core::On(const TasksFinished& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker == nullptr) return;  // I4: that session is over
  const WorkerId worker_id = worker->id;
  const Assignment* assignment = state_.FindAssignment(event.assignment);
  if (assignment != nullptr && assignment->worker == worker_id && assignment->job == event.job) {
    const Job& job = *state_.FindJob(event.job);
    IntervalSet concluded;
    TasksMeasured measured{.job = job.id, .assignment = event.assignment, .worker = worker_id};
    for (std::uint32_t i = 0; i < event.outcomes.size(); ++i) {
      const OutcomeHeader& outcome = event.outcomes[i];
      // An outcome counts whole or not at all: what the assignment no longer owns changes nothing.
      if (!assignment->tasks.ContainsAll(outcome.tasks) || concluded.Intersects(outcome.tasks) ||
          outcome.tasks.count == 0) {
        continue;
      }
      Conclude(*assignment, job, outcome, i);
      concluded.Add(outcome.tasks);
      if (outcome.status == TaskStatus::kSucceeded || outcome.status == TaskStatus::kFailed) {
        measured.count += outcome.tasks.count;
        measured.busy_ns += outcome.busy_ns;
      }
    }
    if (measured.count > 0) Note(measured);
    if (!concluded.empty()) Reduce(event.assignment, concluded);
    Settle(event.job);
    EndOrphans();
  }
  Do(SendDurable{event.session, event.batch_sequence},
     Planted(PlantedBug::kOutcomeConfirmedBeforeCommit) ? 0 : last_sequence_);
  DepartIfDrained(worker_id);
}

void Core::WithdrawStarts(AssignmentId assignment, const Job& job, const IntervalSet& tasks) {
  if (!job.facts.spec.at_most_once) return;
  for (const TaskRange& range : tasks.ranges()) {
    Record(StartsRecorded{job.id, range, assignment, /*withdrawn=*/true},
           job.facts.spec.is_volatile);
  }
}

void Core::On(const TasksHandedBack& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker == nullptr) return;
  const WorkerId worker_id = worker->id;
  if (event.reason == HandBackReason::kDirectoryMissing && state_.FindJob(event.job) != nullptr) {
    Note(WorkerRefusedJob{worker_id, event.job});
  }
  const Assignment* assignment = state_.FindAssignment(event.assignment);
  if (assignment != nullptr && assignment->worker == worker_id && assignment->job == event.job) {
    if (event.reason != HandBackReason::kExecutorDied) Note(RevokeAnswered{event.assignment});
    IntervalSet given_back;
    for (const TaskRange& range : event.ranges)
      given_back.Add(assignment->tasks.Intersection(range));
    if (!given_back.empty()) {
      WithdrawStarts(event.assignment, *state_.FindJob(event.job), given_back);
      Reduce(event.assignment, given_back);
      Settle(event.job);
    }
  }
  DepartIfDrained(worker_id);
}

void Core::On(const ProgressReported& event) {
  const Worker* worker = state_.FindWorker(event.session);
  const Assignment* assignment = state_.FindAssignment(event.assignment);
  if (worker == nullptr || assignment == nullptr || assignment->worker != worker->id ||
      !assignment->tasks.Contains(event.task)) {
    return;
  }
  Note(TaskProgressed{event.assignment, event.task, std::min(event.permille, 1000u)});
}

}  // namespace haul::coordinator
