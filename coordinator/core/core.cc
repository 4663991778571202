#include "coordinator/core/core.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/planted_bug.h"

namespace haul::coordinator {
namespace {

// Ids of volatile jobs leave no trace on the disk, so they carry the epoch to be unique for ever.
constexpr int kVolatileJobBits = 32;

// So far away that it never comes, rather than an overflow.
constexpr std::uint64_t kMaxDrainMs = std::uint64_t{1} << 50;

std::string FunctionList(const State& state) {
  if (state.functions().empty()) return "none";
  return absl::StrJoin(state.functions(), ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.first.name, " ", entry.first.signature);
  });
}

// Whether the worker will still answer for some of the job when a message sent now arrives. What it
// was asked to give back may be on its way here, and so may all of a job that it refuses.
bool SurelyHolds(const State& state, const Worker& worker, JobId job) {
  for (const bool alone : {false, true}) {
    const auto lane = worker.lanes.find(LaneKey{job, alone});
    if (lane == worker.lanes.end() || !lane->second.ran_some) continue;
    for (const AssignmentId id : lane->second.assignments) {
      if (!state.FindAssignment(id)->revoke_asked) return true;
    }
  }
  return false;
}

}  // namespace

Core::Core(const CoreOptions& options, std::uint64_t epoch) : options_(options), epoch_(epoch) {}

void Core::Recover(const DurableRecord& record) {
  state_.Apply(record);
  if (const auto* job = std::get_if<JobAccepted>(&record)) {
    last_job_ = std::max(last_job_, job->job.value());
  } else if (const auto* worker = std::get_if<WorkerJoined>(&record)) {
    last_worker_ = std::max(last_worker_, worker->worker.value());
  }
}

void Core::RecoverLastIds(JobId job, WorkerId worker) {
  last_job_ = std::max(last_job_, job.value());
  last_worker_ = std::max(last_worker_, worker.value());
}

StepResult Core::Step(const Event& event, Now now) {
  now_ = now;
  result_ = {};
  std::visit([this](const auto& e) { On(e); }, event);
  return std::move(result_);
}

RecordSequence Core::Record(DurableRecord record, bool is_volatile) {
  state_.Apply(record);
  result_.records.push_back({std::move(record), is_volatile});
  return is_volatile ? 0 : ++last_sequence_;
}

// ---- jobs ----

absl::Status Core::CheckSubmit(const JobSpec& spec) const {
  if (spec.task_count == 0) {
    return absl::InvalidArgumentError("task_count: 0, a job needs at least 1 task");
  }
  if (spec.task_count > options_.max_tasks_per_job) {
    return absl::InvalidArgumentError(absl::StrCat(
        "task_count: ", spec.task_count, " is over the limit of ", options_.max_tasks_per_job));
  }
  if (spec.cpus_milli == 0 || spec.max_attempts == 0) {
    return absl::InvalidArgumentError("cpus and max_attempts must be greater than 0");
  }
  if (state_.active_jobs() >= options_.max_active_jobs) {
    return absl::ResourceExhaustedError(
        absl::StrCat("jobs: ", options_.max_active_jobs,
                     " have not ended, which is the limit; try again later"));
  }
  if (spec.kind == WorkKind::kFunction &&
      !std::any_of(state_.functions().begin(), state_.functions().end(), [&](const auto& entry) {
        return entry.first.name == spec.function && entry.first.signature == spec.signature;
      })) {
    return absl::InvalidArgumentError(absl::StrCat("function: no worker serves ", spec.function,
                                                   " ", spec.signature,
                                                   "; there is: ", FunctionList(state_)));
  }
  return absl::OkStatus();
}

void Core::On(const JobSubmitted& event) {
  if (!event.spec.request_id.empty() && !Planted(PlantedBug::kRepeatedSubmitIsNewJob)) {
    if (const Job* job = state_.FindRequest(event.spec.owner, event.spec.request_id)) {
      return Do(AnswerSubmit{event.request, job->id, true}, last_sequence_);
    }
  }
  if (const absl::Status status = CheckSubmit(event.spec); !status.ok()) {
    return Do(AnswerError{event.request, status});
  }
  const bool is_volatile = event.spec.is_volatile;
  const JobId id =
      is_volatile ? JobId((epoch_ << kVolatileJobBits) | ++last_volatile_job_) : JobId(++last_job_);
  std::uint64_t virtual_us = ~0ull;
  for (const JobId other_id : state_.ready_jobs()) {
    const Job& other = *state_.FindJob(other_id);
    if (other.facts.spec.priority == event.spec.priority) {
      virtual_us = std::min(virtual_us, other.virtual_us);
    }
  }
  const RecordSequence sequence = Record(JobAccepted{id, event.spec, now_.unix_us}, is_volatile);
  Note(JobRestsOn{id, sequence});
  if (virtual_us != ~0ull) Note(JobCaughtUp{id, virtual_us});
  Do(AnswerSubmit{event.request, id, false},
     Planted(PlantedBug::kSubmitAnsweredBeforeCommit) ? 0 : sequence);
}

