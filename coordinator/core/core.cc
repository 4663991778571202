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

std::string FunctionList(const State& state) {
  if (state.functions().empty()) return "none";
  return absl::StrJoin(state.functions(), ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.first.name, " ", entry.first.signature);
  });
}

// Whether the worker will still answer for some of the job when a message sent now arrives. What it
// was asked to give back may be on its way here, and so may all of a job that it refuses, or all
// functions that ran in an executor that died.
bool SurelyHolds(const State& state, const Worker& worker, const Job& job) {
  if (job.facts.spec.kind == WorkKind::kFunction) return false;
  for (const bool alone : {false, true}) {
    const auto lane = worker.lanes.find(LaneKey{job.id, alone});
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
  EndOrphans();
  return std::move(result_);
}

RecordSequence Core::Record(DurableRecord record, bool is_volatile) {
  state_.Apply(record);
  result_.records.push_back({std::move(record), is_volatile});
  return is_volatile ? 0 : ++last_sequence_;
}

// ---- jobs ----

absl::Status Core::CheckSubmit(const JobSpec& spec) const {
  if (spec.task_count == 0 && !spec.is_open) {
    return absl::InvalidArgumentError("task_count: 0, a job needs at least 1 task");
  }
  if (spec.task_count > options_.max_tasks_per_job) {
    return absl::InvalidArgumentError(absl::StrCat(
        "task_count: ", spec.task_count, " is over the limit of ", options_.max_tasks_per_job));
  }
  if (spec.cpus_milli == 0 || spec.max_attempts == 0) {
    return absl::InvalidArgumentError("cpus and max_attempts must be greater than 0");
  }
  if (spec.at_most_once && spec.max_attempts > 1) {
    return absl::InvalidArgumentError(absl::StrCat("max_attempts: ", spec.max_attempts,
                                                   ", but a job with at_most_once has 1 attempt"));
  }
  if (absl::Status status = CheckParent(spec.parent); !status.ok()) return status;
  if (state_.active_jobs() >= options_.max_active_jobs) {
    return absl::ResourceExhaustedError(
        absl::StrCat("jobs: ", options_.max_active_jobs,
                     " have not ended, which is the limit; try again later"));
  }
  return spec.kind == WorkKind::kFunction ? CheckServed(spec) : absl::OkStatus();
}

absl::Status Core::CheckServed(const JobSpec& spec) const {
  if (state_.IsServed(spec)) return absl::OkStatus();
  const std::string name = absl::StrCat("function: no worker serves ", spec.function, " ",
                                        spec.signature, "; there is: ", FunctionList(state_));
  // Whoever serves it may be on its way.
  if (state_.adopting() && !Planted(PlantedBug::kAwayWorkersServeNothing)) {
    return absl::UnavailableError(
        absl::StrCat(name, "; the coordinator restarted and waits for the workers it knew"));
  }
  return absl::InvalidArgumentError(name);
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
  JobSpec spec = event.spec;
  if (!spec.parent.assignment.is_none()) {
    spec.depth = state_.FindJob(spec.parent.job)->facts.spec.depth + 1;
  }
  const bool is_volatile = spec.is_volatile;
  const JobId id =
      is_volatile ? JobId((epoch_ << kVolatileJobBits) | ++last_volatile_job_) : JobId(++last_job_);
  const RecordSequence sequence =
      Record(JobAccepted{id, std::move(spec), now_.unix_us, event.input_sizes}, is_volatile);
  Note(JobRestsOn{id, sequence});
  Note(JobKeptOpen{id, lease_clock_us()});
  CatchUp(id);
  Do(AnswerSubmit{event.request, id, false},
     Planted(PlantedBug::kSubmitAnsweredBeforeCommit) ? 0 : sequence);
}

void Core::CatchUp(JobId id) {
  const std::int32_t priority = state_.FindJob(id)->facts.spec.priority;
  Note(JobCaughtUp{id, state_.ready_jobs().StartOf(priority, id)});
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
  if (!state_.WaitsForAdoption(job)) EndUnowned(job);
  const bool may_grow = job.facts.open && !job.facts.cancel;
  if (job.facts.done_count() == job.facts.spec.task_count && job.assigned_tasks == 0 && !may_grow) {
    const TaskCounts counts = job.facts.counts;
    const JobState state = counts.failed + counts.lost > 0 ? JobState::kFailed
                           : counts.cancelled > 0          ? JobState::kCancelled
                                                           : JobState::kSucceeded;
    sequence = Record(JobEnded{id, state, counts, now_.unix_us}, is_volatile);
  }
  Do(NotifyJob{id}, is_volatile ? 0 : std::max(sequence, last_sequence_));
}

// ---- time ----

void Core::On(const ServingStarted&) {
  last_tick_us_ = now_.monotonic_us;
  adoption_deadline_us_ = lease_clock_us() + options_.lease_ms * 1000;
  if (!Planted(PlantedBug::kAdoptionForgotten)) Note(AdoptionBegan{});
  std::vector<JobId> unfinished;
  for (const auto& [id, job] : state_.jobs()) {
    if (!job.is_ended()) unfinished.push_back(id);
  }
  for (const JobId id : unfinished) {
    if (state_.FindJob(id)->facts.open) Note(JobKeptOpen{id, lease_clock_us()});
    Settle(id);
  }
  if (!state_.adopting()) FindOrphans();
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
  FindOrphans();
}

std::int64_t Core::lease_clock_us() const {
  return (unread_ ? last_tick_us_ : now_.monotonic_us) - unread_us_;
}

void Core::ExpireLeases() {
  // If this process stood still, the silence was ours: everybody gets a full lease again.
  const bool stood_still = now_.monotonic_us - last_tick_us_ > options_.lease_ms * 1000 / 4 &&
                           !Planted(PlantedBug::kStandstillBlamedOnWorkers);
  if (unread_) unread_us_ += now_.monotonic_us - last_tick_us_;
  // What came since then may not have been read yet.
  const std::int64_t read_until_us = std::exchange(last_tick_us_, now_.monotonic_us) - unread_us_;
  if (stood_still) {
    adoption_deadline_us_ =
        std::max(adoption_deadline_us_, lease_clock_us() + options_.lease_ms * 1000);
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
      Note(WorkerHeard{id, lease_clock_us(), worker.last_heard_unix_us});
    } else if (read_until_us - worker.last_heard_us > lease_us) {
      expired.push_back(id);
    }
  }
  for (const WorkerId id : expired) Lose(id, "its lease ran out");
  CloseAbandonedJobs(stood_still);
}

