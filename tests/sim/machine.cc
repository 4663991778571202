#include "tests/sim/machine.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace haul::sim {

using coordinator::OutcomeHeader;
using worker::ExecutorId;

namespace {

// What an outcome weighs in the bounds of what is owed.
constexpr std::size_t kOutcomeBytes = 50;

}  // namespace

Machine::Machine(Timeline& timeline, Checkers& checkers, Options options, Wiring wiring)
    : timeline_(timeline),
      checkers_(checkers),
      options_(std::move(options)),
      wiring_(std::move(wiring)) {}

// ---- tasks of either kind ----

Machine::Task Machine::Start(const TaskKey& key, JobId job) {
  const JobTraits& traits = *wiring_.traits(job);
  // A function that asks for more than its executor has gets the whole executor.
  const std::uint64_t most =
      traits.is_function() ? std::uint64_t{options_.threads} * 1000 : options_.cpus_milli;
  const Task task{.job = job,
                  .start = ++last_start_,
                  .cpus_milli = std::min<std::uint64_t>(traits.spec.cpus_milli, most)};
  timeline_.Trace("start", job.value(), key.second, options_.process.value());
  checkers_.OnStart(job, key.second, options_.process, key.first);
  Use(task.cpus_milli);
  return task;
}

void Machine::Use(std::uint64_t cpus_milli) {
  running_milli_ += cpus_milli;
  if (running_milli_ > options_.cpus_milli + excused_milli_) {
    checkers_.Violate(absl::StrCat("process ", options_.process.value(), " runs ", running_milli_,
                                   " of ", options_.cpus_milli, " thousandths of a cpu"));
  }
}

void Machine::Stopped(const TaskKey& key, const Task& task, TaskStatus status) {
  if (task.blocked) {
    excused_milli_ += task.cpus_milli;
    excused_us_ = timeline_.now_us();
  } else {
    running_milli_ -= task.cpus_milli;
    // The worker may not have read of it yet.
    const bool was_read = timeline_.now_us() > excused_us_ + 10'000;
    if (running_milli_ <= options_.cpus_milli && was_read) excused_milli_ = 0;
  }
  checkers_.OnEnd(task.job, key.second, options_.process, key.first, wiring_.traits(task.job)->spec,
                  status);
}

std::int64_t Machine::Duration(const JobTraits& traits, bool* times_out) {
  const std::int64_t duration_us = timeline_.Between(traits.min_us, traits.max_us);
  *times_out = traits.timeout_us > 0 && duration_us > traits.timeout_us;
  return *times_out ? traits.timeout_us : duration_us;
}

std::uint64_t Machine::running() const {
  std::uint64_t count = commands_.size();
  for (const auto& [id, executor] : executors_) count += executor.running.size();
  return count;
}

void Machine::Die() {
  alive_ = false;
  commands_.clear();
  places_.clear();
  executors_.clear();
}

// ---- commands ----

void Machine::Do(const worker::StartCommand& effect) {
  checkers_.OnGiven(effect.job, effect.task, options_.process);
  const TaskKey key{effect.assignment, effect.task};
  if (effect.ahead) {
    StartAhead(effect.assignment, places_[effect.assignment].Add({effect.task, effect.job}));
  } else {
    StartCommandNow(key, effect.job);
  }
}

void Machine::StartCommandNow(const TaskKey& key, JobId job) {
  const JobTraits& traits = *wiring_.traits(job);
  HAUL_CHECK(!commands_.contains(key));
  if (traits.not_at == options_.worker) {
    commands_[key] = {.job = job, .start = ++last_start_};
    timeline_.After(timeline_.Between(0, 3'000), [this, key, start = last_start_] {
      const auto it = commands_.find(key);
      if (!alive_ || it == commands_.end() || it->second.start != start) return;
      commands_.erase(it);
      wiring_.when_awake([this, key](bool) {
        worker::Places<CommandAhead>& places = places_[key.first];
        StartAhead(key.first, places.OnEnd());
        places.OnEndTold();
        wiring_.happened(worker::DirectoryMissing{key.first, key.second, "no such directory"}, {});
      });
    });
    return;
  }
  const Task& task = commands_[key] = Start(key, job);
  bool times_out = false;
  const std::int64_t duration_us = Duration(traits, &times_out);
  const bool fails = times_out || timeline_.Chance(traits.fail_percent);
  timeline_.After(duration_us, [this, key, start = task.start, fails, times_out] {
    CommandEnds(key, start, fails ? TaskStatus::kFailed : TaskStatus::kSucceeded,
                times_out ? Cause::kTimeout : Cause::kExitCode);
  });
}

