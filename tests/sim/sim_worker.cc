#include "tests/sim/sim_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace haul::sim {

using coordinator::OutcomeHeader;

namespace {

worker::CoreOptions CoreOptionsOf(const SimWorker::Options& options) {
  worker::CoreOptions core;
  core.processes = options.processes;
  core.threads = options.threads;
  core.serves_functions = true;
  // Small, so that they are reached.
  core.owed_byte_limit = 1'500;
  core.message_byte_limit = 600;
  core.uploading_limit = 4;
  core.stop_grace_us = 400'000;
  core.backoff_min_us = 20'000;
  core.backoff_max_us = 300'000;
  return core;
}

coordinator::HandBackReason ToCoordinator(worker::HandBackReason reason) {
  switch (reason) {
    case worker::HandBackReason::kRevoked:
      return coordinator::HandBackReason::kRevoked;
    case worker::HandBackReason::kDirectoryMissing:
      return coordinator::HandBackReason::kDirectoryMissing;
    case worker::HandBackReason::kLeaving:
      return coordinator::HandBackReason::kLeaving;
    case worker::HandBackReason::kExecutorDied:
      return coordinator::HandBackReason::kExecutorDied;
  }
  HAUL_UNREACHABLE("all reasons are above");
}

}  // namespace

SimWorker::SimWorker(Timeline& timeline, Checkers& checkers, const Options& options, Wiring wiring)
    : timeline_(timeline),
      checkers_(checkers),
      options_(options),
      wiring_(std::move(wiring)),
      core_(CoreOptionsOf(options)),
      machine_(timeline, checkers,
               {.process = options.process,
                .worker = options.name,
                .cpus_milli = std::uint64_t{options.processes} * options.threads * 1000,
                .threads = options.threads},
               {.happened =
                    [this](worker::Event event, OutcomeHeader header) {
                      Turn([this, event = std::move(event), header] { Step(event, header); });
                    },
                .traits = wiring_.traits,
                .faults = wiring_.faults,
                .when_awake =
                    [this](const std::function<void(bool)>& work) {
                      if (!frozen()) return work(false);
                      deferred_.push_back([work] { work(true); });
                    },
                .call = wiring_.call}) {
  checkers_.OnProcessStarted(options_.process);
  Turn([this] { Step(worker::Started{}); });
  Beat();
}

std::string SimWorker::incarnation() const {
  return absl::StrCat(options_.name, "-", options_.process.value());
}