void Core::On(const JobCancelAsked& event) {
  const Job* job = state_.FindJob(event.job);
  if (job == nullptr) {
    return Do(
        AnswerError{event.request, absl::NotFoundError(absl::StrCat("job ", event.job.value()))});
  }
  if (!job->is_ended() && !job->facts.cancel) {
    const bool is_volatile = job->facts.spec.is_volatile;
    const RecordSequence sequence =
        Record(JobCancelRequested{event.job, event.by, now_.unix_us}, is_volatile);
    for (const WorkerId worker_id : job->workers) {
      const Worker& worker = *state_.FindWorker(worker_id);
      if (!worker.connected()) continue;
      for (const bool alone : {false, true}) {
        const auto lane = worker.lanes.find(LaneKey{event.job, alone});
        if (lane == worker.lanes.end()) continue;
        for (const AssignmentId id : lane->second.assignments) {
          Tell(worker, SendCancel{.id = id, .job = event.job, .by = event.by},
               std::max(sequence, job->rests_on));
        }
      }
    }
    Settle(event.job);
  }
  Do(AnswerJob{event.request, event.job}, last_sequence_);
}

void Core::On(const JobForgetAsked& event) {
  const Job* job = state_.FindJob(event.job);
  if (job == nullptr) {
    return Do(
        AnswerError{event.request, absl::NotFoundError(absl::StrCat("job ", event.job.value()))});
  }
  if (!job->is_ended()) {
    return Do(AnswerError{event.request,
                          absl::FailedPreconditionError(absl::StrCat(
                              "job ", event.job.value(), " has not ended; cancel it first"))});
  }
  const RecordSequence sequence = Record(JobForgotten{event.job}, job->facts.spec.is_volatile);
  Do(NotifyJob{event.job, true}, sequence);
  Do(AnswerJob{event.request, event.job}, sequence);
}

void Core::Settle(JobId id) {
  const Job& job = *state_.FindJob(id);
  if (job.is_ended()) return;
  const bool is_volatile = job.facts.spec.is_volatile;
  RecordSequence sequence = 0;
  if (job.facts.cancel && !state_.WaitsForAdoption(job)) {
    IntervalSet unowned = job.ready;
    unowned.Add(job.ready_alone);
    if (Planted(PlantedBug::kCancelledTasksForgotten) && job.started) unowned = {};
    for (const TaskRange& range : unowned.ranges()) {
      sequence = Record(OutcomeRecorded{.job = id,
                                        .tasks = range,
                                        .status = TaskStatus::kCancelled,
                                        .cause = Cause::kCancelled,
                                        .message = job.facts.cancel->by,
                                        .unix_us = now_.unix_us},
                        is_volatile);
    }
  }
  if (job.facts.done_count() == job.facts.spec.task_count && job.assigned_tasks == 0) {
    const TaskCounts counts = job.facts.counts;
    const JobState state = counts.failed + counts.lost > 0 ? JobState::kFailed
                           : counts.cancelled > 0          ? JobState::kCancelled
                                                           : JobState::kSucceeded;
    sequence = Record(JobEnded{id, state, counts, now_.unix_us}, is_volatile);
  }
  Do(NotifyJob{id}, is_volatile ? 0 : std::max(sequence, last_sequence_));
}

// ---- outcomes ----

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
  if (outcome.status != TaskStatus::kFailed || job.facts.cancel ||
      job.facts.spec.max_attempts <= 1) {
    return RecordOutcome(job, std::move(record));
  }
  return ConcludeFailures(assignment, job, std::move(record));
}