// The worker's launcher sees it, and passes the place on; its loop may look for that later.
void Machine::CommandEnds(const TaskKey& key, std::uint64_t start, TaskStatus status, Cause cause) {
  const auto it = commands_.find(key);
  if (!alive_ || it == commands_.end() || it->second.start != start) return;
  const Task task = it->second;
  const JobTraits& traits = *wiring_.traits(task.job);
  commands_.erase(it);
  Stopped(key, task, status);
  Report report;
  report.header = {.tasks = {key.second, 1},
                   .status = status,
                   .cause = status == TaskStatus::kSucceeded ? Cause::kNone : cause,
                   .busy_ns = static_cast<std::uint64_t>(traits.min_us + traits.max_us) * 500};
  report.event = worker::OutcomeArrived{.assignment = key.first,
                                        .tasks = report.header.tasks,
                                        .status = status,
                                        .byte_count = kOutcomeBytes,
                                        .output_pending = timeline_.Chance(traits.large_percent)};
  wiring_.when_awake([this, key, report = std::move(report)](bool was_frozen) {
    const std::optional<CommandAhead> next = places_[key.first].OnEnd();
    if (next && !was_frozen) checkers_.OnGiven(next->job, next->task, options_.process);
    const bool passed_on = StartAhead(key.first, next);
    CommandReported(report, passed_on ? timeline_.Between(0, 5'000) : timeline_.Between(0, 50));
  });
}

bool Machine::StartAhead(AssignmentId assignment, const std::optional<CommandAhead>& one) {
  if (one) StartCommandNow({assignment, one->task}, one->job);
  return one.has_value();
}

// In the order in which they ended.
void Machine::CommandReported(Report report, std::int64_t delay_us) {
  command_reports_.push_back(std::move(report));
  last_command_report_us_ = std::max(last_command_report_us_, timeline_.now_us() + delay_us);
  timeline_.After(last_command_report_us_ - timeline_.now_us(),
                  [this] { wiring_.when_awake([this](bool) { TellOfCommand(); }); });
}

void Machine::TellOfCommand() {
  if (!alive_ || command_reports_.empty()) return;  // or the commands were killed meanwhile
  const Report next = std::move(command_reports_.front());
  command_reports_.pop_front();
  places_[std::get<worker::OutcomeArrived>(next.event).assignment].OnEndTold();
  wiring_.happened(next.event, next.header);
}

void Machine::Do(const worker::AdvanceCommands& effect) {
  StartAhead(effect.assignment, places_[effect.assignment].Advance());
}

std::vector<TaskIndex> Machine::Withdraw(AssignmentId assignment) {
  std::vector<TaskIndex> tasks;
  for (const CommandAhead& one : places_[assignment].Withdraw()) tasks.push_back(one.task);
  return tasks;
}

// SIGTERM: most end soon, and some had ended anyway.
void Machine::Do(const worker::StopCommand& effect) {
  const TaskKey key{effect.assignment, effect.task};
  const auto it = commands_.find(key);
  if (it == commands_.end() || wiring_.traits(it->second.job)->not_at == options_.worker) return;
  timeline_.After(timeline_.Between(0, 100'000), [this, key, start = it->second.start] {
    CommandEnds(key, start, TaskStatus::kCancelled, Cause::kCancelled);
  });
}

void Machine::Do(const worker::KillCommands&) {
  for (const auto& [key, task] : commands_) {
    if (task.cpus_milli > 0) Stopped(key, task, TaskStatus::kCancelled);
  }
  commands_.clear();
  places_.clear();
  command_reports_.clear();
}

// ---- executors ----

Machine::Executor* Machine::Find(ExecutorId id) {
  const auto it = executors_.find(id);
  return it == executors_.end() ? nullptr : &it->second;
}

void Machine::Do(const worker::StartExecutor& effect) {
  executors_[effect.executor];
  timeline_.After(timeline_.Between(2'000, 50'000), [this, id = effect.executor] {
    Executor* executor = Find(id);
    if (executor == nullptr || executor->ending) return;
    if (wiring_.faults() && timeline_.Chance(3)) return Died(id, nullptr);
    executor->ready = true;
    wiring_.happened(worker::ExecutorReady{id}, {});
  });
}

void Machine::Do(const worker::EndExecutor& effect) {
  Executor* executor = Find(effect.executor);
  if (executor == nullptr) return;  // dead, which the worker is about to read
  // SIGKILL: nothing runs any more, though the worker reads of it later.
  executor->ending = true;
  for (const auto& [key, task] : executor->running) Stopped(key, task, TaskStatus::kCrashed);
  timeline_.After(timeline_.Between(0, 20'000), [this, id = effect.executor] {
    if (Find(id) != nullptr) Died(id, nullptr);
  });
}

void Machine::Do(const worker::StartRun& effect, JobId job) {
  Executor* executor = Find(effect.executor);
  if (executor == nullptr) return;
  HAUL_CHECK(executor->ready);
  executor->jobs[effect.assignment] = job;
  executor->width[effect.assignment] = effect.width;
  const std::uint64_t added = executor->waiting[effect.assignment].Add(effect.tasks);
  HAUL_CHECK(added == effect.tasks.count);
  if (added > 0) checkers_.OnGiven(job, effect.tasks.first, options_.process);
  Fill(effect.executor, *executor);
}

void Machine::Do(const worker::ReclaimRun& effect) {
  Executor* executor = Find(effect.executor);
  if (executor == nullptr) return;
  IntervalSet& waiting = executor->waiting[effect.assignment];
  const TaskRange last = waiting.Last(effect.count);
  waiting.Remove(last);
  AddReport(effect.executor, *executor,
            {worker::TasksReclaimed{effect.executor, effect.assignment, last}, {}});
}

void Machine::Do(const worker::StopRun& effect) {
  Stop(effect.executor, effect.assignment, {0, ~std::uint64_t{0}});
}

void Machine::Do(const worker::StopTasks& effect) {
  Stop(effect.executor, effect.assignment, effect.tasks);
}

void Machine::Stop(ExecutorId id, AssignmentId assignment, TaskRange tasks) {
  Executor* executor = Find(id);
  if (executor == nullptr) return;
  IntervalSet& waiting = executor->waiting[assignment];
  const IntervalSet taken = waiting.Intersection(tasks);
  waiting.Remove(taken);
  for (const TaskRange& range : taken.ranges()) {
    AddReport(id, *executor, {worker::TasksReclaimed{id, assignment, range}, {}});
  }
  for (auto& [key, task] : executor->running) {
    if (key.first != assignment || key.second < tasks.first || key.second >= tasks.end()) continue;
    if (!task.blocked && timeline_.Chance(30)) continue;  // some do not listen
    task.stop_asked = true;
    timeline_.After(timeline_.Between(0, 100'000),
                    [this, id, key = key, start = task.start] { FunctionEnds(id, key, start); });
  }
}

// Its threads take what waits, as far as the widths go.
void Machine::Fill(ExecutorId id, Executor& executor) {
  if (executor.ending) return;
  for (auto& [assignment, waiting] : executor.waiting) {
    auto running = static_cast<std::uint32_t>(
        std::count_if(executor.running.begin(), executor.running.end(),
                      [a = assignment](const auto& entry) { return entry.first.first == a; }));
    for (; running < executor.width[assignment] && !waiting.empty(); ++running) {
      const TaskRange next = waiting.First(1);
      waiting.Remove(next);
      const TaskKey key{assignment, next.first};
      const JobId job = executor.jobs.at(assignment);
      const Task task = executor.running[key] = Start(key, job);
      ++executor.started;
      CheckIsolation(executor, key, *wiring_.traits(job));
      bool times_out = false;
      std::int64_t duration_us = Duration(*wiring_.traits(job), &times_out);
      if (timeline_.Chance(wiring_.traits(job)->call_percent)) {
        const std::int64_t first_us = timeline_.Between(0, duration_us);
        executor.running[key].rest_us = duration_us - first_us;
        timeline_.After(first_us,
                        [this, id, key, start = task.start] { FunctionCalls(id, key, start); });
        continue;
      }
      timeline_.After(duration_us, [this, id, key, start = task.start, times_out] {
        times_out ? FunctionTimesOut(id, key, start) : FunctionEnds(id, key, start);
      });
    }
  }
}

// Who wants a process of its own has it, and leaves none that has run too many.
void Machine::CheckIsolation(const Executor& executor, const TaskKey& started,
                             const JobTraits& traits) {
  if (traits.tasks_per_process > 0 && executor.started > traits.tasks_per_process) {
    checkers_.OnProcessShared(executor.jobs.at(started.first), started.second, executor.started);
  }
  if (executor.running.size() <= 1) return;
  for (const auto& [key, task] : executor.running) {
    if (!wiring_.traits(task.job)->own_process) continue;
    checkers_.OnProcessShared(task.job, key.second, executor.running.size());
  }
}

Machine::Task* Machine::FindRunning(ExecutorId id, const TaskKey& key, std::uint64_t start) {
  Executor* executor = Find(id);
  if (executor == nullptr || executor->ending) return nullptr;
  const auto it = executor->running.find(key);
  return it == executor->running.end() || it->second.start != start ? nullptr : &it->second;
}

// It submits a job, and waits for that.
void Machine::FunctionCalls(ExecutorId id, const TaskKey& key, std::uint64_t start) {
  Task* task = FindRunning(id, key, start);
  if (task == nullptr || task->stop_asked) return;
  running_milli_ -= task->cpus_milli;
  task->blocked = true;
  AddReport(id, *Find(id), {worker::TaskBlocked{id, key.first, key.second}, {}});
  wiring_.call({key.first, task->job, key.second},
               [this, id, key, start] { FunctionIsAnswered(id, key, start); });
}

void Machine::FunctionIsAnswered(ExecutorId id, const TaskKey& key, std::uint64_t start) {
  const Task* task = FindRunning(id, key, start);
  if (task == nullptr || task->stop_asked) return;
  AddReport(id, *Find(id), {worker::ResumeAsked{id, key.first, key.second}, {}});
}

void Machine::Do(const worker::ResumeTask& effect) {
  Executor* executor = Find(effect.executor);
  if (executor == nullptr || executor->ending) return;
  const TaskKey key{effect.assignment, effect.task};
  const auto it = executor->running.find(key);
  if (it == executor->running.end() || !it->second.blocked) return;
  Task& task = it->second;
  if (task.stop_asked) return;  // it is ending
  task.blocked = false;
  Use(task.cpus_milli);
  timeline_.After(task.rest_us, [this, id = effect.executor, key, start = task.start] {
    FunctionEnds(id, key, start);
  });
}

void Machine::FunctionEnds(ExecutorId id, const TaskKey& key, std::uint64_t start) {
  const Task* task = FindRunning(id, key, start);
  if (task == nullptr) return;
  Executor* executor = Find(id);
  const JobTraits& traits = *wiring_.traits(task->job);
  if (task->timed_out) {
    Conclude(id, *executor, key, TaskStatus::kFailed, Cause::kTimeout);
  } else if (task->stop_asked) {
    Conclude(id, *executor, key, TaskStatus::kCancelled, Cause::kCancelled);
  } else if (timeline_.Chance(traits.crash_percent)) {
    return Died(id, &key);
  } else if (timeline_.Chance(traits.fail_percent)) {
    Conclude(id, *executor, key, TaskStatus::kFailed, Cause::kFunctionError);
  } else {
    Conclude(id, *executor, key, TaskStatus::kSucceeded, Cause::kNone);
  }
  Fill(id, *executor);
}

// It is asked to stop; one that does not listen takes its executor with it.
void Machine::FunctionTimesOut(ExecutorId id, const TaskKey& key, std::uint64_t start) {
  Task* task = FindRunning(id, key, start);
  if (task == nullptr) return;
  task->timed_out = true;
  if (timeline_.Chance(50)) return FunctionEnds(id, key, start);
  Died(id, &key);
}

void Machine::Conclude(ExecutorId id, Executor& executor, const TaskKey& key, TaskStatus status,
                       Cause cause) {
  const auto it = executor.running.find(key);
  const Task task = it->second;
  executor.running.erase(it);
  const JobTraits& traits = *wiring_.traits(task.job);
  Stopped(key, task, status);
  Report report;
  report.header = {.tasks = {key.second, 1},
                   .status = status,
                   .cause = cause,
                   .busy_ns = static_cast<std::uint64_t>(traits.min_us + traits.max_us) * 500};
  report.event = worker::OutcomeArrived{.executor = id,
                                        .assignment = key.first,
                                        .tasks = report.header.tasks,
                                        .status = status,
                                        .byte_count = kOutcomeBytes,
                                        .output_pending = timeline_.Chance(traits.large_percent)};
  AddReport(id, executor, std::move(report));
}

void Machine::AddReport(ExecutorId id, Executor& executor, Report report) {
  executor.reports.push_back(std::move(report));
  executor.last_report_us =
      std::max(executor.last_report_us, timeline_.now_us() + timeline_.Between(20, 2'000));
  timeline_.After(executor.last_report_us - timeline_.now_us(), [this, id] {
    Executor* reader = Find(id);
    if (reader == nullptr || reader->reports.empty()) return;
    const Report next = std::move(reader->reports.front());
    reader->reports.pop_front();
    wiring_.happened(next.event, next.header);
  });
}

// What it had written is still read, perhaps not all of it; what ran in it is under suspicion.
void Machine::Died(ExecutorId id, const TaskKey* culprit) {
  auto node = executors_.extract(id);
  Executor& executor = node.mapped();
  const bool culprit_known = culprit != nullptr && timeline_.Chance(50);
  worker::ExecutorDied death{.executor = id, .suspects = {}, .code = 11, .message = {}};
  for (const auto& [key, task] : executor.running) {
    const bool is_culprit = culprit != nullptr && key == *culprit;
    death.suspects.push_back({.assignment = key.first,
                              .task = key.second,
                              .culprit = is_culprit && culprit_known,
                              .timed_out = is_culprit && task.timed_out});
    const bool alone = executor.running.size() == 1;
    const bool own_process = wiring_.traits(task.job)->own_process;
    if ((is_culprit && task.timed_out) || own_process) {
      checkers_.OnOwnFailure(task.job, key.second, options_.process, key.first);
    } else if ((is_culprit && culprit_known) || alone) {
      checkers_.OnCrash(task.job, key.second, options_.process, key.first);
    }
    if (!executor.ending) Stopped(key, task, TaskStatus::kCrashed);
  }
  while (!executor.reports.empty()) {
    Report next = std::move(executor.reports.front());
    executor.reports.pop_front();
    const bool lost = wiring_.faults() && timeline_.Chance(10);
    if (!lost) {
      wiring_.happened(next.event, next.header);
      continue;
    }
    executor.reports.push_front(std::move(next));
    break;
  }
  for (const Report& lost : executor.reports) {
    const auto* outcome = std::get_if<worker::OutcomeArrived>(&lost.event);
    if (outcome == nullptr) continue;
    const JobId job = executor.jobs.at(outcome->assignment);
    const TaskIndex task = outcome->tasks.first;
    if (death.suspects.empty()) {
      checkers_.OnCrash(job, task, options_.process, outcome->assignment);
    }
    checkers_.OnOutcomeLost(job, task, options_.process, outcome->assignment);
  }
  timeline_.Trace("executor dies", options_.process.value(), id.value(), death.suspects.size());
  wiring_.happened(death, {});
}

void Machine::KillAnExecutor() {
  const auto it = std::next(executors_.begin(),
                            static_cast<std::ptrdiff_t>(timeline_.Below(executors_.size())));
  Died(it->first, nullptr);
}

}  // namespace haul::sim