Now SimWorker::Clocks() const {
  return {.monotonic_us = 1'000'000 + options_.clock_offset_us + timeline_.now_us(),
          .unix_us = 1'700'000'000'000'000 + timeline_.now_us()};
}

// ---- its loop ----

void SimWorker::Turn(std::function<void()> work) {
  if (!alive_) return;
  if (frozen()) {
    deferred_.push_back(std::move(work));
    return;
  }
  work();
  FinishTurn();
}

void SimWorker::RunDeferred() {
  while (alive_ && !frozen() && !deferred_.empty()) {
    const std::function<void()> work = std::move(deferred_.front());
    deferred_.pop_front();
    work();
    FinishTurn();
  }
}

void SimWorker::Freeze(std::int64_t duration_us) {
  frozen_until_us_ = std::max(frozen_until_us_, timeline_.now_us() + duration_us);
  timeline_.After(frozen_until_us_ - timeline_.now_us(), [this] { RunDeferred(); });
}

void SimWorker::Thaw() {
  frozen_until_us_ = 0;
  RunDeferred();
}

void SimWorker::Step(const worker::Event& event, const OutcomeHeader& header) {
  later_.emplace_back(event, header);
  if (stepping_) return;
  stepping_ = true;
  while (!later_.empty()) {
    const auto [next, its_header] = std::move(later_.front());
    later_.pop_front();
    staged_ = its_header;
    for (const worker::Effect& effect : core_.Step(next, Clocks())) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
    core_.CheckInvariants();
    checkers_.OnOwedBytes(options_.process, core_.state().owed.byte_count());
  }
  stepping_ = false;
}

void SimWorker::FinishTurn() {
  if (!alive_) return;
  attached_ = attached_ || core_.ready_executor_count() == options_.processes;
  PlanDeadline();
  if (leaving_ && !welcome_) return Leave();
  if (!welcome_ || !writable_) return;
  if (!outbox_used_ && !core_.WantsToSend() && !leaving_) return;
  if (core_.HasUnsent()) Step(worker::SendSlotFree{});
  outbox_.goodbye = leaving_;
  outbox_used_ = false;
  writable_ = false;
  wiring_.send(session_, std::exchange(outbox_, {}));
  if (leaving_) return Leave();
  timeline_.After(timeline_.Between(10, 1'000), [this, session = session_] {
    if (session != session_) return;
    writable_ = true;
    Turn([] {});
  });
}

void SimWorker::PlanDeadline() {
  const std::optional<std::int64_t> deadline_us = core_.NextDeadlineUs();
  const std::int64_t due_us = deadline_us.value_or(0);
  if (due_us == planned_deadline_us_) return;
  planned_deadline_us_ = due_us;
  const std::uint64_t plan = ++plan_;
  if (due_us == 0) return;
  timeline_.After(std::max<std::int64_t>(due_us - Clocks().monotonic_us, 1), [this, plan] {
    if (plan != plan_) return;
    planned_deadline_us_ = 0;
    Turn([this] { Step(worker::TimePassed{}); });
  });
}

void SimWorker::Leave() {
  timeline_.Trace("worker leaves", options_.process.value());
  Die();
  wiring_.ended();
}

void SimWorker::Die() {
  alive_ = false;
  machine_.Die();
  checkers_.OnProcessDied(options_.process);
}

void SimWorker::Drain(std::int64_t deadline_us) {
  Turn([this, deadline_us] { Step(worker::DrainRequested{.deadline_us = deadline_us}); });
}

// ---- the connection ----

void SimWorker::Connect(SessionId session) {
  session_ = session;
  welcome_ = false;
  writable_ = true;
  outbox_ = {};
  outbox_used_ = false;
  WorkerMessage message;
  coordinator::WorkerConnected& hello = message.hello.emplace();
  hello.profile.name = options_.name;
  hello.profile.incarnation = incarnation();
  hello.profile.cpus_milli = core_.capacity_milli();
  hello.profile.processes = options_.processes;
  hello.profile.threads = options_.threads;
  hello.profile.functions = {{"f", "u()", "lib"}};
  hello.draining = core_.draining();
  hello.was_member = was_member_;
  for (const worker::HeldLine& line : core_.Held()) {
    hello.held.push_back({.id = line.assignment,
                          .job = line.job,
                          .width = line.width,
                          .ranges = line.tasks,
                          .alone = line.alone,
                          .blocked = line.blocked});
  }
  wiring_.send(session_, std::move(message));
}

void SimWorker::Disconnect() {
  session_ = {};
  Turn([this] {
    welcome_ = false;
    Step(worker::Disconnected{});
  });
}

void SimWorker::Refuse() {
  if (!alive_) return;
  timeline_.Trace("worker is refused", options_.process.value());
  Die();
  wiring_.ended();
}

void SimWorker::Beat() {
  timeline_.After(options_.heartbeat_us, [this] {
    if (!alive_) return;
    if (welcome_ && !frozen()) {
      WorkerMessage message;
      message.heartbeat = true;
      wiring_.send(session_, std::move(message));
    }
    Beat();
  });
}

void SimWorker::Receive(const CoordinatorMessage& message) {
  Turn([this, message, session = session_] {
    if (session != session_) return;  // it waited here while the connection broke
    checkers_.OnHeardCoordinator(options_.process);
    if (message.welcome.has_value()) {
      welcome_ = true;
      was_member_ = true;
      Step(worker::Welcomed{.lease_us = checkers_.lease_us(), .dropped = message.welcome->dropped});
    } else {
      if (!welcome_) {
        checkers_.Violate(absl::StrCat("process ", options_.process.value(),
                                       " is sent something before its welcome"));
      }
      Step(worker::CoordinatorHeard{});
    }
    for (const coordinator::SendAssignment& assignment : message.assignments) Take(assignment);
    for (const coordinator::SendRevoke& revoke : message.revokes) {
      Step(worker::RevokeReceived{revoke.id, revoke.count});
    }
    for (const coordinator::SendCancel& cancel : message.cancels) {
      Step(worker::CancelReceived{cancel.id, cancel.by, cancel.tasks});
    }
    if (message.durable_through > 0) Step(worker::BatchesDurable{message.durable_through});
    if (message.drain.has_value()) {
      Step(worker::DrainRequested{
          .deadline_us = static_cast<std::int64_t>(message.drain->deadline_ms) * 1000});
    }
    if (message.stop) Step(worker::StopRequested{});
    if (message.depart) Step(worker::DepartReceived{});
  });
}

void SimWorker::Take(const coordinator::SendAssignment& assignment) {
  const JobTraits* traits = wiring_.traits(assignment.job);
  HAUL_CHECK(traits != nullptr);
  if (assignment.with_spec) specs_.insert(assignment.job);
  if (!specs_.contains(assignment.job)) {
    // One that drains may have handed back what came before this; as worker/loop, it refuses.
    if (core_.draining()) {
      outbox_.handed_back.push_back({{}, assignment.id, assignment.job, {assignment.tasks}});
      outbox_used_ = true;
      return;
    }
    checkers_.Violate(absl::StrCat("job ", assignment.job.value(), " comes without its spec"));
  }
  jobs_[assignment.id] = assignment.job;
  worker::AssignmentReceived event{
      .assignment = assignment.id,
      .job = assignment.job,
      .tasks = assignment.tasks,
      .width = assignment.width,
      .cpus_milli = traits->spec.cpus_milli,
      .priority = traits->spec.priority,
      .kind = traits->is_function() ? worker::WorkKind::kFunction : worker::WorkKind::kCommand,
      .alone = assignment.alone,
      .at_most_once = traits->spec.at_most_once,
      .own_process = traits->own_process,
      .tasks_per_process = traits->tasks_per_process,
      .depth = traits->spec.depth,
      .charged = {}};
  for (const coordinator::ChargedTask& charged : assignment.charged) {
    event.charged.push_back({charged.task, charged.attempts});
  }
  // A large one comes in several messages.
  if (event.tasks.count > 1 && timeline_.Chance(20)) {
    worker::AssignmentReceived first = event;
    first.tasks.count = event.tasks.count / 2;
    event.tasks = {first.tasks.end(), event.tasks.count - first.tasks.count};
    Step(first);
  }
  Step(event);
}

// ---- what it answers for ----

void SimWorker::Do(const worker::StartRun& effect) { machine_.Do(effect, effect.job); }

void SimWorker::Do(const worker::WithdrawCommands& effect) {
  later_.emplace_front(
      worker::CommandsWithdrawn{effect.assignment, machine_.Withdraw(effect.assignment)},
      OutcomeHeader{});
}

// It stops, as it was told or since it was to be drained by now: what runs and is not handed over
// runs again elsewhere.
void SimWorker::Do(const worker::KillCommands& effect) {
  checkers_.OnProcessStops(options_.process);
  machine_.Do(effect);
}

void SimWorker::Do(const worker::ReportBlocked& effect) {
  outbox_.blocked.push_back({session_, effect.assignment, effect.count});
  outbox_used_ = true;
}

void SimWorker::Do(const worker::KeepOutcome& effect) {
  OutcomeHeader header = staged_;
  if (effect.cancelled) {
    header.status = TaskStatus::kCancelled;
    header.cause = Cause::kCancelled;
  }
  unsealed_[effect.assignment].push_back(header);
}

void SimWorker::Do(const worker::UploadOutput& effect) {
  const TaskIndex task = effect.tasks.first;
  Upload& upload = uploads_[{effect.assignment, task}];
  upload = {.number = ++last_upload_, .header = staged_};
  timeline_.After(
      timeline_.Between(500, 50'000),
      [this, id = effect.assignment, task, number = last_upload_] { TryUpload(id, task, number); });
}

void SimWorker::TryUpload(AssignmentId assignment, TaskIndex task, std::uint64_t number) {
  Turn([this, assignment, task, number] {
    const auto it = uploads_.find({assignment, task});
    if (it == uploads_.end() || it->second.number != number) return;  // forgotten
    OutcomeHeader header = it->second.header;
    switch (wiring_.upload(assignment, jobs_.at(assignment), task)) {
      case Uploaded::kTryAgain:
        timeline_.After(timeline_.Between(50'000, 400'000),
                        [this, assignment, task, number] { TryUpload(assignment, task, number); });
        return;
      case Uploaded::kRefused:
        header.status = TaskStatus::kFailed;
        header.cause = Cause::kOutputLimit;
        break;
      case Uploaded::kYes:
        break;
    }
    uploads_.erase(it);
    Step(worker::OutputUploaded{.assignment = assignment,
                                .tasks = header.tasks,
                                .status = header.status,
                                .byte_count = 50},
         header);
  });
}

void SimWorker::Do(const worker::RecordOutcome& effect) {
  unsealed_[effect.assignment].push_back({.tasks = effect.outcome.tasks,
                                          .status = effect.outcome.status,
                                          .cause = effect.outcome.cause,
                                          .busy_ns = effect.outcome.busy_ns,
                                          .culprit = effect.outcome.culprit});
}

void SimWorker::Do(const worker::SealBatch& effect) {
  std::deque<OutcomeHeader>& unsealed = unsealed_.at(effect.assignment);
  HAUL_CHECK(unsealed.size() >= effect.outcome_count);
  coordinator::TasksFinished& batch = batches_[effect.sequence];
  batch.batch_sequence = effect.sequence;
  batch.assignment = effect.assignment;
  batch.job = effect.job;
  const auto end = unsealed.begin() + static_cast<std::ptrdiff_t>(effect.outcome_count);
  batch.outcomes.assign(unsealed.begin(), end);
  unsealed.erase(unsealed.begin(), end);
}

void SimWorker::Do(const worker::SendBatch& effect) {
  outbox_.outcomes.push_back(batches_.at(effect.sequence));
  outbox_.outcomes.back().session = session_;
  outbox_used_ = true;
  said_.push_back(outbox_.outcomes.back());
}

void SimWorker::Repeat() {
  Turn([this] {
    if (said_.empty() || !welcome_) return;
    coordinator::TasksFinished again =
        timeline_.Chance(50) ? said_.back() : said_[timeline_.Below(said_.size())];
    again.session = session_;
    WorkerMessage message;
    message.outcomes.push_back(std::move(again));
    wiring_.send(session_, std::move(message));
  });
}

void SimWorker::Do(const worker::ForgetBatches& effect) {
  batches_.erase(batches_.begin(), batches_.upper_bound(effect.through));
}

void SimWorker::Do(const worker::VoidBatch& effect) {
  batches_.at(effect.sequence).outcomes.clear();
}

void SimWorker::Do(const worker::SendHandedBack& effect) {
  outbox_.handed_back.push_back(
      {session_, effect.assignment, effect.job, effect.tasks, ToCoordinator(effect.reason)});
  outbox_used_ = true;
}

void SimWorker::Do(const worker::ForgetAssignment& effect) {
  unsealed_.erase(effect.assignment);
  std::erase_if(uploads_,
                [&](const auto& entry) { return entry.first.first == effect.assignment; });
  jobs_.erase(effect.assignment);
  // worker/loop keeps the last few jobs that it knew; here none, so that a missing spec shows.
  for (const auto& [id, job] : jobs_) {
    if (job == effect.job) return;
  }
  specs_.erase(effect.job);
}

void SimWorker::Do(const worker::SayDraining&) {
  outbox_.draining = true;
  outbox_used_ = true;
}

void SimWorker::Do(const worker::Leave&) { leaving_ = true; }

}  // namespace haul::sim
