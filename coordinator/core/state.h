// What the coordinator knows. Only Apply changes it. Owned by Core and so by the loop thread;
// everything iterated is ordered, so that no hash or pointer decides anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "common/ids.h"
#include "common/interval_set.h"
#include "common/planted_bug.h"
#include "coordinator/core/effects.h"
#include "coordinator/core/ready_jobs.h"
#include "coordinator/core/records.h"

namespace haul::coordinator {

// What was charged to a task; most tasks have none.
struct Charge {
  std::uint32_t attempts = 0;
  std::uint32_t crashes = 0;
  bool run_alone = false;
  AssignmentId assignment;  // whose start was charged last
  friend bool operator==(const Charge&, const Charge&) = default;
};

// The durable half of a job: a function of its durable records alone.
struct JobFacts {
  JobSpec spec;
  InputSizes input_sizes;  // emptied when the job ends
  std::int64_t accepted_unix_us = 0;
  TaskCounts counts;
  IntervalSet done;  // emptied when the job ends
  absl::btree_map<TaskIndex, Charge> charges;
  bool open = false;    // takes more tasks
  IntervalSet started;  // at most once: may have started, and has no outcome
  std::uint64_t retried = 0;
  std::optional<JobCancelRequested> cancel;
  std::optional<JobState> ended;
  std::int64_t ended_unix_us = 0;

  std::uint64_t done_count() const { return counts.total(); }
};

struct Job {
  JobId id;
  JobFacts facts;

  // Volatile from here on.
  IntervalSet ready;                  // neither done nor assigned
  IntervalSet ready_alone;            // likewise, and each is to run in an executor of its own
  std::uint64_t acceptance = 0;       // greater than that of those accepted before
  RecordSequence rests_on = 0;        // an assignment waits for this record
  std::uint64_t assigned_tasks = 0;   // with workers, running or backlog
  std::uint64_t running_width = 0;    // how many may be running now
  std::uint64_t mean_task_ns = 0;     // 0: nothing measured yet
  bool misjudged = false;             // its tasks take longer than its function did in others
  std::uint64_t virtual_us = 0;       // cpu time used, comparable among jobs of one priority
  std::int64_t blocked_since_us = 0;  // first in line, and fits nowhere
  std::int64_t alone_blocked_since_us = 0;  // some of it wants a whole worker, and none is idle
  bool started = false;
  std::int64_t kept_open_us = 0;  // of the leases' clock; when whoever extends it was last heard
  bool recovered = false;         // came from the store: waits for adoption
  bool suspected = false;         // of having taken a worker down
  IntervalSet unwanted;           // cancelled, though not the job, and not ended
  std::string unwanted_by;
  absl::btree_set<WorkerId> workers;     // that hold some of it
  absl::btree_set<WorkerId> refused_by;  // that do not have its directory
  ReadyJobs::Place place;

  bool is_ended() const { return facts.ended.has_value(); }
  bool has_ready() const { return !ready.empty() || !ready_alone.empty(); }
  std::uint64_t reserved_milli() const { return running_width * facts.spec.cpus_milli; }
  // How many of its tasks may run at once beside so many that do, by --max-running.
  std::uint64_t MayRunBeside(std::uint64_t running) const;
  // More than --max-running allows: two workers came back with what was never to run together,
  // since what had ended in between was not on the disk when the coordinator ended.
  bool runs_too_many() const {
    return facts.spec.max_running > 0 && running_width > facts.spec.max_running;
  }
  // Where it stands in line with so many running.
  ServeOrder OrderWith(std::uint64_t running) const {
    return {-std::int64_t{facts.spec.priority}, -std::int64_t{facts.spec.depth},
            running * facts.spec.cpus_milli, virtual_us, id};
  }
  // Whether none of them is to start again, and who said so.
  bool is_cancelled(TaskRange tasks) const {
    return facts.cancel.has_value() || unwanted.ContainsAll(tasks);
  }
  const std::string& cancelled_by() const { return facts.cancel ? facts.cancel->by : unwanted_by; }
  // Whether what runs alone has a whole worker: a command can take down nothing but its worker.
  bool alone_on_worker() const { return facts.spec.kind == WorkKind::kCommand || suspected; }
  JobState state() const;
  Charge ChargeOf(TaskIndex task) const;
};

// The assignments of one job at one worker, which share a width. Tasks to run alone have a lane of
// their own.
struct Lane {
  std::uint32_t width = 0;
  std::uint64_t outstanding = 0;  // tasks without outcome
  absl::btree_set<AssignmentId> assignments;
  bool ran_some = false;  // since it is there: the worker does not refuse the job

