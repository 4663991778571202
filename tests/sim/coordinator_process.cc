#include "tests/sim/coordinator_process.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/planted_bug.h"

namespace haul::sim {

using namespace coordinator;  // NOLINT(google-build-using-namespace): its shell

namespace {

// Once faults are over: a job of the first priority that could run and is not served for so long
// starves.
constexpr std::int64_t kStarvesAfterUs = 60'000'000;
// With more that waits for the disk nothing is read.
constexpr std::uint64_t kMostUndecided = 50;

CoreOptions CoordinatorOptions(std::int64_t lease_us) {
  CoreOptions options;
  options.lease_ms = lease_us / 1000;
  return options;
}

bool SameFacts(const JobFacts& a, const JobFacts& b) {
  return a.spec == b.spec && a.accepted_unix_us == b.accepted_unix_us && a.counts == b.counts &&
         a.done == b.done && a.charges == b.charges && a.started == b.started && a.open == b.open &&
         a.retried == b.retried && a.cancel.has_value() == b.cancel.has_value() &&
         a.ended == b.ended && a.ended_unix_us == b.ended_unix_us;
}

}  // namespace

CoordinatorProcess::CoordinatorProcess(Timeline& timeline, Checkers& checkers, Figures& figures,
                                       std::int64_t lease_us, Wiring wiring)
    : timeline_(timeline),
      checkers_(checkers),
      figures_(figures),
      lease_us_(lease_us),
      wiring_(std::move(wiring)),
      store_(
          timeline, [this](const DurableRecord& record) { OnDisk(record); },
          [this](RecordSequence through) { OnCommit(through); }) {}

// ---- its life ----

std::unique_ptr<Core> CoordinatorProcess::Recover(std::uint64_t epoch) {
  auto core = std::make_unique<Core>(CoordinatorOptions(lease_us_), epoch);
  JobId last_job;
  WorkerId last_worker;
  for (const DurableRecord& record : store_.disk()) {
    if (const auto* job = std::get_if<JobAccepted>(&record))
      last_job = std::max(last_job, job->job);
    if (const auto* joined = std::get_if<WorkerJoined>(&record)) {
      last_worker = std::max(last_worker, joined->worker);
    }
    const bool is_membership =
        std::holds_alternative<WorkerJoined>(record) || std::holds_alternative<WorkerLeft>(record);
    if (is_membership && Planted(PlantedBug::kMembershipNotStored)) continue;
    core->Recover(record);
  }
  core->RecoverLastIds(last_job, last_worker);
  return core;
}

void CoordinatorProcess::Start() {
  if (epoch_ == 0 || !Planted(PlantedBug::kEpochNotRaised)) ++epoch_;
  core_ = Recover(epoch_);
  committed_ = 0;
  appended_ = 0;
  timeline_.Trace("coordinator starts", epoch_, store_.disk().size());
  checkers_.OnServing();
  checkers_.OnRecovered(core_->state());
  Step(ServingStarted{});
  if (!running()) return;
  timeline_.After(0, [this, generation = generation_] {
    if (generation == generation_) Tick();
  });
}

void CoordinatorProcess::Kill() {
  timeline_.Trace("coordinator dies", epoch_);
  CheckReplay();
  ++generation_;
  core_.reset();
  sessions_.clear();
  waiting_.clear();
  inbox_.clear();
  unserved_since_us_.clear();
  turn_planned_ = false;
  unread_ = false;
  stands_still_until_us_ = 0;
  store_.Kill();
  checkers_.OnCoordinatorKilled();
  wiring_.died();
}

void CoordinatorProcess::CheckReplay() {
  if (committed_ != appended_ || Planted(PlantedBug::kMembershipNotStored)) return;
  const std::unique_ptr<Core> replayed = Recover(epoch_ + 1);
  for (const auto& [id, job] : core_->state().jobs()) {
    if (job.facts.spec.is_volatile) continue;
    const Job* again = replayed->state().FindJob(id);
    if (again == nullptr || !SameFacts(job.facts, again->facts)) {
      checkers_.Violate(absl::StrCat("job ", id.value(), " comes back otherwise than it was"));
    }
  }
  for (const auto& [id, worker] : core_->state().workers()) {
    const Worker* again = replayed->state().FindWorker(id);
    if (again == nullptr || again->facts.incarnation != worker.facts.incarnation) {
      checkers_.Violate(absl::StrCat("worker ", id.value(), " does not come back"));
    }
  }
}

bool CoordinatorProcess::settled() const {
  if (!running() || !waiting_.empty() || core_->state().adopting()) return false;
  return std::all_of(sessions_.begin(), sessions_.end(),
                     [](const auto& entry) { return entry.second.queue.empty(); }) &&
         core_->state().active_jobs() == 0 && committed_ == core_->last_sequence();
}

// ---- events ----

void CoordinatorProcess::Receive(SessionId session, const WorkerMessage& message) {
  if (!running()) return;
  inbox_.push_back([this, session, message] {
    if (message.hello.has_value()) {
      sessions_[session];
      WorkerConnected hello = *message.hello;
      hello.session = session;
      Step(hello);
    }
    // Any step may be the last.
    const auto step = [this](const Event& event) {
      if (running()) Step(event);
    };
    step(WorkerSpoke{session});
    for (const TasksFinished& finished : message.outcomes) step(Fenced(finished));
    for (const TasksHandedBack& handed_back : message.handed_back) step(handed_back);
    for (const coordinator::BlockedReported& blocked : message.blocked) step(blocked);
    if (running() && message.heartbeat && sessions_.contains(session)) {
      sessions_[session].bundle.heartbeat = true;
      sessions_[session].bundle_used = true;
      Write(session);
    }
    if (message.draining) step(WorkerStartedDraining{session});
    if (message.goodbye) step(WorkerSaidGoodbye{session});
  });
  if (inbox_.size() == 1) TakeInbox();
}

// As it is, but for a planted bug: then what a superseded assignment says is taken for the live
// one's.
Event CoordinatorProcess::Fenced(const TasksFinished& event) const {
  if (!Planted(PlantedBug::kStaleOutcomeAccepted) || !running() || event.outcomes.empty()) {
    return event;
  }
  for (const auto& [id, assignment] : core_->state().assignments()) {
    const Worker& worker = *core_->state().FindWorker(assignment.worker);
    if (assignment.job != event.job || !worker.connected() ||
        !assignment.tasks.ContainsAll(event.outcomes.front().tasks)) {
      continue;
    }
    TasksFinished rewritten = event;
    rewritten.session = worker.session;
    rewritten.assignment = id;
    return rewritten;
  }
  return event;
}

void CoordinatorProcess::SessionClosed(SessionId session) {
  if (!running()) return;
  inbox_.push_back([this, session] {
    if (sessions_.erase(session) > 0) Step(coordinator::SessionClosed{session});
  });
  if (inbox_.size() == 1) TakeInbox();
}

void CoordinatorProcess::Deliver(const Event& event) {
  if (!running()) return;
  inbox_.push_back([this, event] { Step(event); });
  if (inbox_.size() == 1) TakeInbox();
}

void CoordinatorProcess::TakeInbox() {
  if (unread_) return;  // a turn reads on
  if (timeline_.now_us() < stands_still_until_us_) {
    timeline_.After(stands_still_until_us_ - timeline_.now_us(), [this, generation = generation_] {
      if (generation != generation_) return;
      // A turn takes only so much of what has gathered, and then looks at the leases.
      if (timeline_.Chance(50)) Step(TimePassed{});
      if (generation == generation_) TakeInbox();
    });
    return;
  }
  while (!inbox_.empty()) {  // a coordinator that is killed takes it along
    const std::function<void()> work = inbox_.front();
    work();
    if (!inbox_.empty()) inbox_.pop_front();
  }
  TurnSoon();
}

void CoordinatorProcess::StandStill(std::int64_t duration_us) {
  stands_still_until_us_ = std::max(stands_still_until_us_, timeline_.now_us() + duration_us);
}

void CoordinatorProcess::TurnSoon() {
  if (!running() || turn_planned_) return;
  turn_planned_ = true;
  timeline_.After(timeline_.Between(0, 1'000), [this, generation = generation_] {
    if (generation != generation_) return;
    turn_planned_ = false;
    Turn();
  });
}

void CoordinatorProcess::Turn() {
  if (timeline_.now_us() < stands_still_until_us_) return;
  const bool was_unread = std::exchange(unread_, undecided_records() > kMostUndecided);
  Step(TimePassed{.unread = unread_});
  if (running() && was_unread && !unread_ && !inbox_.empty()) TakeInbox();
}

void CoordinatorProcess::Tick() {
  Turn();
  timeline_.After(200'000, [this, generation = generation_] {
    if (generation == generation_) Tick();
  });
}