RecordSequence Core::ConcludeCrash(const Assignment& assignment, const Job& job,
                                   OutcomeRecorded record, bool culprit) {
  if (job.facts.cancel) {
    record.status = TaskStatus::kCancelled;
    record.cause = Cause::kCancelled;
    record.message = job.facts.cancel->by;
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
  if (!is_volatile && !Planted(PlantedBug::kChargeNotAwaited)) Note(JobRestsOn{job.id, sequence});
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
    TasksMeasured measured{.job = job.id, .worker = worker_id};
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
    if (!concluded.empty()) Note(AssignmentReduced{event.assignment, concluded});
    Settle(event.job);
  }
  Do(SendDurable{event.session, event.batch_sequence},
     Planted(PlantedBug::kOutcomeConfirmedBeforeCommit) ? 0 : last_sequence_);
  DepartIfDrained(worker_id);
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
    Note(RevokeAnswered{event.assignment});
    IntervalSet given_back;
    for (const TaskRange& range : event.ranges)
      given_back.Add(assignment->tasks.Intersection(range));
    if (!given_back.empty()) {
      Note(AssignmentReduced{event.assignment, given_back});
      Settle(event.job);
    }
  }
  DepartIfDrained(worker_id);
}

// ---- workers ----

const Worker* Core::FindNamed(const std::string& name) const {
  for (const auto& [id, worker] : state_.workers()) {
    if (worker.facts.name == name) return &worker;
  }
  return nullptr;
}

WorkerId Core::Join(const WorkerConnected& event, RecordSequence* rests_on) {
  // One name, one worker: whoever had it is superseded, which is known at once and not after its
  // lease.
  if (const Worker* other = FindNamed(event.profile.name)) {
    Lose(other->facts.worker, "superseded by a newer worker of that name");
  }
  const WorkerId id(++last_worker_);
  *rests_on = Record(WorkerJoined{.worker = id,
                                  .name = event.profile.name,
                                  .incarnation = event.profile.incarnation,
                                  .host = event.profile.host,
                                  .unix_us = now_.unix_us,
                                  .joined_after = Planted(PlantedBug::kEarlierMembershipAdopted)
                                                      ? AssignmentId()
                                                      : AssignmentId(epoch_, last_assignment_)});
  return id;
}

void Core::On(const WorkerConnected& event) {
  RecordSequence rests_on = 0;
  const Worker* worker = state_.FindIncarnation(event.profile.incarnation);
  if (worker == nullptr && event.was_member && FindNamed(event.profile.name) != nullptr) {
    // Or two workers that were given one name would take it from each other for ever.
    return Do(CloseSession{event.session, absl::FailedPreconditionError(
                                              absl::StrCat("name: another worker has joined as \"",
                                                           event.profile.name, "\" since"))});
  }
  if (worker == nullptr) {
    worker = state_.FindWorker(Join(event, &rests_on));
  } else if (worker->connected()) {
    Do(CloseSession{worker->session, absl::AbortedError("the worker connected anew")});
    Note(WorkerDetached{worker->id});
  }
  const WorkerId id = worker->id;
  const bool was_awaited = state_.awaited().contains(id);
  Note(WorkerAttached{id, event.session, event.profile, event.draining});
  Note(WorkerHeard{id, now_.monotonic_us, now_.unix_us});
  const std::vector<AssignmentId> dropped = Reattach(*state_.FindWorker(id), event, was_awaited);
  // A new worker's welcome waits until its membership is durable, so that adoption knows it.
  if (!Planted(PlantedBug::kWelcomeBeforeMembership)) {
    Note(WorkerRestsOn{id, std::max(rests_on, last_sequence_)});
  }
  Tell(*state_.FindWorker(id), SendWelcome{.worker = id, .dropped = dropped},
       Planted(PlantedBug::kWelcomeBeforeMembership) ? 0 : last_sequence_);
  for (const HeldAssignment& held : event.held) {
    const Assignment* assignment = state_.FindAssignment(held.id);
    if (assignment == nullptr) continue;
    const Job& job = *state_.FindJob(assignment->job);
    if (!job.facts.cancel) continue;
    Do(SendCancel{event.session, held.id, job.id, job.facts.cancel->by}, last_sequence_);
  }
  if (state_.FindWorker(id)->draining) SayDrain(*state_.FindWorker(id));
  if (state_.FindWorker(id)->stopping) Do(SendStop{event.session}, last_sequence_);
  // Told to end already, on a connection that may have taken the word with it.
  if (state_.FindWorker(id)->departing) Do(SendDepart{event.session}, last_sequence_);
  EndAdoptionIfAllAreBack();
  DepartIfDrained(id);
}

