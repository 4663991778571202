#include "tests/sim/model_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace haul::sim {

using coordinator::HandBackReason;
using coordinator::OutcomeHeader;

ModelWorker::ModelWorker(Timeline& timeline, Checkers& checkers, Options options, Wiring wiring)
    : timeline_(timeline),
      checkers_(checkers),
      options_(std::move(options)),
      wiring_(std::move(wiring)) {
  checkers_.OnProcessStarted(options_.process);
}

std::string ModelWorker::incarnation() const {
  return absl::StrCat(options_.name, "-", options_.process.value());
}

// ---- the connection ----

void ModelWorker::Connect(SessionId session) {
  session_ = session;
  welcomed_ = false;
  coordinator::WorkerConnected hello{
      .session = session, .draining = draining_, .was_member = was_member_};
  hello.profile.name = options_.name;
  hello.profile.incarnation = incarnation();
  hello.profile.cpus_milli = options_.cpus_milli;
  for (const auto& [id, held] : held_) {
    if (options_.bug == PlantedBug::kForgetfulHello && !held.running.empty()) continue;
    hello.held.push_back({.id = id,
                          .job = held.job,
                          .width = held.width,
                          .ranges = held.held.ranges(),
                          .alone = held.alone});
  }
  wiring_.send(std::move(hello));
}

void ModelWorker::Disconnect() {
  session_ = {};
  welcomed_ = false;
}

void ModelWorker::Receive(const coordinator::Effect& message) {
  HeartbeatReceived();
  if (!welcomed_ && !std::holds_alternative<coordinator::SendWelcome>(message.what)) {
    checkers_.Violate(
        absl::StrCat("process ", process().value(), " is sent something before its welcome"));
  }
  std::visit([this](const auto& what) { On(what); }, message.what);
  StartWhatMay();
  LeaveIfDone();
}

void ModelWorker::Beat() {
  Send(coordinator::WorkerSpoke{session_});
  StartWhatMay();
}

void ModelWorker::Repeat() {
  if (said_.empty() || !welcomed_) return;
  coordinator::TasksFinished again =
      timeline_.Chance(50) ? said_.back() : said_[timeline_.Below(said_.size())];
  again.session = session_;
  Send(again);
}

void ModelWorker::On(const coordinator::SendWelcome& message) {
  welcomed_ = true;
  was_member_ = true;
  for (const AssignmentId id : message.dropped) Drop(id);
  for (coordinator::TasksFinished& batch : owed_) {
    batch.session = session_;
    Send(batch);
  }
  if (draining_) Send(coordinator::WorkerStartedDraining{session_});
}

// ---- what it is told ----

void ModelWorker::On(const coordinator::SendAssignment& message) {
  const JobTraits* traits = wiring_.traits(message.job);
  HAUL_CHECK(traits != nullptr);
  if (message.with_spec) specs_.insert(message.job);
  if (!specs_.contains(message.job)) {
    checkers_.Violate(absl::StrCat("job ", message.job.value(), " comes without its spec"));
  }
  Held& held = held_[message.id];
  held.job = message.job;
  held.width = message.width;
  held.alone = message.alone;
  held.held.Add(message.tasks);
  held.pending.Add(message.tasks);
  if (!message.alone) width_[message.job] = message.width;
  if (stopping_)
    return HandBack(message.id, held, IntervalSet(held.pending), HandBackReason::kLeaving);
  if (traits->not_at == options_.name) {
    HandBack(message.id, held, IntervalSet(held.pending), HandBackReason::kDirectoryMissing);
  }
}

void ModelWorker::On(const coordinator::SendRevoke& message) {
  const auto it = held_.find(message.id);
  if (it == held_.end()) {
    return Send(coordinator::TasksHandedBack{.session = session_, .assignment = message.id});
  }
  Held& held = it->second;
  IntervalSet given;
  while (given.size() < message.count && !held.pending.empty()) {
    const TaskRange last = held.pending.Last(message.count - given.size());
    held.pending.Remove(last);
    given.Add(last);
  }
  HandBack(message.id, held, given, HandBackReason::kRevoked);
}

