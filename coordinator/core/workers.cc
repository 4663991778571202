// Workers: how they join, come back with what they hold, are drained and are lost.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"
#include "coordinator/core/core.h"

namespace haul::coordinator {
namespace {

// So far away that it never comes, rather than an overflow.
constexpr std::uint64_t kMaxDrainMs = std::uint64_t{1} << 50;

}  // namespace

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
                                  .joined_after = AssignmentId(epoch_, last_assignment_)});
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
  Note(WorkerHeard{id, lease_clock_us(), now_.unix_us});
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
    SayCancelled(*state_.FindWorker(id), *assignment);
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
    Note(RevokeAnswered{.id = held.id, .lost = true});
    Note(TasksBlocked{held.id, held.blocked});
    if (missing.empty()) continue;
    WithdrawStarts(held.id, *state_.FindJob(assignment->job), missing);
    Reduce(held.id, missing);
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
    WithdrawStarts(id, *state_.FindJob(assignment.job), assignment.tasks);
    Reduce(id, IntervalSet(assignment.tasks));
  }
  for (const JobId job : touched) Settle(job);
  return dropped;
}

bool Core::Adopt(const Worker& worker, const HeldAssignment& held) {
  const Job* job = state_.FindJob(held.job);
  if (job == nullptr || job->is_ended() || !state_.WaitsForAdoption(*job) ||
      held.id.epoch() >= epoch_ || held.width == 0) {
    return false;
  }
  if (held.id <= worker.facts.joined_after && !Planted(PlantedBug::kEarlierMembershipAdopted)) {
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
  // Likewise one that was withdrawn.
  if (job->facts.spec.at_most_once) tasks = tasks.Intersection(job->facts.started);
  if (tasks.empty()) return false;
  Note(AssignmentOpened{.id = held.id,
                        .job = held.job,
                        .worker = worker.id,
                        .tasks = std::move(tasks),
                        .width = held.width,
                        .alone = held.alone});
  Note(TasksBlocked{held.id, held.blocked});
  return true;
}

void Core::On(const WorkerSpoke& event) {
  const Worker* worker = state_.FindWorker(event.session);
  if (worker != nullptr) Note(WorkerHeard{worker->id, lease_clock_us(), now_.unix_us});
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
    Reduce(assignment_id, IntervalSet(assignment.tasks));
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

}  // namespace haul::coordinator
