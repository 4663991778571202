// The coordinator's process as its loop will run it: events in, records to the store, effects out
// as soon as what they rest on is committed and not before.
#include <algorithm>
#include <utility>

#include "tests/sim/sim.h"

namespace haul::sim {

using namespace coordinator;  // NOLINT: this file is its shell

namespace {

CoreOptions Options(std::int64_t lease_ms) {
  CoreOptions options;
  options.lease_ms = lease_ms;
  return options;
}

}  // namespace

constexpr std::int64_t kLeaseMs = 3000;

void Sim::StartCoordinator() {
  core_ = std::make_unique<Core>(Options(kLeaseMs), ++epoch_);
  committed_ = 0;
  appended_ = 0;
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
    if (is_membership && bug_ == PlantedBug::kMembershipNotStored) continue;
    core_->Recover(record);
  }
  core_->RecoverLastIds(last_job, last_worker);
  timeline_.Trace("coordinator starts", epoch_, store_.disk().size());
  checkers_.OnServing();
  checkers_.OnRecovered(core_->state());
  Step(ServingStarted{});
  if (!running()) return;
  timeline_.After(0, [this, generation = generation_] {
    if (generation == generation_) Tick();
  });
}

void Sim::KillCoordinator() {
  timeline_.Trace("coordinator dies", epoch_);
  ++figures_.coordinator_kills;
  if (core_->state().adopting()) ++figures_.kills_while_adopting;
  ++generation_;
  core_.reset();
  waiting_.clear();
  asked_.clear();
  inbox_.clear();
  turn_planned_ = false;
  store_.Kill();
  checkers_.OnCoordinatorKilled();
  for (auto& [session, connection] : connections_) {
    if (!connection.broken) Break(session);
  }
  const std::int64_t away_us =
      timeline_.Chance(70) ? timeline_.Between(1'000, 1'000'000) : timeline_.Between(0, 8'000'000);
  timeline_.After(faults_ ? away_us : 1'000, [this] { StartCoordinator(); });
}

void Sim::Deliver(const Event& event) {
  if (!running()) return;
  inbox_.push_back(event);
  if (inbox_.size() == 1) TakeInbox();
}

void Sim::TakeInbox() {
  if (timeline_.now_us() < stands_still_until_us_) {
    timeline_.After(stands_still_until_us_ - timeline_.now_us(), [this, generation = generation_] {
      if (generation == generation_) TakeInbox();
    });
    return;
  }
  while (!inbox_.empty()) {  // a coordinator that is killed takes it along
    const Event event = inbox_.front();
    Step(event);
    if (!inbox_.empty()) inbox_.pop_front();
  }
  TurnSoon();
}

void Sim::TurnSoon() {
  if (!running() || turn_planned_) return;
  turn_planned_ = true;
  timeline_.After(timeline_.Between(0, 1'000), [this, generation = generation_] {
    if (generation != generation_) return;
    turn_planned_ = false;
    if (timeline_.now_us() >= stands_still_until_us_) Step(TimePassed{});
  });
}

void Sim::Tick() {
  if (timeline_.now_us() >= stands_still_until_us_) Step(TimePassed{});
  timeline_.After(200'000, [this, generation = generation_] {
    if (generation == generation_) Tick();
  });
}

void Sim::Step(const Event& event) {
  if (!running()) return;
  ++figures_.core_steps;
  timeline_.Trace("step", event.index());
  const std::uint64_t before = core_->state().assignments().size();
  const StepResult result = core_->Step(Rewritten(event), Clocks());
  if (std::holds_alternative<WorkerConnected>(event) &&
      core_->state().assignments().size() > before) {
    figures_.adopted += core_->state().assignments().size() - before;
  }
  CheckInvariants(core_->state());
  for (const StepResult::Durable& durable : result.records) TakeRecord(durable, event);
  // Any step may be the last one, and any of its effects the last that leaves.
  const bool dies = faults_ && timeline_.Below(700) == 0;
  std::size_t leave = dies ? timeline_.Below(result.effects.size() + 1) : result.effects.size();
  for (const Effect& effect : result.effects) {
    if (leave-- == 0) break;
    if (effect.rests_on <= committed_ || bug_ == PlantedBug::kEffectsBeforeCommit) {
      Perform(effect);
    } else {
      waiting_.push_back(effect);
    }
  }
  if (dies) KillCoordinator();
}

void Sim::TakeRecord(const StepResult::Durable& durable, const Event& event) {
  const DurableRecord& record = durable.record;
  timeline_.Trace("record", record.index(), durable.is_volatile ? 1 : 0);
  if (const auto* joined = std::get_if<WorkerJoined>(&record)) {
    for (const auto& worker : workers_) {
      if (worker->incarnation() == joined->incarnation)
        members_[joined->worker] = worker->process();
    }
  } else if (const auto* left = std::get_if<WorkerLeft>(&record)) {
    checkers_.OnLeftRecorded(members_.at(left->worker));
  } else if (const auto* outcome = std::get_if<OutcomeRecorded>(&record)) {
    checkers_.OnOutcome(*outcome, /*durable=*/false);
    const auto* finished = std::get_if<TasksFinished>(&event);
    if (finished != nullptr && outcome->payload != OutcomeRecorded::kNoPayload) {
      checkers_.OnOutcomeFrom(*outcome, *finished);
    }
  } else if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    const std::size_t number = std::stoul(accepted->spec.name);
    traits_[accepted->job] = submissions_.at(number).traits;
    if (durable.is_volatile) checkers_.OnAccepted(*accepted);
    ++figures_.jobs;
  } else if (const auto* forgotten = std::get_if<JobForgotten>(&record)) {
    if (durable.is_volatile) checkers_.OnForgotten(forgotten->job);
  }
  if (!durable.is_volatile) store_.Append(record, ++appended_);
}

