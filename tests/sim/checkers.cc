#include "tests/sim/checkers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace haul::sim {
namespace {

std::string NameOf(JobId job, TaskIndex task) {
  return absl::StrCat("task ", task, " of job ", job.value());
}

}  // namespace

void Checkers::Violate(const std::string& what) {
  violations_.push_back(absl::StrCat("at ", timeline_.now_us(), " us: ", what));
}

JobHistory* Checkers::Find(JobId job) {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

// ---- workers ----

void Checkers::OnStart(JobId id, TaskIndex task, ProcessId process, AssignmentId assignment) {
  ++starts_;
  JobHistory* job = Find(id);
  if (job == nullptr) return;  // a volatile one that is gone
  TaskHistory& history = job->tasks.at(task);
  if (!history.starts.empty()) ++repeated_starts_;
  for (const Start& earlier : history.starts) {
    if (earlier.excused) continue;
    Violate(absl::StrCat(NameOf(id, task), " starts again without a reason: in process ",
                         process.value(), ", assignment ", assignment.value(), ", after process ",
                         earlier.process.value(), ", assignment ", earlier.assignment.value()));
  }
  history.starts.push_back({.process = process, .assignment = assignment});
  processes_[process].started.emplace_back(id, task);
  ++job->running;
  if (job->spec.max_running > 0 && job->running > job->spec.max_running) {
    Violate(absl::StrCat(job->running, " tasks of job ", id.value(), " run; --max-running is ",
                         job->spec.max_running));
  }
}

void Checkers::StopRunning(JobHistory& job, Start& start) {
  if (start.running && !start.excused) --job.running;
  start.running = false;
}

void Checkers::ExcuseStart(JobHistory& job, Start& start) {
  if (start.running && !start.excused) --job.running;
  start.excused = true;
}

void Checkers::OnEnd(JobId id, TaskIndex task, ProcessId process, AssignmentId assignment,
                     const coordinator::JobSpec& spec, TaskStatus status) {
  JobHistory* job = Find(id);
  if (job == nullptr) return;
  for (Start& start : job->tasks.at(task).starts) {
    if (start.process != process || start.assignment != assignment) continue;
    StopRunning(*job, start);
    const bool retried = status == TaskStatus::kFailed && spec.max_attempts > 1;
    if (retried || status == TaskStatus::kCrashed) ExcuseStart(*job, start);
  }
}

void Checkers::Excuse(ProcessId process) {
  for (const auto& [id, task] : processes_[process].started) {
    JobHistory* job = Find(id);
    if (job == nullptr) continue;
    for (Start& start : job->tasks.at(task).starts) {
      if (start.process == process) ExcuseStart(*job, start);
    }
  }
}

bool Checkers::HasUnexcused(ProcessId process) {
  for (const auto& [id, task] : processes_[process].started) {
    const JobHistory* job = Find(id);
    if (job == nullptr || job->tasks.at(task).has_outcome || decided_.contains({id, task}))
      continue;
    for (const Start& start : job->tasks.at(task).starts) {
      if (start.process == process && !start.excused) return true;
    }
  }
  return false;
}

void Checkers::OnProcessDied(ProcessId process) {
  processes_[process].alive = false;
  Excuse(process);
}

// ---- the coordinator ----

void Checkers::OnReleased(JobId id, TaskRange tasks, AssignmentId assignment) {
  JobHistory* job = Find(id);
  if (job == nullptr) return;
  for (TaskIndex task = tasks.first; task < tasks.end(); ++task) {
    TaskHistory& history = job->tasks.at(task);
    if (history.has_outcome) Violate(absl::StrCat(NameOf(id, task), " is sent after its outcome"));
    if (assignment <= history.last_released) {
      Violate(absl::StrCat(NameOf(id, task), ": fencing tokens fall"));
    }
    history.last_released = assignment;
  }
}

void Checkers::OnSubmitAnswered(JobId job, bool is_volatile) {
  // The answer to a repeat may leave with the word that the job is forgotten.
  if (forgotten_.contains(job) || !answered_.emplace(job, is_volatile).second) return;
  if (Find(job) == nullptr && !is_volatile) {
    Violate(absl::StrCat("job ", job.value(), " is acknowledged and not on the disk"));
  }
}

void Checkers::OnLeftRecorded(ProcessId id) {
  const Process& process = processes_[id];
  const std::int64_t silent_us =
      timeline_.now_us() - std::max(process.last_contact_us, serving_since_us_);
  if (process.alive && silent_us < lease_us_ && HasUnexcused(id)) {
    Violate(absl::StrCat("process ", id.value(), " lives, was heard ", silent_us,
                         " us ago, and is given up"));
  }
  // Volatile jobs do not wait for the disk.
  for (const auto& [job_id, task] : processes_[id].started) {
    JobHistory* job = Find(job_id);
    if (job == nullptr || !job->spec.is_volatile) continue;
    for (Start& start : job->tasks.at(task).starts) {
      if (start.process == id) ExcuseStart(*job, start);
    }
  }
}

void Checkers::OnAccepted(const coordinator::JobAccepted& record) {
  JobHistory& job = jobs_[record.job];
  job.spec = record.spec;
  job.tasks.resize(record.spec.task_count);
}

void Checkers::OnOutcome(const coordinator::OutcomeRecorded& record, bool durable) {
  JobHistory* job = Find(record.job);
  if (job == nullptr) return;
  if (durable == job->spec.is_volatile) {
    for (TaskIndex task = record.tasks.first; task < record.tasks.end(); ++task) {
      decided_.emplace(record.job, task);
    }
    return;
  }
  for (TaskIndex task = record.tasks.first; task < record.tasks.end(); ++task) {
    TaskHistory& history = job->tasks.at(task);
    if (history.has_outcome) Violate(absl::StrCat(NameOf(record.job, task), " ends twice"));
    history.has_outcome = true;
    decided_.erase({record.job, task});
  }
}

void Checkers::OnOutcomeFrom(const coordinator::OutcomeRecorded& record,
                             const coordinator::TasksFinished& event) {
  JobHistory* job = Find(record.job);
  if (job == nullptr) return;
  for (TaskIndex task = record.tasks.first; task < record.tasks.end(); ++task) {
    const TaskHistory& history = job->tasks.at(task);
    if (event.assignment < history.last_released) {
      Violate(absl::StrCat(NameOf(record.job, task), " ends by superseded assignment ",
                           event.assignment.value(), "; the last is ",
                           history.last_released.value()));
    }
    const bool started = std::any_of(
        history.starts.begin(), history.starts.end(),
        [&](const Start& start) { return start.assignment == event.assignment && !start.running; });
    if (!started && record.status != TaskStatus::kCancelled) {
      Violate(absl::StrCat(NameOf(record.job, task), " ends as ",
                           std::string(TaskStatusName(record.status)),
                           " in an assignment that did not end it"));
    }
  }
}

void Checkers::OnForgotten(JobId job) {
  jobs_.erase(job);
  answered_.erase(job);
  forgotten_.insert(job);
}

void Checkers::OnCoordinatorKilled() {
  decided_.clear();
  std::erase_if(jobs_, [](const auto& entry) { return entry.second.spec.is_volatile; });
  std::erase_if(answered_, [](const auto& entry) { return entry.second; });
}

void Checkers::OnRecovered(const coordinator::State& state) {
  for (const auto& [job, is_volatile] : answered_) {
    if (state.FindJob(job) == nullptr) {
      Violate(absl::StrCat("acknowledged job ", job.value(), " is lost"));
    }
  }
}

void Checkers::OnFinished(const coordinator::State& state) {
  for (const auto& [id, is_volatile] : answered_) {
    if (state.FindJob(id) == nullptr) Violate(absl::StrCat("job ", id.value(), " is lost"));
  }
  for (const auto& [id, job] : state.jobs()) {
    if (!job.is_ended()) {
      Violate(absl::StrCat("job ", id.value(), " did not end: ", job.facts.done_count(), " of ",
                           job.facts.spec.task_count, " tasks, ", job.assigned_tasks, " assigned"));
      continue;
    }
    const JobHistory* history = Find(id);
    if (history == nullptr) {
      Violate(absl::StrCat("job ", id.value(), " is not on the disk"));
      continue;
    }
    if (job.facts.counts.cancelled > 0 && !history->cancel_asked) {
      Violate(absl::StrCat("job ", id.value(), " has cancelled tasks and nobody cancelled it"));
    }
    for (TaskIndex task = 0; task < history->tasks.size(); ++task) {
      if (!history->tasks[task].has_outcome) Violate(NameOf(id, task) + " has no outcome");
    }
  }
}

}  // namespace haul::sim