std::vector<AssignmentId> Core::Reattach(const Worker& worker, const WorkerConnected& event,
                                         bool was_awaited) {
  std::vector<AssignmentId> dropped;
  std::set<AssignmentId> listed;
  std::set<JobId> touched;
  for (const HeldAssignment& held : event.held) {
    listed.insert(held.id);
    const Assignment* assignment = state_.FindAssignment(held.id);
    if (assignment == nullptr || assignment->worker != worker.id || assignment->job != held.job) {
      // Only the first hello of a worker that was a member before the restart is adopted: what one
      // who was lost says is void, and what a later hello lists beyond the state was concluded
      // since.
      const bool adopted = assignment == nullptr && was_awaited && Adopt(worker, held);
      if (!adopted) dropped.push_back(held.id);
      continue;
    }
    // What it does not list never arrived, or was handed back in a message that was lost.
    IntervalSet missing = assignment->tasks;
    for (const TaskRange& range : held.ranges) missing.Remove(range);
    touched.insert(assignment->job);
    Note(RevokeAnswered{held.id});
    if (!missing.empty()) Note(AssignmentReduced{held.id, missing});
  }
  std::vector<AssignmentId> unknown_to_it;
  for (const auto& [key, lane] : worker.lanes) {
    for (const AssignmentId id : lane.assignments) {
      if (!listed.contains(id)) unknown_to_it.push_back(id);
    }
  }
  for (const AssignmentId id : unknown_to_it) {
    const Assignment& assignment = *state_.FindAssignment(id);
    touched.insert(assignment.job);
    Note(AssignmentReduced{id, IntervalSet(assignment.tasks)});
  }
  for (const JobId job : touched) Settle(job);
  return dropped;
}

bool Core::Adopt(const Worker& worker, const HeldAssignment& held) {
  const Job* job = state_.FindJob(held.job);
  if (job == nullptr || job->is_ended() || !state_.WaitsForAdoption(*job) ||
      held.id.epoch() >= epoch_ || held.id <= worker.facts.joined_after || held.width == 0) {
    return false;
  }
  IntervalSet tasks;
  for (const TaskRange& range : held.ranges) {
    tasks.Add(job->ready.Intersection(range));
    tasks.Add(job->ready_alone.Intersection(range));
  }
  // A start that was charged before the restart is over, though its worker did not hear so.
  for (const TaskRange& range : held.ranges) {
    auto it = job->facts.charges.lower_bound(range.first);
    for (; it != job->facts.charges.end() && it->first < range.end(); ++it) {
      if (it->second.assignment >= held.id) tasks.Remove({it->first, 1});
    }
  }
  if (tasks.empty()) return false;
  Note(AssignmentOpened{held.id, held.job, worker.id, tasks, held.width, held.alone});
  return true;
}

void Core::On(const WorkerSpoke& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker != nullptr) Note(WorkerHeard{worker->id, now_.monotonic_us, now_.unix_us});
}

void Core::On(const WorkerStartedDraining& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker == nullptr) return;
  Note(WorkerDraining{worker->id});
  DepartIfDrained(worker->id);
}

void Core::DepartIfDrained(WorkerId id) {
  const Worker* worker = state_.FindWorker(id);
  if (worker == nullptr || !worker->draining || worker->departing || !worker->connected() ||
      worker->assigned_tasks > 0) {
    return;
  }
  Note(WorkerDeparting{id});
  Do(SendDepart{worker->session}, last_sequence_);
}

void Core::On(const WorkerSaidGoodbye& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker != nullptr) Lose(worker->id, "left");
}

void Core::On(const SessionClosed& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker == nullptr) return;
  if (worker->departing) return Lose(worker->id, "left");
  // A closed connection alone proves nothing: the worker has its lease to come back.
  Note(WorkerDetached{worker->id});
}

void Core::On(const WorkerDeathReported& event) {
  const Worker* worker = state_.FindIncarnation(event.incarnation);
  if (worker != nullptr) Lose(worker->id, event.cause, Loss::kProvenDeath);
  EndAdoptionIfAllAreBack();
}

