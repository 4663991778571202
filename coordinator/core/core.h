// The coordinator's decisions. Pure: no I/O, no clock, no threads; the same events at the same
// times give the same records and effects. Owned by the loop thread (or by a test, or by the
// simulator).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/time.h"
#include "coordinator/core/effects.h"
#include "coordinator/core/events.h"
#include "coordinator/core/records.h"
#include "coordinator/core/schedule.h"
#include "coordinator/core/state.h"

namespace haul::coordinator {

struct CoreOptions {
  std::int64_t lease_ms = 15'000;
  // So often may a task take its executor or its worker down, then it has failed.
  std::uint32_t max_crashes = 3;
  // So long, or a lease if that is longer, may an open job hear nothing from whoever extends it;
  // then it is closed.
  std::int64_t open_job_lease_ms = 60'000;
  std::uint64_t max_active_jobs = 100'000;  // that have not ended
  std::uint64_t max_tasks_per_job = 100'000'000;
  std::uint32_t max_depth = 16;  // of tasks that submit jobs whose tasks submit jobs, ...
  ScheduleOptions schedule;
};

// What came out of one event. `records` go to the store in this order, `effects` are carried out in
// theirs.
struct StepResult {
  struct Durable {
    DurableRecord record;
    bool is_volatile = false;  // of a job that never touches the disk: to the memory store
  };
  std::vector<Durable> records;
  std::vector<Effect> effects;
};

class Core {
 public:
  // `epoch` is this start's, durable already.
  Core(const CoreOptions& options, std::uint64_t epoch);

  // On start, in the order in which the store gives them; then Step(ServingStarted).
  void Recover(const DurableRecord& record);
  // The greatest ids ever given out, if the records do not show it (forgotten jobs, workers that
  // left).
  void RecoverLastIds(JobId job, WorkerId worker);

  StepResult Step(const Event& event, Now now);

  const State& state() const { return state_; }
  const CoreOptions& options() const { return options_; }
  std::uint64_t epoch() const { return epoch_; }
  // Of the last durable record: what an answer about the state as it is now rests on.
  RecordSequence last_sequence() const { return last_sequence_; }

 private:
  void On(const JobSubmitted& event);
  void On(const JobExtendAsked& event);
  void On(const JobCancelAsked& event);
  void On(const JobForgetAsked& event);
  void On(const WorkerConnected& event);
  void On(const WorkerSpoke& event);
  void On(const WorkerStartedDraining& event);
  void On(const WorkerSaidGoodbye& event);
  void On(const SessionClosed& event);
  void On(const WorkerDeathReported& event);
  void On(const TasksFinished& event);
  void On(const TasksHandedBack& event);
  void On(const BlockedReported& event);
  void On(const ProgressReported& event);
  void On(const WorkerDrainAsked& event);
  void On(const WorkerStopAsked& event);
  void On(const ServingStarted& event);
  void On(const TimePassed& event);

  // Applies and hands out; returns what rests on it (0 for a volatile job: nothing to wait for).
  RecordSequence Record(DurableRecord record, bool is_volatile = false);
  void Note(const VolatileRecord& record) { state_.Apply(record); }
  template <typename What>
  void Do(What what, RecordSequence rests_on = 0) {
    result_.effects.push_back({std::move(what), rests_on});
  }

  // Likewise to a connected worker, behind its welcome.
  template <typename What>
  void Tell(const Worker& worker, What what, RecordSequence rests_on) {
    what.session = worker.session;
    Do(std::move(what), std::max(rests_on, worker.rests_on));
  }

  absl::Status CheckSubmit(const JobSpec& spec) const;
  absl::Status CheckServed(const JobSpec& spec) const;
  absl::Status CheckParent(const ParentTask& parent) const;
  absl::Status CheckExtend(const JobExtendAsked& event) const;
  // Before a job's first ready tasks: it has no claim to what others used meanwhile.
  void CatchUp(JobId job);
  void Extend(const Job& job, std::uint64_t count, std::uint64_t input_bytes, bool close);
  void CloseAbandonedJobs(bool stood_still);
  // What became of one outcome of an assignment: recorded for good, or charged and to be run again.
  RecordSequence Conclude(const Assignment& assignment, const Job& job,
                          const OutcomeHeader& outcome, std::uint32_t payload);
  RecordSequence RecordOutcome(const Job& job, OutcomeRecorded record);
  RecordSequence RecordCharge(AssignmentId assignment, const Job& job, TaskIndex task,
                              const Charge& charge);
  // Tasks that nobody holds and that must not start (again) end: as cancelled, or as lost. A job
  // whose tasks all ended, ends.
  void Cancel(const Job& job, const std::vector<TaskRange>& tasks, const std::string& by);
  // The assignment no longer owns them, and what they submitted is to end.
  void Reduce(AssignmentId id, const IntervalSet& tasks);
  void EndOrphans();
  void FindOrphans();
  void Settle(JobId job);
  void EndUnowned(const Job& job);
  void SayCancelled(const Worker& worker, const Assignment& assignment);
  // Of an at-most-once job: what comes back was not started, and may go elsewhere.
  void WithdrawStarts(AssignmentId assignment, const Job& job, const IntervalSet& tasks);
  RecordSequence ConcludeCrash(const Assignment& assignment, const Job& job, OutcomeRecorded record,
                               bool culprit);
  RecordSequence ConcludeFailures(const Assignment& assignment, const Job& job,
                                  OutcomeRecorded record);
  std::vector<AssignmentId> Reattach(const Worker& worker, const WorkerConnected& event,
                                     bool was_awaited);
  bool Adopt(const Worker& worker, const HeldAssignment& held);
  const Worker* FindNamed(const std::string& name) const;
  WorkerId Join(const WorkerConnected& event, RecordSequence* rests_on);
  enum class Loss : std::uint8_t { kUnproven, kProvenDeath };
  void Lose(WorkerId worker, const std::string& reason, Loss loss = Loss::kUnproven);
  // A task that may have been running at a worker when it died.
  struct Suspect {
    AssignmentId assignment;
    JobId job;
    TaskIndex task = 0;
  };
  std::vector<Suspect> SuspectsAt(const Worker& worker) const;
  void Suspected(const std::vector<Suspect>& suspects, bool ran_alone, const std::string& reason);
  void SayDrain(const Worker& worker);
  void DepartIfDrained(WorkerId worker);
  // What leases run by: monotonic, but it stands still while nothing is read. Only so long: a store
  // that is behind again and again must not keep who is dead for ever.
  std::int64_t lease_clock_us() const;
  void ExpireLeases();
  void EndAdoptionIfAllAreBack();
  void EndAdoption();
  void CarryOut(const Plan& plan);
  void Carry(const Feed& feed);

  const CoreOptions options_;
  const std::uint64_t epoch_;
  State state_;
  std::uint64_t last_job_ = 0;
  std::uint64_t last_volatile_job_ = 0;
  std::uint64_t last_worker_ = 0;
  std::uint64_t last_assignment_ = 0;
  RecordSequence last_sequence_ = 0;
  std::int64_t adoption_deadline_us_ = 0;  // of the leases' clock
  std::int64_t last_tick_us_ = 0;
  bool unread_ = false;         // since the last tick
  std::int64_t unread_us_ = 0;  // in all, until the last tick
  std::int64_t next_lease_check_us_ = 0;

  // Of the step that runs.
  Now now_;
  std::vector<JobId> orphans_;
  StepResult result_;
};

}  // namespace haul::coordinator