void ModelWorker::On(const coordinator::SendCancel& message) {
  const auto it = held_.find(message.id);
  if (it == held_.end()) return;
  Held& held = it->second;
  held.cancelled = true;
  for (const TaskRange& range : held.pending.ranges()) {
    held.unreported.push_back(
        {.tasks = range, .status = TaskStatus::kCancelled, .cause = Cause::kCancelled});
  }
  held.pending = {};
  ReportSoon();
  // SIGTERM: most end soon, and some had ended anyway.
  for (const auto& [task, start] : held.running) {
    timeline_.After(timeline_.Between(0, 100'000), [this, id = message.id, task = task,
                                                    start = start] { TaskEnds(id, task, start); });
  }
}

void ModelWorker::On(const coordinator::SendDurable& message) {
  while (!owed_.empty() && owed_.front().batch_sequence <= message.through) {
    const coordinator::TasksFinished batch = std::move(owed_.front());
    owed_.pop_front();
    const auto it = held_.find(batch.assignment);
    if (it == held_.end()) continue;
    for (const OutcomeHeader& outcome : batch.outcomes) it->second.held.Remove(outcome.tasks);
    ForgetIfAnswered(batch.assignment);
  }
}

void ModelWorker::On(const coordinator::SendDrain&) { draining_ = true; }

void ModelWorker::On(const coordinator::SendStop&) {
  draining_ = true;
  stopping_ = true;
  // By its own end: what ran and is not handed over runs again elsewhere.
  checkers_.OnProcessDied(process());
  std::vector<AssignmentId> ids;
  for (const auto& [id, held] : held_) ids.push_back(id);
  for (const AssignmentId id : ids) {
    Held& held = held_.at(id);
    IntervalSet tasks = held.pending;
    while (!held.running.empty()) {
      const TaskIndex task = held.running.begin()->first;
      tasks.Add({task, 1});
      StopTask(id, held, task, TaskStatus::kCancelled);
    }
    if (!tasks.empty()) HandBack(id, held, tasks, HandBackReason::kLeaving);
  }
}

void ModelWorker::On(const coordinator::SendDepart&) { departing_ = true; }

void ModelWorker::StartDraining() {
  draining_ = true;
  Send(coordinator::WorkerStartedDraining{session_});
}

void ModelWorker::LeaveIfDone() {
  if (!alive_ || !welcomed_ || !(departing_ || stopping_) || !held_.empty() || !owed_.empty())
    return;
  Send(coordinator::WorkerSaidGoodbye{session_});
  Die();
  wiring_.left();
}

void ModelWorker::Die() {
  alive_ = false;
  held_.clear();
  checkers_.OnProcessDied(process());
}

// ---- tasks ----

void ModelWorker::StartWhatMay() {
  // Past its lease it starts nothing new: somebody else may have it.
  if (!alive_ || stopping_ || timeline_.now_us() - last_heard_us_ > options_.lease_us) return;
  for (auto& [id, held] : held_) {
    while (!held.pending.empty()) {
      const bool is_full = !held.alone && running_[held.job] >= width_[held.job];
      if (is_full && options_.bug != PlantedBug::kWidthIgnored) break;
      StartTask(id, held, held.pending.First(1).first);
    }
  }
}

void ModelWorker::StartTask(AssignmentId id, Held& held, TaskIndex task) {
  const JobTraits& traits = *wiring_.traits(held.job);
  held.pending.Remove({task, 1});
  const std::uint64_t start = ++last_start_;
  held.running[task] = start;
  if (!held.alone) ++running_[held.job];
  running_milli_ += traits.spec.cpus_milli;
  timeline_.Trace("start", held.job.value(), task, process().value());
  checkers_.OnStart(held.job, task, process(), id);
  if (running_milli_ > options_.cpus_milli) {
    checkers_.Violate(absl::StrCat("process ", process().value(), " runs ", running_milli_, " of ",
                                   options_.cpus_milli, " thousandths of a cpu"));
  }
  timeline_.After(timeline_.Between(traits.min_us, traits.max_us),
                  [this, id, task, start] { TaskEnds(id, task, start); });
}