void CoordinatorProcess::Step(const Event& event) {
  if (!running()) return;
  ++figures_.core_steps;
  timeline_.Trace("step", event.index());
  const std::size_t before = core_->state().assignments().size();
  const StepResult result = core_->Step(event, Clocks());
  if (std::holds_alternative<WorkerConnected>(event) &&
      core_->state().assignments().size() > before) {
    figures_.adopted += core_->state().assignments().size() - before;
  }
  // Half of all steps say that a worker lives or that time passes, and change nothing else.
  const bool is_quiet = std::holds_alternative<WorkerSpoke>(event) ||
                        (std::holds_alternative<TimePassed>(event) && result.records.empty() &&
                         result.effects.empty());
  if (!is_quiet) CheckInvariants(core_->state());
  for (const StepResult::Durable& durable : result.records) TakeRecord(durable, event);
  // Any step may be the last one, and any of its effects the last that leaves.
  const bool dies = wiring_.faults() && timeline_.Below(2'000) == 0;
  std::size_t leave = dies ? timeline_.Below(result.effects.size() + 1) : result.effects.size();
  for (const Effect& effect : result.effects) {
    if (leave-- == 0) break;
    Queue(effect);
  }
  if (dies) {
    figures_.Count(FaultKind::kCoordinatorKilled);
    return Kill();
  }
  if (std::holds_alternative<TimePassed>(event) && !wiring_.faults()) CheckNobodyStarves();
}

void CoordinatorProcess::CheckNobodyStarves() {
  const State& state = core_->state();
  const auto& ready = state.ready_jobs().by_use();
  const std::int32_t first = ready.empty() ? 0 : ready.rbegin()->priority;
  for (const auto& [id, job] : state.jobs()) {
    const bool could_run =
        !job.is_ended() && job.has_ready() && !state.WaitsForAdoption(job) &&
        job.facts.spec.priority == first && job.running_width == 0 &&
        std::any_of(state.workers().begin(), state.workers().end(),
                    [&job = job](const auto& entry) { return IsEligible(entry.second, job); });
    if (!could_run) {
      unserved_since_us_.erase(id);
      continue;
    }
    const std::int64_t since_us =
        unserved_since_us_.try_emplace(id, timeline_.now_us()).first->second;
    if (timeline_.now_us() - since_us > kStarvesAfterUs) {
      checkers_.Violate(absl::StrCat("job ", id.value(), " starves"));
    }
  }
}

// ---- records ----

void CoordinatorProcess::TakeRecord(const StepResult::Durable& durable, const Event& event) {
  const DurableRecord& record = durable.record;
  timeline_.Trace("record", record.index(), durable.is_volatile ? 1 : 0);
  if (const auto* joined = std::get_if<WorkerJoined>(&record)) {
    members_[joined->worker] = wiring_.process_of(joined->incarnation);
    checkers_.OnJoinedRecorded(members_[joined->worker], joined->joined_after);
  } else if (const auto* left = std::get_if<WorkerLeft>(&record)) {
    checkers_.OnLeftRecorded(members_.at(left->worker), left->reason);
  } else if (const auto* outcome = std::get_if<OutcomeRecorded>(&record)) {
    checkers_.OnOutcome(*outcome, /*durable=*/false);
    const auto* finished = std::get_if<TasksFinished>(&event);
    if (finished != nullptr && outcome->payload != OutcomeRecorded::kNoPayload) {
      checkers_.OnOutcomeFrom(*outcome, *finished);
    }
  } else if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    wiring_.accepted(*accepted);
    if (durable.is_volatile) checkers_.OnAccepted(*accepted);
    ++figures_.jobs;
  } else if (const auto* extended = std::get_if<JobExtended>(&record)) {
    if (durable.is_volatile) checkers_.OnExtended(*extended);
  } else if (const auto* forgotten = std::get_if<JobForgotten>(&record)) {
    if (durable.is_volatile) checkers_.OnForgotten(forgotten->job);
  } else if (const auto* charged = std::get_if<AttemptsCharged>(&record)) {
    checkers_.OnCharged(*charged, core_->options().max_crashes);
  }
  if (!durable.is_volatile) store_.Append(record, ++appended_);
  const bool is_membership =
      std::holds_alternative<WorkerJoined>(record) || std::holds_alternative<WorkerLeft>(record);
  const bool is_charge = std::holds_alternative<AttemptsCharged>(record);
  if ((is_membership && timeline_.Chance(20)) || (is_charge && timeline_.Chance(1))) KillSoon();
}