void Core::On(const TimePassed& event) {
  ExpireLeases();
  unread_ = event.unread;
  // Only here does its deadline count: it was set anew if this process stood still.
  const bool due = lease_clock_us() >= adoption_deadline_us_;
  if (state_.adopting() && (due || state_.awaited().empty())) EndAdoption();
  EndOrphans();
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
      Reduce(ask.id, IntervalSet(assignment.tasks.Last(1)));
      continue;
    }
    Tell(*state_.FindWorker(assignment.worker), SendRevoke{.id = ask.id, .count = ask.count},
         state_.FindJob(assignment.job)->rests_on);
  }
}

void Core::Carry(const Feed& feed) {
  const Job& job = *state_.FindJob(feed.job);
  const Worker& worker = *state_.FindWorker(feed.worker);
  const ScheduleOptions& options = options_.schedule;
  const InputSizes& sizes = job.facts.input_sizes;
  const IntervalSet& from = feed.alone ? job.ready_alone : job.ready;
  const std::uint64_t limit = feed.alone ? 1 : options.max_assignment_tasks;
  // The plan took the first ready tasks for all: others may have got those.
  const std::uint64_t within =
      sizes.TasksWithin(from.First(1).first, options.max_backlog_input_bytes);
  std::uint64_t left = std::min(feed.count, std::max<std::uint64_t>(feed.width, within));
  while (left > 0) {
    TaskRange tasks = from.First(std::min(left, limit));
    if (tasks.count == 0) break;
    tasks.count =
        std::min(tasks.count, sizes.TasksWithin(tasks.first, options.max_assignment_input_bytes));
    left -= tasks.count;
    const bool with_spec = !SurelyHolds(state_, worker, job);
    const AssignmentId id(epoch_, ++last_assignment_);
    Note(AssignmentOpened{.id = id,
                          .job = feed.job,
                          .worker = feed.worker,
                          .tasks = IntervalSet(tasks),
                          .width = feed.width,
                          .alone = feed.alone,
                          .on_trust = feed.on_trust,
                          .monotonic_us = now_.monotonic_us});
    if (job.facts.spec.at_most_once) {
      const RecordSequence sequence =
          Record(StartsRecorded{feed.job, tasks, id}, job.facts.spec.is_volatile);
      if (sequence > 0 && !Planted(PlantedBug::kStartNotAwaited)) {
        Note(JobRestsOn{feed.job, sequence});
      }
    }
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