void Core::Lose(WorkerId id, const std::string& reason, Loss loss) {
  const Worker& worker = *state_.FindWorker(id);
  // A lease that ran out suspects nobody: it may have been the network, or the machine's power.
  const bool died = loss == Loss::kProvenDeath;
  const std::vector<Suspect> suspects = died ? SuspectsAt(worker) : std::vector<Suspect>();
  // By chance alone is not enough: somebody else may have killed the worker, and a task that is
  // innocent of that is not to hear of an attempt.
  const bool ran_alone = worker.assigned_tasks == 1 && worker.exclusive_assignments == 1;
  std::vector<AssignmentId> lost;
  for (const auto& [key, lane] : worker.lanes) {
    lost.insert(lost.end(), lane.assignments.begin(), lane.assignments.end());
  }
  std::set<JobId> touched;
  for (const AssignmentId assignment_id : lost) {
    const Assignment& assignment = *state_.FindAssignment(assignment_id);
    touched.insert(assignment.job);
    Note(AssignmentReduced{assignment_id, IntervalSet(assignment.tasks)});
  }
  if (worker.connected()) Do(CloseSession{worker.session, absl::AbortedError(reason)});
  // From here on, also after a restart, nothing that it still says about these tasks counts; what
  // it held goes elsewhere only when that is on the disk.
  const RecordSequence sequence = Record(WorkerLeft{id, reason, now_.unix_us});
  Suspected(suspects, ran_alone, reason);
  for (const JobId job : touched) {
    if (!state_.FindJob(job)->facts.spec.is_volatile && !Planted(PlantedBug::kLossNotAwaited)) {
      Note(JobRestsOn{job, std::max(sequence, last_sequence_)});
    }
    Settle(job);
  }
}

void Core::On(const WorkerDrainAsked& event) {
  const Worker* worker = state_.FindWorker(event.worker);
  if (worker == nullptr) {
    return Do(AnswerError{event.request,
                          absl::NotFoundError(absl::StrCat("worker ", event.worker.value()))});
  }
  std::int64_t deadline_us = 0;
  if (event.deadline_ms > 0) {
    const auto wait_us = static_cast<std::int64_t>(std::min(event.deadline_ms, kMaxDrainMs)) * 1000;
    deadline_us = now_.monotonic_us + wait_us;
  }
  const bool is_earlier = deadline_us != 0 && (worker->drain_deadline_us == 0 ||
                                               deadline_us < worker->drain_deadline_us);
  if (!worker->draining || is_earlier) {
    Note(WorkerDraining{event.worker, deadline_us});
    if (worker->connected()) SayDrain(*worker);
    DepartIfDrained(event.worker);
  }
  Do(AnswerWorker{event.request, event.worker}, last_sequence_);
}

// The worker keeps the deadline itself, also while nobody can tell it that it has come.
void Core::SayDrain(const Worker& worker) {
  std::uint64_t left_ms = 0;
  if (worker.drain_deadline_us != 0) {
    left_ms = static_cast<std::uint64_t>(
        std::max<std::int64_t>(1, (worker.drain_deadline_us - now_.monotonic_us) / 1000));
  }
  Do(SendDrain{worker.session, left_ms}, last_sequence_);
}

void Core::On(const WorkerStopAsked& event) {
  const Worker* worker = state_.FindWorker(event.worker);
  if (worker == nullptr) {
    return Do(AnswerError{event.request,
                          absl::NotFoundError(absl::StrCat("worker ", event.worker.value()))});
  }
  Note(WorkerStopping{event.worker});
  if (worker->connected()) Do(SendStop{worker->session}, last_sequence_);
  Do(AnswerWorker{event.request, event.worker}, last_sequence_);
}

// ---- time ----

void Core::On(const ServingStarted&) {
  last_tick_us_ = now_.monotonic_us;
  adoption_deadline_us_ = now_.monotonic_us + options_.lease_ms * 1000;
  if (!Planted(PlantedBug::kAdoptionForgotten)) Note(AdoptionBegan{});
  std::vector<JobId> unfinished;
  for (const auto& [id, job] : state_.jobs()) {
    if (!job.is_ended()) unfinished.push_back(id);
  }
  for (const JobId id : unfinished) Settle(id);
}

void Core::EndAdoptionIfAllAreBack() {
  if (state_.adopting() && state_.awaited().empty()) EndAdoption();
}

void Core::EndAdoption() {
  const std::vector<WorkerId> gone(state_.awaited().begin(), state_.awaited().end());
  for (const WorkerId id : gone) Lose(id, "did not come back after the coordinator's restart");
  Note(AdoptionEnded{});
  std::vector<JobId> recovered;
  for (const auto& [id, job] : state_.jobs()) {
    if (job.recovered && !job.is_ended()) recovered.push_back(id);
  }
  for (const JobId id : recovered) {
    // What workers held that did not come back goes elsewhere only when it is on the disk that they
    // left.
    if (last_sequence_ > 0) Note(JobRestsOn{id, last_sequence_});
    Settle(id);
  }
}