// When some know of a record and others do not, and perhaps not the disk.
void CoordinatorProcess::KillSoon() {
  if (!wiring_.faults()) return;
  timeline_.After(timeline_.Between(0, 40'000), [this, generation = generation_] {
    if (generation != generation_ || !wiring_.faults()) return;
    figures_.Count(FaultKind::kCoordinatorKilled);
    Kill();
  });
}

void CoordinatorProcess::OnDisk(const DurableRecord& record) {
  if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    checkers_.OnAccepted(*accepted);
  } else if (const auto* extended = std::get_if<JobExtended>(&record)) {
    checkers_.OnExtended(*extended);
  } else if (const auto* outcome = std::get_if<OutcomeRecorded>(&record)) {
    checkers_.OnOutcome(*outcome, /*durable=*/true);
  } else if (const auto* joined = std::get_if<WorkerJoined>(&record)) {
    checkers_.OnJoinedDurable(members_.at(joined->worker), joined->joined_after);
  } else if (const auto* left = std::get_if<WorkerLeft>(&record)) {
    checkers_.OnLeftDurable(members_.at(left->worker));
  } else if (const auto* forgotten = std::get_if<JobForgotten>(&record)) {
    checkers_.OnForgotten(forgotten->job);
  }
}

void CoordinatorProcess::OnCommit(RecordSequence through) {
  committed_ = through;
  std::vector<Effect> ready;
  std::deque<Effect> later;
  for (Effect& effect : waiting_) {
    if (effect.rests_on <= committed_) {
      ready.push_back(std::move(effect));
    } else {
      later.push_back(std::move(effect));
    }
  }
  waiting_ = std::move(later);
  for (const Effect& effect : ready) wiring_.answer(effect);
  std::vector<SessionId> sessions;
  for (const auto& [id, session] : sessions_) sessions.push_back(id);
  for (const SessionId id : sessions) Flush(id);
}