  // How many may be running: what is reserved.
  std::uint64_t running_width() const { return outstanding < width ? outstanding : width; }
  std::uint64_t backlog() const { return outstanding - running_width(); }
};
struct LaneKey {
  JobId job;
  bool alone = false;
  friend auto operator<=>(const LaneKey&, const LaneKey&) = default;
};

struct Worker {
  WorkerId id;
  WorkerJoined facts;  // durable

  // Volatile from here on. A worker known from the store has no session until it comes back.
  SessionId session;
  WorkerProfile profile;
  RecordSequence rests_on = 0;     // what is sent to it waits for this record
  std::int64_t last_heard_us = 0;  // of the leases' clock
  std::int64_t last_heard_unix_us = 0;
  bool draining = false;
  std::int64_t drain_deadline_us = 0;  // monotonic; 0: none
  bool stopping = false;
  bool departing = false;
  std::uint32_t exclusive_assignments = 0;  // while it has one not blocked, it gets nothing else
  bool overcommitted = false;               // adopted more than fits now; until that is done
  std::uint64_t reserved_milli = 0;         // blocked tasks included
  // By depth of their jobs: reserved for tasks that are blocked, and use none of it.
  absl::btree_map<std::uint32_t, std::uint64_t> blocked_milli;
  std::uint64_t assigned_tasks = 0;
  std::uint64_t ended_tasks = 0;
  absl::btree_map<LaneKey, Lane> lanes;

  bool connected() const { return !session.is_none(); }
  // What tasks that are not blocked use.
  std::uint64_t used_milli() const;
  // For tasks of jobs at this depth. What a blocked task gave back is for deeper ones alone: they
  // are what it waits for, and so no depth ever has more started tasks than there are cpus.
  std::uint64_t free_milli(std::uint32_t depth = 0) const;
  bool takes_work() const {
    return connected() && (!draining || Planted(PlantedBug::kDrainingWorkerFed)) && !departing;
  }
  bool has_room() const {
    return takes_work() && exclusive_assignments == 0 && used_milli() < profile.cpus_milli;
  }
};

struct Assignment {
  AssignmentId id;
  JobId job;
  WorkerId worker;
  std::uint32_t width = 1;
  IntervalSet tasks;  // that it still owns
  bool alone = false;
  bool exclusive = false;  // nothing else is given to its worker meanwhile
  bool revoke_asked = false;
  bool on_trust = false;  // until a task of it was measured, or what had not started came back
  std::int64_t given_us = 0;
  std::uint64_t blocked = 0;  // of `tasks`
  // How much is done of running tasks, in thousandths, as far as they say: at most kMostProgress.
  absl::btree_map<TaskIndex, std::uint32_t> progress;
  static constexpr std::size_t kMostProgress = 1024;

  bool fills_worker() const { return exclusive && blocked == 0; }
};

// A job that has not ended, by the task that submitted it.
struct Child {
  AssignmentId assignment;
  TaskIndex task = 0;
  JobId job;
  friend auto operator<=>(const Child&, const Child&) = default;
};

// What was measured of a function, while a worker that has not left serves it.
struct ServedBy {
  std::uint32_t workers = 0;       // those that are to come back too
  std::uint64_t mean_task_ns = 0;  // of the jobs so far; 0: nothing yet
};

class State {
 public:
  void Apply(const DurableRecord& record);
  void Apply(const VolatileRecord& record);

  const absl::btree_map<JobId, Job>& jobs() const { return jobs_; }
  const absl::btree_map<WorkerId, Worker>& workers() const { return workers_; }
  const absl::btree_map<AssignmentId, Assignment>& assignments() const { return assignments_; }
  // nullptr where there is none.
  const Job* FindJob(JobId id) const;
  const Worker* FindWorker(WorkerId id) const;
  const Worker* FindWorker(SessionId session) const;
  const Worker* FindIncarnation(const std::string& incarnation) const;
  const Assignment* FindAssignment(AssignmentId id) const;
  const Job* FindRequest(const std::string& owner, const std::string& request_id) const;
  const Job* NewestJob() const;

