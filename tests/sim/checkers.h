// What really happened in the simulated world, and whether Haul's promises (docs/semantics.md)
// held. Knows nothing of the coordinator's state: it sees what leaves the coordinator, what reaches
// the disk and what the workers do. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/outcome.h"
#include "coordinator/core/events.h"
#include "coordinator/core/records.h"
#include "coordinator/core/state.h"
#include "tests/sim/messages.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

// One start of a task at a worker.
struct Start {
  ProcessId process;
  AssignmentId assignment;
  bool running = true;
  bool excused = false;  // the task may start once more
  bool failed = false;   // by the task itself
  // It took its executor down, alone there or as the proven culprit; or it ran alone at a worker
  // that was lost.
  bool crashed = false;
};
struct TaskHistory {
  std::vector<Start> starts;
  AssignmentId last_released;  // the newest assignment of it that left the coordinator
  std::int64_t released_us = 0;
  bool has_outcome = false;  // on the disk; of a volatile job: recorded
  std::int64_t outcome_us = 0;
  bool cancel_asked = false;  // of it alone
  // While this coordinator lives no later assignment of it leaves: it was cancelled.
  std::optional<AssignmentId> unwanted_after;
};
struct JobHistory {
  coordinator::JobSpec spec;
  std::vector<TaskHistory> tasks;
  std::uint64_t running = 0;  // starts that run and are not excused
  bool cancel_asked = false;
};

class Checkers {
 public:
  Checkers(const Timeline& timeline, std::int64_t lease_us)
      : timeline_(timeline), lease_us_(lease_us) {}

  // ---- workers ----
  void OnProcessStarted(ProcessId process) { processes_[process].alive = true; }
  void OnStart(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment);
  // The worker has this task started, or hands it to an executor that may.
  void OnGiven(JobId job, TaskIndex task, ProcessId process);
  // Before the OnEnd of the same start.
  // It wants a process of its own, and is one of `tasks` in the life of one, or at once.
  void OnProcessShared(JobId job, TaskIndex task, std::uint64_t tasks);
  void OnOwnFailure(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment);
  void OnCrash(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment);
  void OnEnd(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment,
             const coordinator::JobSpec& spec, TaskStatus status);
  // The executor died before it could say how the task ended, so that it runs again.
  void OnOutcomeLost(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment);
  // It ends everything by itself, or is gone: what it had not handed over may start again.
  void OnProcessStops(ProcessId process) { Excuse(process); }
  void OnProcessDied(ProcessId process);
  void OnHeardCoordinator(ProcessId process) {
    processes_[process].last_heard_us = timeline_.now_us();
  }
  // Of outcomes that it keeps until they are durable.
  void OnOwedBytes(ProcessId process, std::size_t byte_count);

  // ---- the coordinator ----
  void OnServing() { serving_since_us_ = timeline_.now_us(); }
  void OnHeard(ProcessId process) { processes_[process].last_contact_us = timeline_.now_us(); }
  void OnReleased(JobId job, TaskRange tasks, AssignmentId assignment, bool alone);
  // The welcome of this process says that it owns this assignment no longer.
  void OnDropped(ProcessId process, AssignmentId assignment);
  void OnSubmitAnswered(JobId job, bool is_volatile);
  void OnExtendAnswered(JobId job, std::uint64_t task_count);
  // The coordinator records that this process is a worker no longer.
  void OnLeftRecorded(ProcessId process, const std::string& reason);
  void OnLeftDurable(ProcessId process);
  void OnJoinedRecorded(ProcessId process, AssignmentId joined_after) {
    processes_[process].volatile_void_through = joined_after;
  }
  void OnJoinedDurable(ProcessId process, AssignmentId joined_after) {
    processes_[process].void_through = joined_after;
  }
  void OnAccepted(const coordinator::JobAccepted& record);
  void OnExtended(const coordinator::JobExtended& record);
  void OnOutcome(const coordinator::OutcomeRecorded& record, bool durable);
  // An outcome as the event brought it: of that assignment, whatever the record says.
  void OnOutcomeFrom(const coordinator::OutcomeRecorded& record,
                     const coordinator::TasksFinished& event);
  void OnCharged(const coordinator::AttemptsCharged& record, std::uint32_t max_crashes);
  void OnCancelAsked(JobId job) {
    if (JobHistory* history = Find(job)) history->cancel_asked = true;
  }
  // Likewise only these tasks; the coordinator, if it lives, has given no assignment after
  // `newest`.
  void OnTasksCancelAsked(JobId job, TaskRange tasks, std::optional<AssignmentId> newest);
  void OnForgotten(JobId job);
  void OnCoordinatorKilled();
  void OnRecovered(const coordinator::State& state);
  // The last word: faults stopped long ago.
  void OnFinished(const coordinator::State& state);

  void Violate(const std::string& what);
  const std::vector<std::string>& violations() const { return violations_; }
  std::int64_t lease_us() const { return lease_us_; }
  std::uint64_t starts() const { return starts_; }
  std::uint64_t repeated_starts() const { return repeated_starts_; }

 private:
  struct Process {
    bool alive = true;
    std::int64_t last_contact_us = 0;  // heard by the coordinator
    std::int64_t last_heard_us = 0;    // heard the coordinator
    // Its membership up to this assignment is over: what it still starts of that is its own affair.
    AssignmentId void_through;
    AssignmentId
        volatile_void_through;  // likewise of volatile jobs, which do not wait for the disk
    std::vector<std::pair<JobId, TaskIndex>> started;
  };
  void Excuse(ProcessId process);
  Start* FindStart(JobId job, TaskIndex task, ProcessId process, AssignmentId assignment);
  void CheckParent(JobId id, const JobHistory& job);
  void CheckFailure(const coordinator::OutcomeRecorded& record, TaskIndex task,
                    const JobHistory& job);
  void ExcuseStart(JobHistory& job, Start& start);
  void StopRunning(JobHistory& job, Start& start);
  bool HasUnexcused(ProcessId process);
  JobHistory* Find(JobId job);

  const Timeline& timeline_;
  const std::int64_t lease_us_;
  std::int64_t serving_since_us_ = 0;
  std::map<JobId, JobHistory> jobs_;
  std::map<JobId, bool> answered_;  // acknowledged submits: whether volatile
  std::set<JobId> forgotten_;
  // Outcomes that the running coordinator has decided and that are not on the disk yet.
  std::set<std::pair<JobId, TaskIndex>> decided_;
  std::map<ProcessId, Process> processes_;
  std::set<AssignmentId> alone_;  // those whose task has its worker for itself
  std::vector<std::string> violations_;
  std::uint64_t starts_ = 0;
  std::uint64_t repeated_starts_ = 0;
};

}  // namespace haul::sim