// ---- effects ----

void CoordinatorProcess::Queue(const Effect& effect) {
  timeline_.Trace("effect", effect.what.index(), effect.rests_on);
  const SessionId id = SessionOf(effect);
  if (id.is_none()) {
    if (effect.rests_on > committed_ && !Planted(PlantedBug::kEffectsBeforeCommit)) {
      waiting_.push_back(effect);
      return;
    }
    return wiring_.answer(effect);
  }
  if (std::holds_alternative<SendAssignment>(effect.what)) {
    const auto& send = std::get<SendAssignment>(effect.what);
    const JobId job = send.job;
    timeline_.Trace("assign", job.value(), send.tasks.first, send.with_spec ? 1 : 0);
    if (core_->state().FindJob(job)->facts.cancel) {
      checkers_.Violate(
          absl::StrCat("job ", job.value(), " is cancelled, and more of it is given out"));
    }
    const Worker* worker = core_->state().FindWorker(id);
    if (worker != nullptr && worker->draining) {
      checkers_.Violate(absl::StrCat("worker ", worker->id.value(), " drains and is given more"));
    }
  }
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return;  // gone; its worker is told anew when it comes back
  session->second.queue.Add({.effect = effect}, committed_);
  Flush(id);
}

void CoordinatorProcess::Flush(SessionId id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  Session& session = it->second;
  const bool waits = !Planted(PlantedBug::kEffectsBeforeCommit);
  const SessionQueue::Look look = session.queue.Take(
      waits ? committed_ : std::numeric_limits<RecordSequence>::max(), timeline_.now_us());
  if (look.again_at_us && !std::exchange(session.is_looked_at_later, true)) {
    timeline_.After(*look.again_at_us - timeline_.now_us(), [this, id, generation = generation_] {
      if (generation != generation_) return;
      const auto later = sessions_.find(id);
      if (later == sessions_.end()) return;
      later->second.is_looked_at_later = false;
      Flush(id);
    });
  }
  for (const SessionQueue::Item& item : look.leaving) {
    if (const auto* close = std::get_if<CloseSession>(&item.effect.what)) {
      const bool refused = close->status.code() == absl::StatusCode::kFailedPrecondition;
      sessions_.erase(it);
      return wiring_.close(id, refused);
    }
    Say(session, item.effect);
  }
  Write(id);
}