void Core::ExpireLeases() {
  // If this process stood still, its silence was ours: everybody gets a full lease again.
  const bool stood_still = now_.monotonic_us - last_tick_us_ > options_.lease_ms * 1000 / 4 &&
                           !Planted(PlantedBug::kStandstillBlamedOnWorkers);
  last_tick_us_ = now_.monotonic_us;
  if (stood_still) {
    adoption_deadline_us_ =
        std::max(adoption_deadline_us_, now_.monotonic_us + options_.lease_ms * 1000);
  } else if (now_.monotonic_us < next_lease_check_us_) {
    return;
  }
  next_lease_check_us_ =
      now_.monotonic_us + std::min<std::int64_t>(100'000, options_.lease_ms * 50);
  const std::int64_t lease_us =
      options_.lease_ms * (Planted(PlantedBug::kLeaseEndsEarly) ? 700 : 1000);
  std::vector<WorkerId> expired;
  for (const auto& [id, worker] : state_.workers()) {
    if (state_.awaited().contains(id)) continue;  // the adoption's deadline is theirs
    if (stood_still) {
      Note(WorkerHeard{id, now_.monotonic_us, worker.last_heard_unix_us});
    } else if (now_.monotonic_us - worker.last_heard_us > lease_us) {
      expired.push_back(id);
    }
  }
  for (const WorkerId id : expired) Lose(id, "its lease ran out");
}

void Core::On(const TimePassed&) {
  ExpireLeases();
  // Only here does its deadline count: it was set anew if this process stood still.
  const bool due = now_.monotonic_us >= adoption_deadline_us_;
  if (state_.adopting() && (due || state_.awaited().empty())) EndAdoption();
  CarryOut(Schedule(state_, options_.schedule, now_));
  Note(LanesFed{});
}

void Core::CarryOut(const Plan& plan) {
  for (const JobBlocked& blocked : plan.blocked) Note(blocked);
  for (const Feed& feed : plan.feeds) Carry(feed);
  for (const AskBack& ask : plan.ask_back) {
    const Assignment& assignment = *state_.FindAssignment(ask.id);
    Note(RevokeAsked{ask.id});
    if (Planted(PlantedBug::kTailMovedBeforeConfirmed)) {
      Note(AssignmentReduced{ask.id, IntervalSet(assignment.tasks.Last(1))});
      continue;
    }
    Tell(*state_.FindWorker(assignment.worker), SendRevoke{.id = ask.id, .count = ask.count},
         state_.FindJob(assignment.job)->rests_on);
  }
}

void Core::Carry(const Feed& feed) {
  const Job& job = *state_.FindJob(feed.job);
  const Worker& worker = *state_.FindWorker(feed.worker);
  std::uint64_t limit = options_.schedule.max_assignment_tasks;
  const std::uint64_t mean_bytes = job.facts.spec.input_bytes / job.facts.spec.task_count;
  if (mean_bytes > 0) {
    limit = std::clamp<std::uint64_t>(options_.schedule.max_assignment_input_bytes / mean_bytes, 1,
                                      limit);
  }
  if (feed.alone) limit = 1;
  std::uint64_t left = feed.count;
  while (left > 0) {
    const IntervalSet& from = feed.alone ? job.ready_alone : job.ready;
    const TaskRange tasks = from.First(std::min(left, limit));
    if (tasks.count == 0) break;
    left -= tasks.count;
    const bool with_spec = !SurelyHolds(state_, worker, feed.job);
    const AssignmentId id(epoch_, ++last_assignment_);
    Note(AssignmentOpened{id, feed.job, feed.worker, IntervalSet(tasks), feed.width, feed.alone});
    SendAssignment send{.id = id,
                        .job = feed.job,
                        .tasks = tasks,
                        .width = feed.width,
                        .alone = feed.alone,
                        .with_spec = with_spec};
    auto charge = job.facts.charges.lower_bound(tasks.first);
    for (; charge != job.facts.charges.end() && charge->first < tasks.end(); ++charge) {
      const std::uint32_t attempts = charge->second.attempts + charge->second.crashes;
      if (attempts > 0) send.charged.push_back({charge->first, attempts});
    }
    Tell(worker, std::move(send), job.rests_on);
  }
}

}  // namespace haul::coordinator
