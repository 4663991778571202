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
  if (!history.starts.empty() && job->spec.at_most_once) {
    Violate(absl::StrCat(NameOf(id, task), " is to start at most once, and starts again"));
  }
  Process& starter = processes_[process];
  const bool is_void =
      assignment <= (job->spec.is_volatile ? starter.volatile_void_through : starter.void_through);
  for (const Start& earlier : history.starts) {
    if (earlier.assignment == assignment) {
      Violate(
          absl::StrCat(NameOf(id, task), " starts again with fencing token ", assignment.value()));
    }
    if (earlier.excused || is_void) continue;
    Violate(absl::StrCat(NameOf(id, task), " starts again without a reason: in process ",
                         process.value(), ", assignment ", assignment.value(), ", after process ",
                         earlier.process.value(), ", assignment ", earlier.assignment.value()));
  }
  history.starts.push_back({.process = process, .assignment = assignment, .excused = is_void});
  starter.started.emplace_back(id, task);
  if (is_void) return;
  ++job->running;
  if (job->spec.max_running > 0 && job->running > job->spec.max_running) {
    Violate(absl::StrCat(job->running, " tasks of job ", id.value(), " run; --max-running is ",
                         job->spec.max_running));
  }
}

void Checkers::OnGiven(JobId job, TaskIndex task, ProcessId process) {
  if (timeline_.now_us() - processes_[process].last_heard_us > lease_us_) {
    Violate(absl::StrCat("process ", process.value(), " starts ", NameOf(job, task),
                         " past its lease"));
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
  Start* start = FindStart(id, task, process, assignment);
  if (start == nullptr) return;
  StopRunning(*job, *start);
  if (status == TaskStatus::kFailed) start->failed = true;
  const bool retried = start->failed && spec.max_attempts > 1;
  if (retried || status == TaskStatus::kCrashed) ExcuseStart(*job, *start);
}

Start* Checkers::FindStart(JobId id, TaskIndex task, ProcessId process, AssignmentId assignment) {
  JobHistory* job = Find(id);
  if (job == nullptr) return nullptr;
  std::vector<Start>& starts = job->tasks.at(task).starts;
  const auto it = std::find_if(starts.begin(), starts.end(), [&](const Start& start) {
    return start.process == process && start.assignment == assignment;
  });
  return it == starts.end() ? nullptr : &*it;
}

void Checkers::OnProcessShared(JobId job, TaskIndex task, std::uint64_t tasks) {
  Violate(absl::StrCat(NameOf(job, task), " wants a process of its own and is one of ", tasks,
                       " in one"));
}

void Checkers::OnOwnFailure(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment) {
  if (Start* start = FindStart(job, task, process, assignment)) start->failed = true;
}

void Checkers::OnCrash(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment) {
  if (Start* start = FindStart(job, task, process, assignment)) start->crashed = true;
}

void Checkers::OnOutcomeLost(JobId id, TaskIndex task, ProcessId process, AssignmentId assignment) {
  Start* start = FindStart(id, task, process, assignment);
  if (start != nullptr) ExcuseStart(*Find(id), *start);
}

void Checkers::OnOwedBytes(ProcessId process, std::size_t byte_count) {
  // The limit of the simulated workers, and what may still end after it is reached.
  constexpr std::size_t kBound = 1'500 + 32 * 1024;
  if (byte_count > kBound) {
    Violate(absl::StrCat("process ", process.value(), " keeps ", byte_count, " bytes of outcomes"));
  }
}

void Checkers::Excuse(ProcessId process) {
  for (const auto& [id, task] : processes_[process].started) {
    JobHistory* job = Find(id);
    if (job == nullptr) continue;
    for (Start& start : job->tasks.at(task).starts) {
      if (start.process != process) continue;
      if (start.running && alone_.contains(start.assignment)) start.crashed = true;
      ExcuseStart(*job, start);
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

void Checkers::OnReleased(JobId id, TaskRange tasks, AssignmentId assignment, bool alone) {
  if (alone) alone_.insert(assignment);
  JobHistory* job = Find(id);
  if (job == nullptr) return;
  CheckParent(id, *job);
  for (TaskIndex task = tasks.first; task < tasks.end(); ++task) {
    TaskHistory& history = job->tasks.at(task);
    if (history.has_outcome) Violate(absl::StrCat(NameOf(id, task), " is sent after its outcome"));
    if (assignment <= history.last_released) {
      Violate(absl::StrCat(NameOf(id, task), ": fencing tokens fall"));
    }
    if (history.unwanted_after.has_value() && assignment > *history.unwanted_after) {
      Violate(absl::StrCat(NameOf(id, task), " is sent after it was cancelled"));
    }
    history.last_released = assignment;
    history.released_us = timeline_.now_us();
  }
}

// What a task submitted ends with that start of it.
void Checkers::CheckParent(JobId id, const JobHistory& job) {
  const coordinator::ParentTask& parent = job.spec.parent;
  const JobHistory* of_parent = Find(parent.job);
  if (parent.assignment.is_none() || of_parent == nullptr) return;
  const TaskHistory& history = of_parent->tasks.at(parent.task);
  // What leaves just after the parent's outcome, or its next assignment, was decided before: it
  // waited for the commit under way and for its own, each up to 0.8 s on a slow disk.
  const std::int64_t before_us = timeline_.now_us() - 2'000'000;
  const bool ended = history.has_outcome && before_us > history.outcome_us;
  const bool starts_anew =
      history.last_released > parent.assignment && before_us > history.released_us;
  if (ended || starts_anew) {
    Violate(absl::StrCat("job ", id.value(), " goes on, and its parent, ",
                         NameOf(parent.job, parent.task), ", does not"));
  }
}

void Checkers::OnTasksCancelAsked(JobId id, TaskRange tasks, std::optional<AssignmentId> newest) {
  JobHistory* job = Find(id);
  if (job == nullptr) return;
  const TaskIndex end = std::min<TaskIndex>(tasks.end(), job->tasks.size());
  for (TaskIndex task = tasks.first; task < end; ++task) {
    job->tasks[task].cancel_asked = true;
    job->tasks[task].unwanted_after = newest;
  }
}

void Checkers::OnDropped(ProcessId id, AssignmentId assignment) {
  for (const auto& [job_id, task] : processes_[id].started) {
    const JobHistory* job = Find(job_id);
    if (job == nullptr || job->cancel_asked || decided_.contains({job_id, task})) continue;
    const TaskHistory& history = job->tasks.at(task);
    if (history.cancel_asked) continue;
    if (history.has_outcome || history.last_released != assignment) continue;
    for (const Start& start : history.starts) {
      if (start.process != id || start.assignment != assignment || !start.running) continue;
      if (!start.excused) Violate(absl::StrCat(NameOf(job_id, task), " runs and is dropped"));
    }
  }
}

void Checkers::OnSubmitAnswered(JobId job, bool is_volatile) {
  // The answer to a repeat may leave with the word that the job is forgotten.
  if (forgotten_.contains(job) || !answered_.emplace(job, is_volatile).second) return;
  if (Find(job) == nullptr && !is_volatile) {
    Violate(absl::StrCat("job ", job.value(), " is acknowledged and not on the disk"));
  }
}

void Checkers::OnLeftDurable(ProcessId id) {
  Excuse(id);
  processes_[id].void_through = AssignmentId(~std::uint64_t{0});
}

void Checkers::OnCharged(const coordinator::AttemptsCharged& record, std::uint32_t max_crashes) {
  const JobHistory* job = Find(record.job);
  if (job == nullptr) return;
  if (record.attempts >= job->spec.max_attempts || record.crashes >= max_crashes) {
    Violate(absl::StrCat(NameOf(record.job, record.task), " is charged ", record.attempts,
                         " attempts and ", record.crashes, " crashes and goes on"));
  }
}

void Checkers::OnLeftRecorded(ProcessId id, const std::string& reason) {
  const Process& process = processes_[id];
  const std::int64_t silent_us =
      timeline_.now_us() - std::max(process.last_contact_us, serving_since_us_);
  // A newer worker of its name is a reason at once.
  const bool superseded = reason.find("superseded") == 0;
  if (process.alive && !superseded && silent_us < lease_us_ && HasUnexcused(id)) {
    Violate(absl::StrCat("process ", id.value(), " lives, was heard ", silent_us,
                         " us ago, and is given up"));
  }
  // Volatile jobs do not wait for the disk.
  processes_[id].volatile_void_through = AssignmentId(~std::uint64_t{0});
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

void Checkers::OnExtended(const coordinator::JobExtended& record) {
  if (JobHistory* job = Find(record.job)) job->tasks.resize(job->tasks.size() + record.count);
}

void Checkers::OnExtendAnswered(JobId id, std::uint64_t task_count) {
  const JobHistory* job = Find(id);
  if (job != nullptr && job->tasks.size() < task_count) {
    Violate(absl::StrCat("job ", id.value(), " has ", task_count, " tasks by its answer, and ",
                         job->tasks.size(), " on the disk"));
  }
}

void Checkers::OnOutcome(const coordinator::OutcomeRecorded& record, bool durable) {
  JobHistory* job = Find(record.job);
  if (job == nullptr) return;
  if (record.status == TaskStatus::kLost && !job->spec.at_most_once) {
    Violate(absl::StrCat(NameOf(record.job, record.tasks.first), " ends as lost"));
  }
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
    history.outcome_us = timeline_.now_us();
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
    CheckFailure(record, task, *job);
    const bool may_not_have =
        record.status == TaskStatus::kCancelled || record.status == TaskStatus::kLost;
    if (!started && !may_not_have) {
      Violate(absl::StrCat(NameOf(record.job, task), " ends as ",
                           std::string(TaskStatusName(record.status)),
                           " in an assignment that did not end it"));
    }
  }
}

// Nobody fails for what others did, nor before it had its attempts.
void Checkers::CheckFailure(const coordinator::OutcomeRecorded& record, TaskIndex task,
                            const JobHistory& job) {
  if (record.status != TaskStatus::kFailed || job.cancel_asked) return;
  if (job.tasks.at(task).cancel_asked) return;
  const std::vector<Start>& starts = job.tasks.at(task).starts;
  const auto failures =
      std::count_if(starts.begin(), starts.end(), [](const Start& start) { return start.failed; });
  const auto crashes =
      std::count_if(starts.begin(), starts.end(), [](const Start& start) { return start.crashed; });
  const std::ptrdiff_t max_crashes = job.spec.at_most_once ? 1 : 3;
  if (failures < static_cast<std::ptrdiff_t>(job.spec.max_attempts) && crashes < max_crashes) {
    Violate(absl::StrCat(NameOf(record.job, task), " ends as failed after ", failures, " of ",
                         job.spec.max_attempts, " failed attempts and ", crashes, " crashes"));
  }
}

void Checkers::OnForgotten(JobId job) {
  jobs_.erase(job);
  answered_.erase(job);
  forgotten_.insert(job);
}

void Checkers::OnCoordinatorKilled() {
  decided_.clear();
  for (auto& [id, job] : jobs_) {
    for (TaskHistory& task : job.tasks) task.unwanted_after.reset();
  }
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
    const auto asked = static_cast<std::uint64_t>(
        std::count_if(history->tasks.begin(), history->tasks.end(),
                      [](const TaskHistory& task) { return task.cancel_asked; }));
    const bool is_child = !history->spec.parent.assignment.is_none();
    if (!history->cancel_asked && !is_child && job.facts.counts.cancelled > asked) {
      Violate(absl::StrCat("job ", id.value(), " has ", job.facts.counts.cancelled,
                           " cancelled tasks, and ", asked, " were cancelled"));
    }
    for (TaskIndex task = 0; task < history->tasks.size(); ++task) {
      if (!history->tasks[task].has_outcome) Violate(NameOf(id, task) + " has no outcome");
    }
  }
}

}  // namespace haul::sim