void CoordinatorProcess::Say(Session& session, const Effect& effect) {
  CoordinatorMessage& bundle = session.bundle;
  session.bundle_used = true;
  if (const auto* assignment = std::get_if<SendAssignment>(&effect.what)) {
    checkers_.OnReleased(assignment->job, assignment->tasks, assignment->id, assignment->alone);
    bundle.assignments.push_back(*assignment);
  } else if (const auto* durable = std::get_if<SendDurable>(&effect.what)) {
    bundle.durable_through = durable->through;
  } else if (const auto* welcome = std::get_if<SendWelcome>(&effect.what)) {
    for (const AssignmentId dropped : welcome->dropped) {
      checkers_.OnDropped(members_.at(welcome->worker), dropped);
    }
    bundle.welcome = *welcome;
  } else if (const auto* revoke = std::get_if<SendRevoke>(&effect.what)) {
    bundle.revokes.push_back(*revoke);
  } else if (const auto* cancel = std::get_if<SendCancel>(&effect.what)) {
    bundle.cancels.push_back(*cancel);
  } else if (const auto* drain = std::get_if<SendDrain>(&effect.what)) {
    bundle.drain = *drain;
  } else if (std::holds_alternative<SendStop>(effect.what)) {
    bundle.stop = true;
  } else if (std::holds_alternative<SendDepart>(effect.what)) {
    bundle.depart = true;
  }
}

// One write at a time; what gathers behind it is one message.
void CoordinatorProcess::Write(SessionId id) {
  Session& session = sessions_.at(id);
  if (session.writing || !session.bundle_used) return;
  session.writing = true;
  session.bundle_used = false;
  wiring_.send(id, std::exchange(session.bundle, {}));
  timeline_.After(timeline_.Between(10, 1'000), [this, id, generation = generation_] {
    if (generation != generation_) return;
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return;
    it->second.writing = false;
    Write(id);
  });
}

Now CoordinatorProcess::Clocks() const {
  return {.monotonic_us = 1'000'000 + timeline_.now_us(),
          .unix_us = 1'700'000'000'000'000 + timeline_.now_us() + wall_clock_offset_us_};
}

}  // namespace haul::sim
