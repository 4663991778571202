#include "worker/executor/pool.h"

#include <unistd.h>

#include <algorithm>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/wire/convert.h"

namespace haul::executor {
namespace {

constexpr std::size_t kDrainedLimit = 4096;
// Counts of tasks do not wrap around.
constexpr std::uint64_t kPendingLimit = std::uint64_t{1} << 62;

absl::StatusOr<std::shared_ptr<const Inputs>> InputsOf(v1::Run& run) {
  auto inputs = std::make_shared<Inputs>();
  inputs->first = run.first();
  if (run.has_array()) {
    inputs->is_array = true;
    inputs->array_start = run.array().start();
    inputs->array_step = run.array().step();
    return inputs;
  }
  absl::StatusOr<PackedBytes> packed =
      wire::FromWire(std::move(*run.mutable_inputs()), run.count());
  if (!packed.ok()) return packed.status();
  inputs->packed = *std::move(packed);
  return inputs;
}

}  // namespace

Pool::Pool(const PoolOptions& options, const FunctionTable* functions, Slots* slots, Outbox* outbox)
    : options_(options),
      functions_(*functions),
      slots_(*slots),
      outbox_(*outbox),
      // As many threads remain for what these wait for.
      calls_(outbox, std::max(1u, options.thread_limit / 2)),
      pid_(static_cast<std::uint32_t>(::getpid())) {}

// --- what is to run ---

void Pool::Run(v1::Run run) {
  v1::Run head;  // what a refusal needs, since AddTasks takes the rest
  head.set_assignment_id(run.assignment_id());
  head.set_first(run.first());
  head.set_count(run.count());
  const absl::Status status = AddTasks(std::move(run));
  if (!status.ok() && head.count() > 0) Refuse(head, status);
}

absl::Status Pool::AddTasks(v1::Run run) {
  if (run.count() > std::numeric_limits<std::uint64_t>::max() - run.first()) {
    return absl::InvalidArgumentError("run.count: the range overflows");
  }
  if (run.charged_tasks_size() != run.charged_attempts_size()) {
    return absl::InvalidArgumentError("run.charged_attempts: not one for each of charged_tasks");
  }
  absl::StatusOr<std::shared_ptr<const Inputs>> inputs = InputsOf(run);
  if (!inputs.ok()) return inputs.status();
  const TaskRange tasks{run.first(), run.count()};

  std::uint64_t to_wake = 0;
  const absl::Cleanup wake = [&] { Wake(to_wake); };
  MutexLock lock(&mutex_);
  if (tasks.count > kPendingLimit || live_ > kPendingLimit - tasks.count) {
    return absl::InvalidArgumentError(absl::StrCat("run.count: ", tasks.count, ", and ", live_,
                                                   " wait or run already; the limit is ",
                                                   kPendingLimit));
  }
  absl::StatusOr<std::shared_ptr<Assignment>> known = Know(run);
  if (!known.ok()) return known.status();
  Assignment& assignment = **known;
  if (assignment.stopped.load(std::memory_order_relaxed)) {
    if (tasks.count > 0) outbox_.AddReclaimed(assignment.id, tasks);
    return absl::OkStatus();
  }
  Unlist(assignment);
  assignment.priority = run.priority();
  const bool is_wider = run.width() > assignment.width;
  assignment.width = run.width();
  if (tasks.count > 0) {
    assignment.detail = run.detail();
    constexpr std::uint64_t kTimeoutLimitMs = std::numeric_limits<std::int64_t>::max() / 2'000;
    assignment.timeout_us =
        static_cast<std::int64_t>(std::min(run.timeout_ms(), kTimeoutLimitMs)) * 1000;
    for (int i = 0; i < run.charged_tasks_size(); ++i) {
      if (run.charged_attempts(i) > 0)
        assignment.attempts[run.charged_tasks(i)] = run.charged_attempts(i) + 1;
    }
    AddPending(assignment, {tasks, *std::move(inputs)}, /*at_front=*/false);
  }
  List(assignment);
  NoteIfDrained(assignment);
  to_wake = StartThreads(is_wider ? Stealable(assignment) : 0);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Assignment>> Pool::Know(const v1::Run& run) {
  const AssignmentId id(run.assignment_id());
  std::shared_ptr<Assignment> known = Find(id);
  if (known != nullptr) return known;
  if (run.function().empty()) {
    return absl::InvalidArgumentError("run.function: missing in the first run of an assignment");
  }
  const ServedFunction* function = functions_.Find(run.function());
  if (function == nullptr) {
    return absl::NotFoundError(absl::StrCat("no function ", run.function(), " is served here"));
  }
  auto assignment = std::make_shared<Assignment>();
  assignment->id = id;
  assignment->job = JobId(run.job_id());
  assignment->function = function;
  assignment->sequence = next_sequence_++;
  assignments_.emplace(id, assignment);
  return assignment;
}

void Pool::Refuse(const v1::Run& run, const absl::Status& status) {
  Outcome outcome;
  outcome.tasks = {run.first(), run.count()};
  outcome.status = TaskStatus::kFailed;
  outcome.cause = Cause::kStartFailed;
  outcome.message = std::string(status.message());
  outcome.pid = pid_;
  std::vector<Outcome> outcomes;
  outcomes.push_back(std::move(outcome));
  outbox_.AddOutcomesWithoutWaiting(AssignmentId(run.assignment_id()), std::move(outcomes), false);
}

std::shared_ptr<Assignment> Pool::Find(AssignmentId id) const {
  const auto it = assignments_.find(id);
  return it == assignments_.end() ? nullptr : it->second;
}

void Pool::Unlist(Assignment& assignment) {
  claimable_.erase({-std::int64_t{assignment.priority}, assignment.sequence, &assignment});
}

void Pool::List(Assignment& assignment) {
  if (assignment.claimable()) {
    claimable_.insert({-std::int64_t{assignment.priority}, assignment.sequence, &assignment});
  }
}

// More of it may come, with nothing but its id: so it is forgotten late.
void Pool::NoteIfDrained(Assignment& assignment) {
  if (assignment.live()) return;
  assignment.drained = next_sequence_++;
  drained_.emplace_back(assignment.id, assignment.drained);
  if (drained_.size() <= kDrainedLimit) return;
  const auto [id, drained] = drained_.front();
  drained_.pop_front();
  const auto it = assignments_.find(id);
  if (it != assignments_.end() && !it->second->live() && it->second->drained == drained) {
    assignments_.erase(it);
  }
}

void Pool::AddPending(Assignment& assignment, Segment segment, bool at_front) {
  assignment.pending_count += segment.tasks.count;
  live_ += segment.tasks.count;
  if (at_front) {
    assignment.pending.push_front(std::move(segment));
  } else {
    assignment.pending.push_back(std::move(segment));
  }
}

// --- what is taken back ---

void Pool::Reclaim(AssignmentId id, std::uint64_t count) {
  TaskRange taken;
  {
    MutexLock lock(&mutex_);
    const std::shared_ptr<Assignment> assignment = Find(id);
    if (assignment != nullptr && count > 0) {
      Unlist(*assignment);
      const bool was_live = assignment->live();
      taken = TakePendingTail(*assignment, count);
      if (taken.count == 0) taken = TakeRunnersTail(*assignment, count);
      List(*assignment);
      if (was_live) NoteIfDrained(*assignment);
    }
  }
  outbox_.AddReclaimed(id, taken);
}

TaskRange Pool::TakePendingTail(Assignment& assignment, std::uint64_t limit) {
  TaskRange taken;
  while (!assignment.pending.empty() && taken.count < limit) {
    Segment& last = assignment.pending.back();
    if (taken.count > 0 && last.tasks.end() != taken.first) break;
    const std::uint64_t count = std::min(last.tasks.count, limit - taken.count);
    last.tasks.count -= count;
    taken = {last.tasks.end(), taken.count + count};
    if (last.tasks.count == 0) assignment.pending.pop_back();
  }
  assignment.pending_count -= taken.count;
  live_ -= taken.count;
  return taken;
}

// From the first chunk that has any.
TaskRange Pool::TakeRunnersTail(const Assignment& assignment, std::uint64_t limit) {
  for (PoolThread& thread : threads_) {
    if (thread.chunk.assignment.get() != &assignment) continue;
    const TaskRange taken = thread.runner->TakeTail(limit);
    if (taken.count > 0) return taken;
  }
  return {};
}

void Pool::StopTasks(AssignmentId id) {
  std::vector<TaskRange> taken;
  std::vector<TaskRunner*> runners;
  {
    MutexLock lock(&mutex_);
    const std::shared_ptr<Assignment> assignment = Find(id);
    if (assignment == nullptr) return;
    Unlist(*assignment);
    const bool was_live = assignment->live();
    assignment->stopped.store(true, std::memory_order_relaxed);
    assignment->attempts.clear();
    while (assignment->pending_count > 0) {
      taken.push_back(TakePendingTail(*assignment, assignment->pending_count));
    }
    for (PoolThread& thread : threads_) {
      if (thread.chunk.assignment != assignment) continue;
      runners.push_back(thread.runner.get());
      const TaskRange tail = thread.runner->TakeTail(std::numeric_limits<std::uint64_t>::max());
      if (tail.count > 0) taken.push_back(tail);
    }
    if (was_live) NoteIfDrained(*assignment);
  }
  for (const TaskRange& range : taken) outbox_.AddReclaimed(id, range);
  // First, since what is told to stop may wait for what its task does then.
  calls_.Wake();
  for (TaskRunner* runner : runners) runner->NotifyStop();
}

void Pool::StopSome(AssignmentId id, TaskRange tasks, StopReason why) {
  std::vector<TaskRange> taken;
  std::vector<TaskRunner*> stopping;
  std::uint64_t to_wake = 0;
  {
    MutexLock lock(&mutex_);
    const std::shared_ptr<Assignment> assignment = Find(id);
    if (assignment == nullptr) return;
    Unlist(*assignment);
    const bool was_live = assignment->live();
    for (PoolThread& thread : threads_) {
      if (thread.chunk.assignment != assignment) continue;
      TakeBackFromRunner(thread, tasks);
      if (thread.runner->StopIfAmong(tasks, why)) stopping.push_back(thread.runner.get());
    }
    taken = TakePendingAmong(*assignment, tasks);
    List(*assignment);
    if (was_live) NoteIfDrained(*assignment);
    to_wake = StartThreads();
  }
  Wake(to_wake);
  for (const TaskRange& range : taken) outbox_.AddReclaimed(id, range);
  // First, since what is told to stop may wait for what its task does then.
  calls_.Wake();
  for (TaskRunner* runner : stopping) runner->NotifyStop();
}

// If its chunk has some of the tasks that have not started, these and what follows become pending
// again.
void Pool::TakeBackFromRunner(PoolThread& thread, TaskRange tasks) {
  Assignment& assignment = *thread.chunk.assignment;
  const TaskRange taken = thread.runner->TakeFrom(tasks);
  if (taken.count == 0) return;
  if (thread.chunk.style.attempt > 1) {  // a chunk of its own
    assignment.attempts[taken.first] = thread.chunk.style.attempt;
  }
  AddPending(assignment, {taken, thread.chunk.inputs}, /*at_front=*/true);
}

std::vector<TaskRange> Pool::TakePendingAmong(Assignment& assignment, TaskRange tasks) {
  std::vector<TaskRange> taken;
  std::deque<Segment> kept;
  for (Segment& segment : assignment.pending) {
    const TaskIndex first = std::max(segment.tasks.first, tasks.first);
    const TaskIndex end = std::min(segment.tasks.end(), tasks.end());
    if (first >= end) {
      kept.push_back(std::move(segment));
      continue;
    }
    taken.push_back({first, end - first});
    const TaskRange before{segment.tasks.first, first - segment.tasks.first};
    const TaskRange after{end, segment.tasks.end() - end};
    if (before.count > 0) kept.push_back({before, segment.inputs});
    if (after.count > 0) kept.push_back({after, segment.inputs});
    assignment.pending_count -= end - first;
    live_ -= end - first;
    assignment.attempts.erase(assignment.attempts.lower_bound(first),
                              assignment.attempts.lower_bound(end));
  }
  assignment.pending = std::move(kept);
  return taken;
}

// --- watching ---

void Pool::Tick() {
  struct Stuck {
    AssignmentId assignment;
    std::vector<Outcome> outcomes;
    bool detail;
  };
  std::vector<Stuck> stuck;
  {
    MutexLock lock(&mutex_);
    for (PoolThread& thread : threads_) {
      const Chunk& chunk = thread.chunk;
      if (chunk.assignment == nullptr) continue;
      std::vector<Outcome> outcomes = thread.runner->TakeStuck(chunk.assignment->task_ns);
      if (!outcomes.empty())
        stuck.push_back({chunk.assignment->id, std::move(outcomes), chunk.style.detail});
    }
  }
  for (Stuck& one : stuck) {
    outbox_.AddOutcomesWithoutWaiting(one.assignment, std::move(one.outcomes), !one.detail);
  }
}

bool Pool::IsIdle() const {
  MutexLock lock(&mutex_);
  return live_ == 0;
}

std::size_t Pool::thread_count() const {
  MutexLock lock(&mutex_);
  return running_threads_;
}

}  // namespace haul::executor