void ModelWorker::TaskEnds(AssignmentId id, TaskIndex task, std::uint64_t start) {
  const auto it = held_.find(id);
  if (!alive_ || it == held_.end()) return;
  Held& held = it->second;
  const auto running = held.running.find(task);
  if (running == held.running.end() || running->second != start) return;
  const JobTraits& traits = *wiring_.traits(held.job);
  if (held.cancelled && timeline_.Chance(70)) {
    Conclude(id, held, task, TaskStatus::kCancelled, false);
  } else if (timeline_.Chance(traits.crash_percent)) {
    Crash(id, held, task);
  } else {
    const bool fails = timeline_.Chance(traits.fail_percent);
    Conclude(id, held, task, fails ? TaskStatus::kFailed : TaskStatus::kSucceeded, false);
  }
  StartWhatMay();
}

void ModelWorker::Crash(AssignmentId id, Held& held, TaskIndex task) {
  const bool culprit_known = timeline_.Chance(50);
  Conclude(id, held, task, TaskStatus::kCrashed, culprit_known);
  // Its executor takes with it what else ran there.
  while (!held.alone && !held.running.empty()) {
    Conclude(id, held, held.running.begin()->first, TaskStatus::kCrashed, false);
  }
}

void ModelWorker::StopTask(AssignmentId id, Held& held, TaskIndex task, TaskStatus status) {
  const JobTraits& traits = *wiring_.traits(held.job);
  held.running.erase(task);
  if (!held.alone) --running_[held.job];
  running_milli_ -= traits.spec.cpus_milli;
  checkers_.OnEnd(held.job, task, process(), id, traits.spec, status);
}

void ModelWorker::Conclude(AssignmentId id, Held& held, TaskIndex task, TaskStatus status,
                           bool culprit) {
  const JobTraits& traits = *wiring_.traits(held.job);
  StopTask(id, held, task, status);
  const std::uint64_t busy_ns = static_cast<std::uint64_t>(traits.min_us + traits.max_us) * 500;
  std::vector<OutcomeHeader>& all = held.unreported;
  if (!all.empty() && all.back().status == status && all.back().tasks.end() == task &&
      status != TaskStatus::kCrashed) {
    ++all.back().tasks.count;
    all.back().busy_ns += busy_ns;
  } else {
    all.push_back({.tasks = {task, 1}, .status = status, .busy_ns = busy_ns, .culprit = culprit});
  }
  ReportSoon();
}

// ---- what it answers for ----

void ModelWorker::ReportSoon() {
  if (report_planned_) return;
  report_planned_ = true;
  const std::int64_t delay_us =
      timeline_.Chance(10) ? timeline_.Between(0, 500'000) : timeline_.Between(0, 10'000);
  timeline_.After(delay_us, [this] { Report(); });
}

void ModelWorker::Report() {
  report_planned_ = false;
  if (!alive_) return;
  for (auto& [id, held] : held_) {
    if (held.unreported.empty()) continue;
    coordinator::TasksFinished batch{.session = session_,
                                     .batch_sequence = ++last_batch_,
                                     .assignment = id,
                                     .job = held.job,
                                     .outcomes = std::exchange(held.unreported, {})};
    owed_.push_back(batch);
    said_.push_back(batch);
    Send(batch);
  }
}

void ModelWorker::HandBack(AssignmentId id, Held& held, const IntervalSet& tasks,
                           HandBackReason reason) {
  held.pending.Remove(tasks);
  held.held.Remove(tasks);
  if (options_.bug != PlantedBug::kHandBackSwallowed) {
    Send(coordinator::TasksHandedBack{session_, id, held.job, tasks.ranges(), reason});
  }
  ForgetIfAnswered(id);
}

void ModelWorker::Drop(AssignmentId id) {
  const auto it = held_.find(id);
  if (it == held_.end()) return;
  Held& held = it->second;
  while (!held.running.empty()) {
    StopTask(id, held, held.running.begin()->first, TaskStatus::kCancelled);
  }
  for (coordinator::TasksFinished& batch : owed_) {
    if (batch.assignment == id) batch.outcomes.clear();
  }
  held.held = {};
  held.pending = {};
  ForgetIfAnswered(id);
}

void ModelWorker::ForgetIfAnswered(AssignmentId id) {
  const auto it = held_.find(id);
  if (it == held_.end() || !it->second.held.empty()) return;
  const JobId job = it->second.job;
  held_.erase(it);
  for (const auto& [other, held] : held_) {
    if (held.job == job) return;
  }
  specs_.erase(job);
  width_.erase(job);
}

}  // namespace haul::sim
