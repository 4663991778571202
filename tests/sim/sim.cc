#include "tests/sim/sim.h"

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace haul::sim {

using coordinator::Event;
using coordinator::JobSpec;

namespace {

constexpr std::int64_t kLeaseUs = 3'000'000;
constexpr std::int64_t kFaultsUs = 20'000'000;
constexpr std::int64_t kLongestUs = 900'000'000;
constexpr std::uint64_t kCpusMilli[] = {4000, 2000, 1000, 3000};

// An invariant of the core that breaks ends the process; then the seed is what matters.
std::uint64_t seed_that_runs = 0;
extern "C" void SayWhichSeed(int) {
  std::fprintf(stderr, "haul_sim: it was seed %llu\n",
               static_cast<unsigned long long>(seed_that_runs));
}

// The assignment that a message is about, or the batch that is durable; for the trace.
std::uint64_t AboutOf(const coordinator::Effect& effect) {
  return std::visit(
      [](const auto& what) -> std::uint64_t {
        if constexpr (requires { what.id; }) {
          return what.id.value();
        } else if constexpr (requires { what.through; }) {
          return what.through;
        } else {
          return 0;
        }
      },
      effect.what);
}
std::uint64_t AboutOf(const Event& event) {
  return std::visit(
      [](const auto& what) -> std::uint64_t {
        if constexpr (requires { what.assignment; }) {
          return what.assignment.value();
        } else {
          return 0;
        }
      },
      event);
}

}  // namespace

Figures& Figures::operator+=(const Figures& other) {
  steps += other.steps;
  core_steps += other.core_steps;
  jobs += other.jobs;
  starts += other.starts;
  repeated_starts += other.repeated_starts;
  coordinator_kills += other.coordinator_kills;
  kills_while_adopting += other.kills_while_adopting;
  worker_deaths += other.worker_deaths;
  broken_connections += other.broken_connections;
  adopted += other.adopted;
  simulated_us += other.simulated_us;
  return *this;
}

std::ostream& operator<<(std::ostream& out, const Figures& figures) {
  return out << figures.steps << " steps, " << figures.core_steps << " of the core, "
             << figures.simulated_us / 1'000'000 << " s simulated; " << figures.jobs << " jobs, "
             << figures.starts << " starts (" << figures.repeated_starts << " repeated); "
             << figures.coordinator_kills << " coordinators killed ("
             << figures.kills_while_adopting << " while adopting), " << figures.worker_deaths
             << " workers died, " << figures.broken_connections << " connections broke, "
             << figures.adopted << " assignments adopted";
}

Result RunSeed(std::uint64_t seed, PlantedBug bug, std::ostream* trace) {
  seed_that_runs = seed;
  const auto before = std::signal(SIGABRT, SayWhichSeed);
  Result result = Sim(seed, bug, trace).Run();
  std::signal(SIGABRT, before);
  return result;
}

Sim::Sim(std::uint64_t seed, PlantedBug bug, std::ostream* trace)
    : timeline_(seed, trace),
      bug_(bug),
      checkers_(timeline_, kLeaseUs),
      store_(
          timeline_, [this](const coordinator::DurableRecord& record) { OnDisk(record); },
          [this](coordinator::RecordSequence through) { OnCommit(through); }) {}

Result Sim::Run() {
  StartCoordinator();
  const std::size_t workers = 2 + timeline_.Below(3);
  places_.resize(workers);
  for (std::size_t place = 0; place < workers; ++place) StartWorker(place);
  const std::size_t jobs = 4 + timeline_.Below(8);
  for (std::size_t number = 0; number < jobs; ++number) AddSubmission(number);
  timeline_.After(timeline_.Between(0, 1'000'000), [this] { Fault(); });
  while (timeline_.now_us() < kFaultsUs && checkers_.violations().empty() && timeline_.RunNext()) {
  }

  faults_ = false;
  timeline_.Trace("no more faults");
  silent_until_us_.clear();
  for (std::size_t place = 0; place < workers; ++place) {
    if (places_[place] == nullptr) StartWorker(place);
  }
  while (!AllEnded() && timeline_.now_us() < kLongestUs && checkers_.violations().empty() &&
         timeline_.RunNext()) {
  }
  if (checkers_.violations().empty()) {
    if (!AllEnded()) checkers_.Violate("not everything ended");
    if (running()) checkers_.OnFinished(core_->state());
  }
  figures_.steps = timeline_.steps();
  figures_.starts = checkers_.starts();
  figures_.repeated_starts = checkers_.repeated_starts();
  figures_.simulated_us = static_cast<std::uint64_t>(timeline_.now_us());
  return {checkers_.violations(), timeline_.hash(), figures_};
}

bool Sim::AllEnded() const {
  if (!running() || !waiting_.empty() || core_->state().adopting()) return false;
  for (const Submission& submission : submissions_) {
    if (submission.job.is_none() || (submission.cancel && !submission.cancelled)) return false;
  }
  return core_->state().active_jobs() == 0 && committed_ == core_->last_sequence();
}

// ---- workers and their connections ----

void Sim::StartWorker(std::size_t place) {
  const ProcessId process(workers_.size() + 1);
  ModelWorker::Options options{.process = process,
                               .name = absl::StrCat("w", place),
                               .cpus_milli = kCpusMilli[place],
                               .lease_us = kLeaseUs,
                               .bug = bug_};
  const std::size_t index = workers_.size();
  ModelWorker::Wiring wiring{
      .send = [this, index](Event event) { SendUp(workers_[index]->session(), std::move(event)); },
      .traits =
          [this](JobId job) {
            const auto it = traits_.find(job);
            return it == traits_.end() ? nullptr : &it->second;
          },
      .left =
          [this, index, place] {
            timeline_.Trace("worker left", workers_[index]->process().value());
            places_[place] = nullptr;
            timeline_.After(timeline_.Between(0, 2'000'000), [this, place] {
              if (places_[place] == nullptr) StartWorker(place);
            });
          }};
  workers_.push_back(
      std::make_unique<ModelWorker>(timeline_, checkers_, std::move(options), std::move(wiring)));
  places_[place] = workers_.back().get();
  timeline_.Trace("worker starts", process.value(), place);
  ConnectLater(*workers_.back(), 100'000);
  Beat(*workers_.back());
}

void Sim::ConnectLater(ModelWorker& worker, std::int64_t max_us) {
  timeline_.After(timeline_.Between(0, max_us), [this, &worker] {
    if (!worker.alive() || worker.connected()) return;
    if (running()) return Connect(worker);
    ConnectLater(worker, 300'000);
  });
}

void Sim::Connect(ModelWorker& worker) {
  const SessionId session(++last_session_);
  connections_[session] = {.worker = &worker, .last_up_us = 0, .last_down_us = 0};
  timeline_.Trace("connect", worker.process().value(), session.value());
  worker.Connect(session);
}

void Sim::SendUp(SessionId session, Event event) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  std::int64_t& last = it->second.last_up_us;
  last = std::max(last, timeline_.now_us() + timeline_.Between(50, 5'000));
  timeline_.After(last - timeline_.now_us(), [this, session, event = std::move(event)] {
    const Connection& connection = connections_.at(session);
    if (connection.broken || !running()) return;
    checkers_.OnHeard(connection.worker->process());
    timeline_.Trace("worker says", connection.worker->process().value(), event.index(),
                    AboutOf(event));
    const bool is_heartbeat = std::holds_alternative<coordinator::WorkerSpoke>(event);
    // Whatever it says, it lives.
    if (!is_heartbeat) Deliver(coordinator::WorkerSpoke{session});
    Deliver(event);
    if (is_heartbeat) SendDown(session, std::nullopt);
  });
}

void Sim::SendDown(SessionId session, std::optional<coordinator::Effect> message) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  std::int64_t& last = it->second.last_down_us;
  last = std::max(last, timeline_.now_us() + timeline_.Between(50, 5'000));
  timeline_.After(last - timeline_.now_us(), [this, session, message = std::move(message)] {
    const Connection& connection = connections_.at(session);
    if (connection.broken || !connection.worker->alive()) return;
    timeline_.Trace("worker hears", connection.worker->process().value(),
                    message ? message->what.index() : 99, message ? AboutOf(*message) : 0);
    if (message) {
      connection.worker->Receive(*message);
    } else {
      connection.worker->HeartbeatReceived();
    }
  });
}

// What is in it is lost. Each side notices in its own time.
void Sim::Break(SessionId session) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  it->second.broken = true;
  ++figures_.broken_connections;
  ModelWorker& worker = *it->second.worker;
  timeline_.Trace("connection breaks", session.value(), worker.process().value());
  timeline_.After(timeline_.Between(0, 100'000), [this, session, &worker] {
    if (worker.session() != session) return;
    worker.Disconnect();
    ConnectLater(worker, faults_ && timeline_.Chance(15) ? 2 * kLeaseUs : 500'000);
  });
  const std::int64_t seen_us =
      timeline_.Chance(20) ? timeline_.Between(0, 2 * kLeaseUs) : timeline_.Between(0, 200'000);
  timeline_.After(seen_us, [this, session, generation = generation_] {
    if (generation == generation_) Deliver(coordinator::SessionClosed{session});
  });
}

void Sim::Beat(ModelWorker& worker) {
  if (!worker.alive()) return;
  const auto silent = silent_until_us_.find(worker.process());
  if (silent == silent_until_us_.end() || timeline_.now_us() >= silent->second) worker.Beat();
  timeline_.After(kLeaseUs / 4, [this, &worker] { Beat(worker); });
}

void Sim::KillWorker(std::size_t place) {
  ModelWorker& worker = *places_[place];
  timeline_.Trace("worker dies", worker.process().value());
  ++figures_.worker_deaths;
  worker.Die();
  if (worker.connected()) Break(worker.session());
  places_[place] = nullptr;
  if (timeline_.Chance(50)) {
    timeline_.After(timeline_.Between(1'000, 1'000'000),
                    [this, incarnation = worker.incarnation()] {
                      Deliver(coordinator::WorkerDeathReported{incarnation, "killed"});
                    });
  }
  timeline_.After(timeline_.Between(0, 6'000'000), [this, place] {
    if (places_[place] == nullptr) StartWorker(place);
  });
}

// ---- clients ----

void Sim::AddSubmission(std::size_t number) {
  Submission submission;
  JobTraits& traits = submission.traits;
  JobSpec& spec = traits.spec;
  spec.name = absl::StrCat(number);
  spec.request_id = absl::StrCat("request-", number);
  const bool has_long_tasks = timeline_.Chance(40);
  spec.task_count = 1 + timeline_.Below(has_long_tasks ? 12 : 80);
  traits.min_us = has_long_tasks ? 100'000 : 500;
  traits.max_us = traits.min_us * (1 + static_cast<std::int64_t>(timeline_.Below(20)));
  spec.priority = static_cast<std::int32_t>(timeline_.Below(3));
  constexpr std::uint32_t kCpus[] = {1000, 1000, 1000, 250, 333, 1500, 2000, 4000};
  spec.cpus_milli = kCpus[timeline_.Below(8)];
  if (timeline_.Chance(30)) spec.max_running = 1 + static_cast<std::uint32_t>(timeline_.Below(3));
  if (timeline_.Chance(40)) spec.max_attempts = 2 + static_cast<std::uint32_t>(timeline_.Below(3));
  spec.is_volatile = timeline_.Chance(15);
  traits.fail_percent = timeline_.Chance(30) ? timeline_.Below(60) : 0;
  traits.crash_percent = timeline_.Chance(20) ? timeline_.Below(30) : 0;
  if (timeline_.Chance(15)) traits.not_at = "w1";  // "w0" could run anything
  submission.cancel = timeline_.Chance(15);
  submission.forget = timeline_.Chance(15);
  submissions_.push_back(std::move(submission));
  timeline_.After(timeline_.Between(0, kFaultsUs * 3 / 4), [this, number] { TrySubmit(number); });
}

void Sim::Ask(std::size_t number, Asked::What what) {
  Submission& submission = submissions_[number];
  const coordinator::RequestId request(++last_request_);
  asked_[request] = {what, number};
  switch (what) {
    case Asked::What::kSubmit:
      return Deliver(coordinator::JobSubmitted{request, submission.traits.spec});
    case Asked::What::kCancel:
      checkers_.OnCancelAsked(submission.job);
      return Deliver(coordinator::JobCancelAsked{request, submission.job, "client"});
    case Asked::What::kForget:
      return Deliver(coordinator::JobForgetAsked{request, submission.job});
  }
}

// Until it is answered, and now and then once more.
void Sim::TrySubmit(std::size_t number) {
  Submission& submission = submissions_[number];
  if (!submission.job.is_none() && !timeline_.Chance(20)) return TryFollowUps(number);
  if (running()) Ask(number, Asked::What::kSubmit);
  timeline_.After(timeline_.Between(100'000, 2'000'000), [this, number] { TrySubmit(number); });
}

void Sim::TryFollowUps(std::size_t number) {
  Submission& submission = submissions_[number];
  const coordinator::Job* job = running() ? core_->state().FindJob(submission.job) : nullptr;
  if (running() && submission.cancel && !submission.cancelled) {
    Ask(number, Asked::What::kCancel);
  } else if (job != nullptr && job->is_ended() && submission.forget && !submission.forgotten) {
    Ask(number, Asked::What::kForget);
  } else if (submission.forgotten || (job != nullptr && job->is_ended() && !submission.forget)) {
    return;
  }
  timeline_.After(timeline_.Between(100'000, 3'000'000), [this, number] { TryFollowUps(number); });
}

// ---- faults ----

void Sim::Fault() {
  if (!faults_) return;
  timeline_.After(timeline_.Between(0, 1'500'000), [this] { Fault(); });
  switch (timeline_.Below(12)) {
    case 0:
      if (running() && timeline_.Chance(60)) KillCoordinator();
      return;
    case 1:
      if (!running()) return;
      timeline_.Trace("coordinator stands still");
      stands_still_until_us_ = std::max(
          stands_still_until_us_, timeline_.now_us() + timeline_.Between(1'000, 2 * kLeaseUs));
      return;
    case 2:
      wall_clock_offset_us_ += timeline_.Between(-3'600'000'000, 3'600'000'000);
      return;
    default:
      return WorkerFault();
  }
}

void Sim::WorkerFault() {
  const std::size_t place = timeline_.Below(places_.size());
  ModelWorker* worker = places_[place];
  if (worker == nullptr) return;
  const auto member = std::find_if(members_.begin(), members_.end(), [&](const auto& entry) {
    return entry.second == worker->process();
  });
  switch (timeline_.Below(9)) {
    case 0:
    case 1:
      return KillWorker(place);
    case 2:
    case 3:
    case 4:
      if (worker->connected()) Break(worker->session());
      return;
    case 5:
      timeline_.Trace("worker falls silent", worker->process().value());
      silent_until_us_[worker->process()] = timeline_.now_us() + timeline_.Between(0, 3 * kLeaseUs);
      return;
    case 6:
      return worker->Repeat();
    case 7:
      if (timeline_.Chance(30)) worker->StartDraining();
      return;
    default:
      if (member == members_.end() || !running()) return;
      timeline_.Trace("worker is to end", worker->process().value());
      const coordinator::RequestId request(++last_request_);
      if (timeline_.Chance(50))
        return Deliver(coordinator::WorkerStopAsked{request, member->first});
      return Deliver(coordinator::WorkerDrainAsked{request, member->first});
  }
}

}  // namespace haul::sim
