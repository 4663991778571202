// What goes wrong, and which tasks it meets.
#include <algorithm>

#include "tests/sim/sim.h"

namespace haul::sim {

namespace {

bool HoldsInFlight(const coordinator::State& state, const SimWorker& worker) {
  return std::any_of(state.assignments().begin(), state.assignments().end(),
                     [&](const auto& entry) {
                       const coordinator::Worker* holder = state.FindWorker(entry.second.worker);
                       return holder->facts.incarnation == worker.incarnation() &&
                              !worker.core().state().assignments.contains(entry.first);
                     });
}

}  // namespace

void Sim::Count(FaultKind kind, const SimWorker* only) {
  figures_.Count(kind);
  timeline_.Trace(NameOf(kind), only == nullptr ? 0 : only->process().value());
  if (coordinator_.running()) {
    const coordinator::State& state = coordinator_.state();
    for (const auto& [id, job] : state.jobs()) {
      if (job.is_ended() || job.facts.done_count() > 0) figures_.Met(kind, TaskState::kEnded);
      if (job.is_ended() || !job.has_ready()) continue;
      figures_.Met(kind,
                   state.WaitsForAdoption(job) ? TaskState::kAwaitingAdoption : TaskState::kReady);
    }
    if (coordinator_.undecided_records() > 0) figures_.Met(kind, TaskState::kUncommitted);
  }
  for (const auto& worker : workers_) {
    if (!worker->alive() || (only != nullptr && worker.get() != only)) continue;
    const worker::State& state = worker->core().state();
    for (const auto& [id, assignment] : state.assignments) {
      if (!assignment.pending.empty()) figures_.Met(kind, TaskState::kPending);
      if (!assignment.uploading.empty()) figures_.Met(kind, TaskState::kUploading);
    }
    if (worker->machine().running() > 0) figures_.Met(kind, TaskState::kRunning);
    if (state.owed.has_unsealed()) figures_.Met(kind, TaskState::kOwed);
    if (!state.owed.empty() && !state.owed.has_unsealed()) figures_.Met(kind, TaskState::kSaid);
    if (coordinator_.running() && HoldsInFlight(coordinator_.state(), *worker)) {
      figures_.Met(kind, TaskState::kInFlight);
    }
  }
}

// In bursts, with quiet times between them.
void Sim::PlanFault() {
  const std::int64_t pause_us =
      timeline_.Chance(85) ? timeline_.Between(0, 3'000'000) : timeline_.Between(0, 40'000'000);
  timeline_.After(pause_us, [this] {
    if (!faults_) return;
    Fault();
    PlanFault();
  });
}

void Sim::Fault() {
  if (timeline_.Chance(20)) return CoordinatorFault();
  WorkerFault();
}

void Sim::CoordinatorFault() {
  if (!coordinator_.running()) return;
  switch (timeline_.Below(5)) {
    case 0:
    case 1:
      return KillCoordinatorLater(0);
    case 2:
      Count(FaultKind::kCoordinatorStoodStill);
      return coordinator_.StandStill(timeline_.Between(1'000, 2 * checkers_.lease_us()));
    case 3: {
      Count(FaultKind::kDiskSlow);
      const std::int64_t duration_us = timeline_.Between(100'000, 5'000'000);
      coordinator_.SlowDisk(duration_us);
      // Then much is decided that is not on the disk.
      if (timeline_.Chance(50)) KillCoordinatorLater(timeline_.Between(0, duration_us));
      return;
    }
    default:
      Count(FaultKind::kClockJumped);
      return coordinator_.JumpWallClock(timeline_.Between(-3'600'000'000, 3'600'000'000));
  }
}

void Sim::KillCoordinatorLater(std::int64_t delay_us) {
  timeline_.After(delay_us, [this] {
    if (!faults_ || !coordinator_.running()) return;
    Count(coordinator_.state().adopting() ? FaultKind::kCoordinatorKilledInRecovery
                                          : FaultKind::kCoordinatorKilled);
    coordinator_.Kill();
  });
}

void Sim::WorkerFault() {
  const std::size_t place = timeline_.Below(places_.size());
  SimWorker* worker = places_[place];
  if (worker == nullptr) return;
  const std::int64_t lease_us = checkers_.lease_us();
  switch (timeline_.Below(14)) {
    case 0:
    case 1:
      return KillWorker(place);
    case 2:
    case 3:
    case 4:
      if (!worker->connected()) return;
      Count(FaultKind::kConnectionBroken, worker);
      return network_.Break(worker->session());
    case 5:
    case 6: {
      if (!worker->connected()) return;
      Count(FaultKind::kDirectionStalled, worker);
      const bool up = timeline_.Chance(50);
      return network_.Stall(worker->session(), up, timeline_.Between(0, 2 * lease_us));
    }
    case 7:
      Count(FaultKind::kWorkerFrozen, worker);
      return worker->Freeze(timeline_.Between(0, 3 * lease_us));
    case 8:
      return DoubleWorker(place);
    case 9:
    case 10:
      if (!worker->machine().has_executors()) return;
      Count(FaultKind::kExecutorKilled, worker);
      return worker->machine().KillAnExecutor();
    case 11:
      Count(FaultKind::kMessageRepeated, worker);
      return worker->Repeat();
    case 12:
      if (!timeline_.Chance(30)) return;
      Count(FaultKind::kWorkerDrained, worker);
      return timeline_.Chance(50) ? worker->Drain(DrainDeadlineUs())
                                  : AskWorkerToEnd(*worker, false);
    default:
      if (!timeline_.Chance(30)) return;
      Count(FaultKind::kWorkerStopped, worker);
      return AskWorkerToEnd(*worker, true);
  }
}

void Sim::KillWorker(std::size_t place) {
  SimWorker& worker = *places_[place];
  const bool certified = timeline_.Chance(50);
  Count(certified ? FaultKind::kWorkerKilledWithCertificate : FaultKind::kWorkerKilled, &worker);
  worker.Die();
  if (worker.connected()) network_.Break(worker.session());
  places_[place] = nullptr;
  if (certified) ReportDeathLater(worker);
  StartWorkerLater(place, 6'000'000);
}

// It stands still, somebody starts another of its name, and then it wakes.
void Sim::DoubleWorker(std::size_t place) {
  SimWorker& worker = *places_[place];
  Count(FaultKind::kWorkerDoubled, &worker);
  worker.Freeze(timeline_.Between(0, 2 * checkers_.lease_us()));
  if (worker.connected() && timeline_.Chance(50)) network_.Break(worker.session());
  StartWorker(place);
}

void Sim::AskWorkerToEnd(const SimWorker& worker, bool at_once) {
  if (!coordinator_.running()) return;
  const coordinator::Worker* known = coordinator_.state().FindIncarnation(worker.incarnation());
  if (known == nullptr) return;
  const coordinator::RequestId request = clients_.NewRequest();
  if (at_once) return coordinator_.Deliver(coordinator::WorkerStopAsked{request, known->id});
  coordinator_.Deliver(coordinator::WorkerDrainAsked{
      request, known->id, static_cast<std::uint64_t>(DrainDeadlineUs() / 1000)});
}

std::int64_t Sim::DrainDeadlineUs() {
  return timeline_.Chance(50) ? 0 : timeline_.Between(1'000, 3'000'000);
}

}  // namespace haul::sim
