#include "tests/sim/sim.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace haul::sim {

using coordinator::Event;

namespace {

constexpr std::int64_t kLeaseUs = 3'000'000;
constexpr std::int64_t kFaultsUs = 360'000'000;
constexpr std::int64_t kLongestUs = 1'500'000'000;

struct Size {
  std::uint32_t processes, threads;
};
constexpr Size kSizes[] = {{2, 2}, {1, 2}, {1, 1}, {3, 1}};

// An invariant of a core that breaks ends the process; then the seed is what matters.
thread_local std::uint64_t seed_that_runs = 0;
extern "C" void SayWhichSeed(int) {
  std::fprintf(stderr, "haul_sim: it was seed %llu\n",
               static_cast<unsigned long long>(seed_that_runs));
}

}  // namespace

Result RunSeed(std::uint64_t seed, std::ostream* trace) {
  seed_that_runs = seed;
  std::signal(SIGABRT, SayWhichSeed);
  return Sim(seed, trace).Run();
}

Sim::Sim(std::uint64_t seed, std::ostream* trace)
    : timeline_(seed, trace),
      checkers_(timeline_, kLeaseUs),
      network_(timeline_, checkers_, kLeaseUs,
               {.to_coordinator =
                    [this](SessionId session, const WorkerMessage& message) {
                      coordinator_.Receive(session, message);
                    },
                .coordinator_notices =
                    [this](SessionId session) { coordinator_.SessionClosed(session); },
                .worker_notices =
                    [this](SimWorker& worker) {
                      const bool stays_away = faults_ && timeline_.Chance(15);
                      ConnectLater(worker, stays_away ? 2 * kLeaseUs : 500'000);
                    }}),
      coordinator_(
          timeline_, checkers_, figures_, kLeaseUs,
          {.send =
               [this](SessionId session, CoordinatorMessage message) {
                 network_.SendDown(session, std::move(message));
               },
           .close = [this](SessionId session, bool refused) { network_.Close(session, refused); },
           .answer = [this](const coordinator::Effect& effect) { clients_.OnAnswer(effect); },
           .accepted =
               [this](const coordinator::JobAccepted& record) { clients_.OnAccepted(record); },
           .process_of =
               [this](const std::string& incarnation) {
                 const auto it = std::find_if(
                     workers_.begin(), workers_.end(),
                     [&](const auto& worker) { return worker->incarnation() == incarnation; });
                 return (*it)->process();
               },
           .faults = [this] { return faults_; },
           .died = [this] { OnCoordinatorDied(); }}),
      clients_(timeline_, checkers_,
               {.ask = [this](const Event& event) { coordinator_.Deliver(event); },
                .state = [this]() -> const coordinator::State* {
                  return coordinator_.running() ? &coordinator_.state() : nullptr;
                },
                .faults = [this] { return faults_; }}) {}

Result Sim::Run() {
  coordinator_.Start();
  const std::size_t workers = 2 + timeline_.Below(3);
  places_.resize(workers);
  for (std::size_t place = 0; place < workers; ++place) StartWorker(place);
  const std::size_t jobs = 20 + timeline_.Below(40);
  for (std::size_t number = 0; number < jobs; ++number) clients_.Add(kFaultsUs * 3 / 4);
  PlanFault();
  while (timeline_.now_us() < kFaultsUs && checkers_.violations().empty() && timeline_.RunNext()) {
  }

  faults_ = false;
  timeline_.Trace("no more faults");
  // Nothing that comes now is healed by the next connection.
  for (int number = 0; number < 6; ++number) clients_.Add(2'000'000);
  for (const auto& worker : workers_) {
    if (worker->alive()) worker->Thaw();
  }
  for (std::size_t place = 0; place < workers; ++place) {
    if (places_[place] == nullptr) StartWorker(place);
  }
  while (!AllEnded() && timeline_.now_us() < kLongestUs && checkers_.violations().empty() &&
         timeline_.RunNext()) {
  }
  if (checkers_.violations().empty()) {
    if (!AllEnded()) checkers_.Violate("not everything ended");
    if (coordinator_.running()) {
      checkers_.OnFinished(coordinator_.state());
      coordinator_.CheckReplay();
    }
  }
  figures_.seeds = 1;
  figures_.steps = timeline_.steps();
  figures_.starts = checkers_.starts();
  figures_.repeated_starts = checkers_.repeated_starts();
  figures_.simulated_us = static_cast<std::uint64_t>(timeline_.now_us());
  return {checkers_.violations(), timeline_.hash(), figures_};
}

bool Sim::AllEnded() const { return coordinator_.settled() && clients_.AllSaid(); }

void Sim::OnCoordinatorDied() {
  clients_.OnCoordinatorDied();
  network_.BreakAll();
  const std::int64_t away_us =
      timeline_.Chance(70) ? timeline_.Between(1'000, 1'000'000) : timeline_.Between(0, 8'000'000);
  timeline_.After(faults_ ? away_us : 1'000, [this] {
    coordinator_.Start();
    // Recovery is when another death is worst.
    if (faults_ && timeline_.Chance(25)) KillCoordinatorLater(timeline_.Between(0, 5'000'000));
  });
}

// ---- workers ----

void Sim::StartWorker(std::size_t place) {
  const Size size = kSizes[place];
  const std::size_t index = workers_.size();
  const SimWorker::Options options{.process = ProcessId(index + 1),
                                   .name = absl::StrCat("w", place),
                                   .processes = size.processes,
                                   .threads = size.threads,
                                   .heartbeat_us = kLeaseUs / 5,
                                   .clock_offset_us = timeline_.Between(0, 1'000'000'000)};
  SimWorker::Wiring wiring{
      .send = [this](SessionId session,
                     WorkerMessage message) { network_.SendUp(session, std::move(message)); },
      .traits = [this](JobId job) { return clients_.TraitsOf(job); },
      .upload = [this](AssignmentId assignment, JobId job,
                       TaskIndex task) { return Upload(assignment, job, task); },
      .ended = [this, index, place] { OnWorkerEnded(*workers_[index], place); },
      .faults = [this] { return faults_; },
      .call =
          [this](const coordinator::ParentTask& parent, std::function<void()> answered) {
            clients_.AddChild(parent, std::move(answered));
          }};
  timeline_.Trace("worker starts", options.process.value(), place);
  workers_.push_back(std::make_unique<SimWorker>(timeline_, checkers_, options, std::move(wiring)));
  places_[place] = workers_.back().get();
  ConnectLater(*workers_.back(), 100'000);
}

void Sim::StartWorkerLater(std::size_t place, std::int64_t max_us) {
  timeline_.After(timeline_.Between(0, max_us), [this, place] {
    if (places_[place] == nullptr) StartWorker(place);
  });
}

void Sim::ConnectLater(SimWorker& worker, std::int64_t max_us) {
  timeline_.After(timeline_.Between(0, max_us), [this, &worker] {
    if (!worker.alive() || worker.connected()) return;
    if (coordinator_.running() && worker.attached() && !worker.frozen()) {
      network_.Open(worker);
    } else {
      ConnectLater(worker, 300'000);
    }
  });
}

void Sim::OnWorkerEnded(const SimWorker& worker, std::size_t place) {
  ReportDeathLater(worker);
  if (places_[place] != &worker) return;  // its double has the place
  places_[place] = nullptr;
  StartWorkerLater(place, 2'000'000);
}

void Sim::ReportDeathLater(const SimWorker& worker) {
  timeline_.After(timeline_.Between(1'000, 1'000'000), [this, incarnation = worker.incarnation()] {
    coordinator_.Deliver(coordinator::WorkerDeathReported{incarnation, "killed"});
  });
}

// As coordinator/rpc answers: only for a task of a live assignment, which after a restart it may
// become; and a refusal waits until what it rests on is on the disk.
SimWorker::Uploaded Sim::Upload(AssignmentId id, JobId job, TaskIndex task) {
  if (!coordinator_.running()) return SimWorker::Uploaded::kTryAgain;
  const coordinator::State& state = coordinator_.state();
  const coordinator::Assignment* assignment = state.FindAssignment(id);
  if (assignment != nullptr && assignment->job == job && assignment->tasks.Contains(task)) {
    return SimWorker::Uploaded::kYes;
  }
  // Whatever the answer rests on may never reach the disk.
  if (coordinator_.undecided_records() > 0 && timeline_.Chance(10)) coordinator_.KillSoon();
  const bool may_change = state.adopting() || coordinator_.undecided_records() > 0;
  return may_change ? SimWorker::Uploaded::kTryAgain : SimWorker::Uploaded::kRefused;
}

}  // namespace haul::sim