void Sim::OnDisk(const DurableRecord& record) {
  if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    checkers_.OnAccepted(*accepted);
  } else if (const auto* outcome = std::get_if<OutcomeRecorded>(&record)) {
    checkers_.OnOutcome(*outcome, /*durable=*/true);
  } else if (const auto* left = std::get_if<WorkerLeft>(&record)) {
    checkers_.OnLeftDurable(members_.at(left->worker));
  } else if (const auto* forgotten = std::get_if<JobForgotten>(&record)) {
    checkers_.OnForgotten(forgotten->job);
  }
}

void Sim::OnCommit(RecordSequence through) {
  committed_ = through;
  std::vector<Effect> ready;
  std::vector<Effect> later;
  for (Effect& effect : waiting_) {
    (effect.rests_on <= committed_ ? ready : later).push_back(std::move(effect));
  }
  waiting_ = std::move(later);
  for (const Effect& effect : ready) Perform(effect);
}

bool Sim::Answer(const Effect& effect) {
  RequestId request;
  if (const auto* submit = std::get_if<AnswerSubmit>(&effect.what)) request = submit->request;
  if (const auto* job = std::get_if<AnswerJob>(&effect.what)) request = job->request;
  if (const auto* worker = std::get_if<AnswerWorker>(&effect.what)) request = worker->request;
  if (const auto* error = std::get_if<AnswerError>(&effect.what)) request = error->request;
  if (request.is_none()) return false;
  const auto it = asked_.find(request);
  if (it == asked_.end()) return true;
  const Asked asked = it->second;
  asked_.erase(it);
  Submission& submission = submissions_.at(asked.submission);
  if (faults_ && timeline_.Chance(10)) return true;  // its client lost the connection
  const auto* accepted = std::get_if<AnswerSubmit>(&effect.what);
  switch (asked.what) {
    case Asked::What::kSubmit:
      if (accepted == nullptr) {
        checkers_.Violate("a good submit is refused");
        break;
      }
      checkers_.OnSubmitAnswered(accepted->job, submission.traits.spec.is_volatile);
      if (!submission.job.is_none() && submission.job != accepted->job &&
          !submission.traits.spec.is_volatile) {
        checkers_.Violate("a repeated submit is another job");
      }
      submission.job = accepted->job;
      break;
    case Asked::What::kCancel:
      submission.cancelled = true;
      break;
    case Asked::What::kForget:
      submission.forgotten = std::holds_alternative<AnswerJob>(effect.what);
      break;
  }
  return true;
}

void Sim::Perform(const Effect& effect) {
  timeline_.Trace("effect", effect.what.index(), effect.rests_on);
  if (Answer(effect)) return;
  std::visit(
      [&](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, CloseSession>) {
          Break(what.session);
        } else if constexpr (requires { what.session; }) {
          // What waited for a connection that is gone meanwhile leaves no more.
          if (!connections_.contains(what.session) || connections_.at(what.session).broken) return;
          if constexpr (std::is_same_v<What, SendAssignment>) {
            checkers_.OnReleased(what.job, what.tasks, what.id);
          }
          SendDown(what.session, effect);
        }
      },
      effect.what);
}

// Only for the planted bug: what a superseded assignment says, said in the name of the live one.
Event Sim::Rewritten(const Event& event) const {
  const auto* finished = std::get_if<TasksFinished>(&event);
  if (bug_ != PlantedBug::kStaleOutcomesRewritten || finished == nullptr ||
      finished->outcomes.empty()) {
    return event;
  }
  const State& state = core_->state();
  for (const auto& [id, assignment] : state.assignments()) {
    const Worker& worker = *state.FindWorker(assignment.worker);
    if (assignment.job != finished->job || !worker.connected() ||
        !assignment.tasks.ContainsAll(finished->outcomes[0].tasks)) {
      continue;
    }
    TasksFinished rewritten = *finished;
    rewritten.session = worker.session;
    rewritten.assignment = id;
    return rewritten;
  }
  return event;
}

Now Sim::Clocks() const {
  return {.monotonic_us = 1'000'000 + timeline_.now_us(),
          .unix_us = 1'700'000'000'000'000 + timeline_.now_us() + wall_clock_offset_us_};
}

}  // namespace haul::sim
