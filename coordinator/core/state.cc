#include "coordinator/core/state.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"

namespace haul::coordinator {
namespace {

// What a batch of outcomes counts for at least: a worker was kept that long for it, however short
// its tasks were.
constexpr std::uint64_t kLeastUseUs = 100;

void Fold(std::uint64_t measured_ns, std::uint64_t& mean_ns) {
  mean_ns = mean_ns == 0 ? measured_ns : (mean_ns + measured_ns + 1) / 2;
}

bool Serves(const ServedFunction& function, const JobSpec& spec) {
  return function.name == spec.function && function.signature == spec.signature;
}

// The first that Serves it, or what stands in its place.
template <typename Functions>
auto FirstServing(Functions& functions, const JobSpec& spec) {
  return functions.lower_bound({spec.function, spec.signature, ""});
}

}  // namespace

std::uint64_t& TaskCounts::Of(TaskStatus status) {
  switch (status) {
    case TaskStatus::kSucceeded:
      return succeeded;
    case TaskStatus::kFailed:
      return failed;
    case TaskStatus::kCancelled:
      return cancelled;
    case TaskStatus::kLost:
      return lost;
    case TaskStatus::kCrashed:
      break;
  }
  HAUL_UNREACHABLE("a crash is not terminal");
}

JobState Job::state() const {
  if (facts.ended) return *facts.ended;
  return started || assigned_tasks > 0 || facts.done_count() > 0 ? JobState::kRunning
                                                                 : JobState::kQueued;
}

std::uint64_t Job::MayRunBeside(std::uint64_t running) const {
  const std::uint64_t limit = facts.spec.max_running;
  if (limit == 0 || Planted(PlantedBug::kMaxRunningIgnored)) return ~std::uint64_t{0};
  return running >= limit ? 0 : limit - running;
}

std::uint64_t Worker::used_milli() const {
  std::uint64_t blocked = 0;
  for (const auto& [depth, milli] : blocked_milli) blocked += milli;
  return reserved_milli - std::min(reserved_milli, blocked);
}

std::uint64_t Worker::free_milli(std::uint32_t depth) const {
  std::uint64_t usable = profile.cpus_milli;
  for (const auto& [shallower, milli] : blocked_milli) {
    if (shallower < depth) usable += milli;
  }
  return std::min(usable - std::min(usable, reserved_milli), profile.cpus_milli);
}

Charge Job::ChargeOf(TaskIndex task) const {
  const auto it = facts.charges.find(task);
  return it == facts.charges.end() ? Charge{} : it->second;
}

void State::Apply(const DurableRecord& record) {
  std::visit([this](const auto& r) { On(r); }, record);
}

void State::Apply(const VolatileRecord& record) {
  std::visit([this](const auto& r) { On(r); }, record);
}

const Job* State::FindJob(JobId id) const {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second;
}

const Worker* State::FindWorker(WorkerId id) const {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

const Worker* State::FindWorker(SessionId session) const {
  const auto it = sessions_.find(session);
  return it == sessions_.end() ? nullptr : FindWorker(it->second);
}

const Worker* State::FindIncarnation(const std::string& incarnation) const {
  const auto it = incarnations_.find(incarnation);
  return it == incarnations_.end() ? nullptr : FindWorker(it->second);
}

const Assignment* State::FindAssignment(AssignmentId id) const {
  const auto it = assignments_.find(id);
  return it == assignments_.end() ? nullptr : &it->second;
}

const Job* State::FindRequest(const std::string& owner, const std::string& request_id) const {
  const auto it = requests_.find({owner, request_id});
  return it == requests_.end() ? nullptr : FindJob(it->second);
}

std::uint64_t State::ExpectedTaskNs(const Job& job) const {
  const JobSpec& spec = job.facts.spec;
  if (job.mean_task_ns > 0 || job.misjudged || spec.kind != WorkKind::kFunction) {
    return job.mean_task_ns;
  }
  // Of several libraries that have it the slowest.
  std::uint64_t expected_ns = 0;
  for (auto it = FirstServing(functions_, spec); it != functions_.end() && Serves(it->first, spec);
       ++it) {
    expected_ns = std::max(expected_ns, it->second.mean_task_ns);
  }
  return expected_ns;
}

bool State::IsServed(const JobSpec& spec) const {
  const auto first = FirstServing(functions_, spec);
  return first != functions_.end() && Serves(first->first, spec);
}

const Job* State::NewestJob() const {
  return by_acceptance_.empty() ? nullptr : FindJob(by_acceptance_.rbegin()->second);
}

bool State::ParentGoesOn(const ParentTask& parent) const {
  const Assignment* assignment = FindAssignment(parent.assignment);
  return assignment != nullptr && assignment->job == parent.job &&
         assignment->tasks.Contains(parent.task);
}

Job& State::MutableJob(JobId id) {
  const auto it = jobs_.find(id);
  HAUL_CHECK(it != jobs_.end());
  return it->second;
}

Worker& State::MutableWorker(WorkerId id) {
  const auto it = workers_.find(id);
  HAUL_CHECK(it != workers_.end());
  return it->second;
}

void State::IndexJob(Job& job) {
  const JobSpec& spec = job.facts.spec;
  if (job.is_ended() || !job.has_ready()) return ready_jobs_.Remove(job.id, spec, job.place);
  std::optional<ServeOrder> order;
  if (job.MayRunBeside(job.running_width) > 0 && !WaitsForAdoption(job)) {
    order = job.OrderWith(job.running_width);
  }
  const bool apart = !job.ready_alone.empty() || !job.refused_by.empty();
  ready_jobs_.Put(job.id, spec, job.place, job.virtual_us, order, apart);
}

void State::IndexRecovered() {
  for (auto& [id, job] : jobs_) {
    if (job.recovered) IndexJob(job);
  }
}

void State::IndexWorker(const Worker& worker) {
  if (worker.has_room()) {
    roomy_workers_.insert(worker.id);
  } else {
    roomy_workers_.erase(worker.id);
  }
}

// ---- durable ----

void State::On(const JobAccepted& record) {
  HAUL_CHECK(!jobs_.contains(record.job));
  Job& job = jobs_[record.job];
  job.id = record.job;
  job.facts.spec = record.spec;
  job.facts.accepted_unix_us = record.unix_us;
  job.facts.open = record.spec.is_open;
  if (job.facts.open) open_jobs_.insert(job.id);
  if (const ParentTask& parent = record.spec.parent; !parent.assignment.is_none()) {
    children_.insert({parent.assignment, parent.task, job.id});
  }
  job.facts.input_sizes = record.input_sizes;
  job.ready.Add({0, record.spec.task_count});
  if (!record.spec.request_id.empty()) {
    requests_[{record.spec.owner, record.spec.request_id}] = record.job;
  }
  ++active_jobs_;
  job.acceptance = by_acceptance_.empty() ? 1 : by_acceptance_.rbegin()->first + 1;
  by_acceptance_[job.acceptance] = record.job;
  IndexJob(job);
}

void State::On(const JobExtended& record) {
  Job& job = MutableJob(record.job);
  HAUL_CHECK(job.facts.open && !job.is_ended());
  JobSpec& spec = job.facts.spec;
  job.ready.Add({spec.task_count, record.count});
  spec.task_count += record.count;
  spec.input_bytes += record.input_bytes;
  job.facts.input_sizes.Append(record.count, record.input_bytes);
  if (record.closed) {
    job.facts.open = false;
    open_jobs_.erase(job.id);
  }
  IndexJob(job);
}

void State::On(const OutcomeRecorded& record) {
  Job& job = MutableJob(record.job);
  HAUL_CHECK(!job.is_ended());
  HAUL_CHECK(record.tasks.end() <= job.facts.spec.task_count);
  const std::uint64_t added = job.facts.done.Add(record.tasks);
  HAUL_CHECK(added == record.tasks.count);  // I2: a task has at most one terminal outcome
  job.facts.counts.Of(record.status) += record.tasks.count;
  job.ready.Remove(record.tasks);
  job.ready_alone.Remove(record.tasks);
  job.facts.started.Remove(record.tasks);
  job.unwanted.Remove(record.tasks);
  auto it = job.facts.charges.lower_bound(record.tasks.first);
  while (it != job.facts.charges.end() && it->first < record.tasks.end()) {
    it = job.facts.charges.erase(it);
  }
  IndexJob(job);
}

void State::On(const AttemptsCharged& record) {
  Job& job = MutableJob(record.job);
  job.facts.charges[record.task] = {record.attempts, record.crashes, record.run_alone,
                                    record.assignment};
  ++job.facts.retried;
  if (record.run_alone && job.ready.Remove({record.task, 1}) == 1) {
    job.ready_alone.Add({record.task, 1});
    IndexJob(job);
  }
}

void State::On(const StartsRecorded& record) {
  IntervalSet& started = MutableJob(record.job).facts.started;
  if (record.withdrawn) {
    started.Remove(record.tasks);
  } else {
    started.Add(record.tasks);
  }
}

void State::On(const JobCancelRequested& record) {
  Job& job = MutableJob(record.job);
  if (!job.facts.cancel) job.facts.cancel = record;
}

void State::On(const JobEnded& record) {
  Job& job = MutableJob(record.job);
  HAUL_CHECK(!job.is_ended());
  job.facts.ended = record.state;
  job.facts.ended_unix_us = record.unix_us;
  job.facts.counts = record.counts;
  job.facts.spec.task_count = record.counts.total();  // of an open one the store forgets the rest
  job.facts.open = false;
  open_jobs_.erase(job.id);
  const ParentTask& parent = job.facts.spec.parent;
  children_.erase({parent.assignment, parent.task, job.id});
  // From here on the job is its counts; which task ended how is in the store.
  job.facts.input_sizes = {};
  job.facts.done = {};
  job.facts.charges.clear();
  job.facts.started = {};
  job.ready = {};
  job.ready_alone = {};
  job.unwanted = {};
  --active_jobs_;
  IndexJob(job);
}

void State::On(const JobForgotten& record) {
  const Job& job = MutableJob(record.job);
  HAUL_CHECK(job.is_ended());
  requests_.erase({job.facts.spec.owner, job.facts.spec.request_id});
  by_acceptance_.erase(job.acceptance);
  jobs_.erase(record.job);
}

void State::On(const WorkerJoined& record) {
  HAUL_CHECK(!workers_.contains(record.worker));
  Worker& worker = workers_[record.worker];
  worker.id = record.worker;
  worker.facts = record;
  incarnations_[record.incarnation] = record.worker;
}

void State::On(const WorkerLeft& record) {
  Worker& worker = MutableWorker(record.worker);
  HAUL_CHECK(worker.assigned_tasks == 0);
  CountFunctions(worker.profile, -1);
  if (worker.connected()) sessions_.erase(worker.session);
  incarnations_.erase(worker.facts.incarnation);
  roomy_workers_.erase(worker.id);
  awaited_.erase(worker.id);
  workers_.erase(record.worker);
}

// ---- volatile ----

void State::CountFunctions(const WorkerProfile& profile, int by) {
  for (const ServedFunction& function : profile.functions) {
    const auto it = functions_.try_emplace(function).first;
    it->second.workers = static_cast<std::uint32_t>(static_cast<int>(it->second.workers) + by);
    if (it->second.workers == 0) functions_.erase(it);
  }
}

void State::On(const WorkerAttached& record) {
  Worker& worker = MutableWorker(record.worker);
  HAUL_CHECK(!worker.connected());
  // In this order, so that what was measured of those that it still serves is kept.
  CountFunctions(record.profile, 1);
  CountFunctions(worker.profile, -1);
  worker.session = record.session;
  worker.profile = record.profile;
  worker.draining = worker.draining || record.draining;
  worker.overcommitted = worker.used_milli() > worker.profile.cpus_milli;
  sessions_[record.session] = record.worker;
  awaited_.erase(record.worker);
  IndexWorker(worker);
}

void State::On(const WorkerDetached& record) {
  Worker& worker = MutableWorker(record.worker);
  HAUL_CHECK(worker.connected());
  sessions_.erase(worker.session);
  worker.session = {};
  IndexWorker(worker);
}

void State::On(const WorkerHeard& record) {
  Worker& worker = MutableWorker(record.worker);
  worker.last_heard_us = record.lease_clock_us;
  worker.last_heard_unix_us = record.unix_us;
}

void State::On(const WorkerDraining& record) {
  Worker& worker = MutableWorker(record.worker);
  worker.draining = true;
  // Of several the earliest counts.
  if (record.deadline_us != 0 &&
      (worker.drain_deadline_us == 0 || record.deadline_us < worker.drain_deadline_us)) {
    worker.drain_deadline_us = record.deadline_us;
  }
  IndexWorker(worker);
}

void State::On(const WorkerStopping& record) {
  Worker& worker = MutableWorker(record.worker);
  worker.draining = true;
  worker.stopping = true;
  IndexWorker(worker);
}

void State::On(const JobSuspected& record) { MutableJob(record.job).suspected = true; }

void State::On(const TasksUnwanted& record) {
  Job& job = MutableJob(record.job);
  job.unwanted.Add(record.tasks);
  job.unwanted_by = record.by;
}

void State::On(const WorkerDeparting& record) {
  Worker& worker = MutableWorker(record.worker);
  worker.departing = true;
  IndexWorker(worker);
}

void State::On(const WorkerRefusedJob& record) {
  Job& job = MutableJob(record.job);
  job.refused_by.insert(record.worker);
  IndexJob(job);
}

void State::On(const TasksMeasured& record) {
  Job& job = MutableJob(record.job);
  const std::uint64_t mean_ns = std::max<std::uint64_t>(1, record.busy_ns / record.count);
  Fold(mean_ns, job.mean_task_ns);
  EndTrust(assignments_.at(record.assignment));
  if (job.facts.spec.kind == WorkKind::kFunction) {
    for (auto it = FirstServing(functions_, job.facts.spec);
         it != functions_.end() && Serves(it->first, job.facts.spec); ++it) {
      Fold(mean_ns, it->second.mean_task_ns);
    }
  }
  const std::uint64_t busy_us = std::max(record.busy_ns / 1000, kLeastUseUs);
  const std::uint64_t used_us = busy_us * job.facts.spec.cpus_milli / 1000;
  job.virtual_us += used_us;
  IndexJob(job);
  ready_jobs_.Used(job.facts.spec.priority, used_us);
}

void State::On(const JobBlocked& record) {
  Job& job = MutableJob(record.job);
  (record.alone ? job.alone_blocked_since_us : job.blocked_since_us) = record.since_us;
}

void State::On(const AdoptionEnded&) {
  adopting_ = false;
  awaited_.clear();
  IndexRecovered();
}

void State::On(const AdoptionBegan&) {
  for (auto& [id, job] : jobs_) job.recovered = !job.is_ended();
  for (const auto& [id, worker] : workers_) awaited_.insert(id);
  adopting_ = !awaited_.empty();
  serving_ = true;
  IndexRecovered();
}

void State::On(const JobRestsOn& record) { MutableJob(record.job).rests_on = record.sequence; }

void State::On(const WorkerRestsOn& record) {
  MutableWorker(record.worker).rests_on = record.sequence;
}

void State::On(const JobKeptOpen& record) {
  MutableJob(record.job).kept_open_us = record.lease_clock_us;
}

void State::On(const JobCaughtUp& record) {
  Job& job = MutableJob(record.job);
  job.virtual_us = std::max(job.virtual_us, record.virtual_us);
  IndexJob(job);
}

void State::On(const LanesFed&) { hungry_.clear(); }

}  // namespace haul::coordinator