  // Jobs with ready tasks that have not ended, and workers that take work and have room: where
  // scheduling looks. Lanes whose tasks got fewer since the last scheduling pass.
  const ReadyJobs& ready_jobs() const { return ready_jobs_; }
  const absl::btree_set<WorkerId>& roomy_workers() const { return roomy_workers_; }
  const absl::btree_set<std::pair<WorkerId, LaneKey>>& hungry_lanes() const { return hungry_; }
  const absl::btree_set<std::pair<WorkerId, LaneKey>>& backlogged_lanes() const {
    return backlogged_;
  }
  // Assignments given on trust, the oldest first.
  const absl::btree_set<std::pair<std::int64_t, AssignmentId>>& on_trust() const {
    return on_trust_;
  }
  // How long a task of the job takes, by what is known of the job or else of its function; 0:
  // nothing.
  std::uint64_t ExpectedTaskNs(const Job& job) const;
  const absl::btree_set<JobId>& open_jobs() const { return open_jobs_; }
  const absl::btree_set<Child>& children() const { return children_; }
  // Whether the task that submitted it still has the start in which it did.
  bool ParentGoesOn(const ParentTask& parent) const;
  std::uint64_t active_jobs() const { return active_jobs_; }
  // Workers known before the restart that have not come back; while there is one, recovered jobs
  // wait.
  const absl::btree_set<WorkerId>& awaited() const { return awaited_; }
  bool adopting() const { return adopting_; }
  bool serving() const { return serving_; }  // from then on the core settles what it decides
  bool WaitsForAdoption(const Job& job) const { return adopting_ && job.recovered; }
  // What workers serve, each from its first hello in this start until it leaves: a lost connection
  // proves nothing.
  const absl::btree_map<ServedFunction, ServedBy>& functions() const { return functions_; }
  // Whether one of them has this job's function.
  bool IsServed(const JobSpec& spec) const;

 private:
  void On(const JobAccepted& record);
  void On(const JobExtended& record);
  void On(const OutcomeRecorded& record);
  void On(const AttemptsCharged& record);
  void On(const StartsRecorded& record);
  void On(const JobCancelRequested& record);
  void On(const JobEnded& record);
  void On(const JobForgotten& record);
  void On(const WorkerJoined& record);
  void On(const WorkerLeft& record);
  void On(const WorkerAttached& record);
  void On(const WorkerDetached& record);
  void On(const WorkerHeard& record);
  void On(const WorkerDraining& record);
  void On(const WorkerStopping& record);
  void On(const WorkerDeparting& record);
  void On(const JobSuspected& record);
  void On(const TasksUnwanted& record);
  void On(const WorkerRefusedJob& record);
  void On(const AssignmentOpened& record);
  void On(const AssignmentReduced& record);
  void On(const TasksBlocked& record);
  void On(const TaskProgressed& record);
  void On(const RevokeAsked& record);
  void On(const RevokeAnswered& record);
  void On(const TasksMeasured& record);
  void On(const JobBlocked& record);
  void On(const AdoptionBegan& record);
  void On(const AdoptionEnded& record);
  void On(const JobRestsOn& record);
  void On(const WorkerRestsOn& record);
  void On(const JobKeptOpen& record);
  void On(const JobCaughtUp& record);
  void On(const LanesFed& record);

  Job& MutableJob(JobId id);
  Worker& MutableWorker(WorkerId id);
  // Adds to or takes from a lane, and everything that follows from its size.
  void ChangeLane(Worker& worker, Job& job, const Assignment& assignment, std::int64_t tasks);
  void EndTrust(Assignment& assignment);
  void ChangeBlocked(Worker& worker, Assignment& assignment, std::uint64_t count);
  void Requeue(Job& job, const IntervalSet& tasks);
  void IndexJob(Job& job);
  void IndexRecovered();
  void IndexWorker(const Worker& worker);
  void CountFunctions(const WorkerProfile& profile, int by);

  absl::btree_map<JobId, Job> jobs_;
  absl::btree_map<WorkerId, Worker> workers_;
  absl::btree_map<AssignmentId, Assignment> assignments_;
  absl::btree_map<std::pair<std::string, std::string>, JobId> requests_;  // owner, request id
  absl::btree_map<SessionId, WorkerId> sessions_;
  absl::btree_map<std::string, WorkerId> incarnations_;
  absl::btree_map<ServedFunction, ServedBy> functions_;
  ReadyJobs ready_jobs_;
  absl::btree_set<JobId> open_jobs_;
  absl::btree_set<Child> children_;
  absl::btree_set<WorkerId> roomy_workers_;
  absl::btree_set<std::pair<WorkerId, LaneKey>> hungry_;
  absl::btree_set<std::pair<WorkerId, LaneKey>> backlogged_;
  absl::btree_set<std::pair<std::int64_t, AssignmentId>> on_trust_;
  absl::btree_set<WorkerId> awaited_;
  bool adopting_ = false;
  bool serving_ = false;
  std::uint64_t active_jobs_ = 0;
  absl::btree_map<std::uint64_t, JobId> by_acceptance_;  // the newest last
};

// Ends the process, saying which, when the state contradicts itself. After every step in tests and
// in the simulator; costs as much as there are runs.
void CheckInvariants(const State& state);

}  // namespace haul::coordinator
