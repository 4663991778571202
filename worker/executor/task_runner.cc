#include "worker/executor/task_runner.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/function_text.h"
#include "common/time.h"
#include "common/utf8.h"

namespace haul::executor {
namespace {

// A thread that has finished so much hands it over within its chunk.
constexpr std::size_t kBatchBytes = 1u << 20;
// What is finished waits no longer than this behind a task that takes long.
constexpr std::int64_t kStuckNs = 20'000'000;
constexpr std::size_t kMessageLimit = 64u << 10;
constexpr std::size_t kLogLineLimit = 4096;

std::int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

TaskRunner& Runner(void* task) { return *static_cast<TaskRunner*>(task); }

}  // namespace

const haul_host TaskRunner::kHost = {sizeof(haul_host),      &TaskRunner::AppendResult,
                                     &TaskRunner::SetError,  &TaskRunner::IsStopRequested,
                                     &TaskRunner::WatchStop, &TaskRunner::Log,
                                     &TaskRunner::Submit,    &TaskRunner::Wait,
                                     &TaskRunner::Progress};

TaskRunner::TaskRunner(Slot* slot, Outbox* outbox, ChildCalls* calls, const ResultLimits& limits,
                       std::string file_prefix)
    : slot_(*slot),
      outbox_(*outbox),
      calls_(*calls),
      limits_(limits),
      file_prefix_(std::move(file_prefix)) {
  RenewResult();
  call_.struct_size = sizeof(haul_call);
  call_.host = &kHost;
  call_.task = this;
}

TaskRunner::Ran TaskRunner::Run(const Chunk& chunk) {
  assignment_ = chunk.assignment.get();
  call_.job_id = assignment_->job.value();
  call_.fencing_token = assignment_->id.value();
  call_.attempt = chunk.style.attempt;
  tasks_run_ = 0;
  const std::int64_t started_ns = SteadyNs();
  task_started_ns_ = started_ns;
  EnterSlot(slot_, assignment_->id, chunk.tasks.first);
  for (auto task = Begin(started_ns); task.has_value(); task = FinishAndNext(chunk, *task)) {
    Call(chunk, *task);
  }
  LeaveSlot(slot_);
  const std::int64_t ended_ns = SteadyNs();
  std::vector<Outcome> outcomes;
  {
    MutexLock lock(&mutex_);
    outcomes = Settle(chunk, ended_ns);
  }
  if (!outcomes.empty()) {
    outbox_.AddOutcomes(assignment_->id, std::move(outcomes), !chunk.style.detail);
  }
  return {tasks_run_, static_cast<std::uint64_t>(ended_ns - started_ns)};
}

void TaskRunner::Load(const Chunk& chunk) {
  MutexLock lock(&mutex_);
  next_ = chunk.tasks.first;
  end_ = chunk.tasks.end();
  detail_ = chunk.style.detail;
}

std::optional<TaskIndex> TaskRunner::Begin(std::int64_t now_ns) {
  MutexLock lock(&mutex_);
  const Now now = ReadClocks();
  unix_offset_us_ = now.unix_us - now.monotonic_us;
  settled_ns_ = now_ns;
  return Next();
}

std::optional<TaskIndex> TaskRunner::Next() {
  if (stop_current_.load(std::memory_order_relaxed) != StopReason::kNone)
    stop_current_.store(StopReason::kNone, std::memory_order_relaxed);
  if (next_ == end_) {
    current_ = kNoTask;
    return std::nullopt;
  }
  current_ = next_++;
  return current_;
}

void TaskRunner::Call(const Chunk& chunk, TaskIndex task) {
  if (chunk.timeout_us > 0) {
    MoveSlot(slot_, task, task_started_ns_ / 1000 + chunk.timeout_us);
  } else {
    MoveSlot(slot_, task);
  }
  const Inputs& inputs = *chunk.inputs;
  const ServedFunction& function = *assignment_->function;
  ArrayArgument array_argument;
  std::string_view arguments;
  if (inputs.is_array) {
    // Wraps as two's complement does; the range was checked when the job was submitted.
    const auto value =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(inputs.array_start) +
                                  task * static_cast<std::uint64_t>(inputs.array_step));
    array_argument = EncodeArrayValue(function.signature, value);
    arguments = array_argument.view();
  } else {
    arguments = inputs.packed[task - inputs.first];
  }
  call_.task_index = task;
  call_.arguments = arguments.data();
  call_.argument_bytes = arguments.size();
  result_bytes_ = 0;
  result_error_ = 0;
  error_.clear();
  failed_ = function.entry.invoke(function.entry.target, &call_) != 0;
  if (const int error = result_->Finish(); error != 0 && result_error_ == 0) result_error_ = error;
}

std::optional<TaskIndex> TaskRunner::FinishAndNext(const Chunk& chunk, TaskIndex task) {
  ++tasks_run_;
  if (std::exchange(made_calls_, false)) {
    calls_.End(assignment_->id, task);
    answer_ = {};
  }
  const std::int64_t started_ns = task_started_ns_;
  if (chunk.style.detail || chunk.timeout_us > 0) task_started_ns_ = SteadyNs();
  std::vector<Outcome> full;
  std::optional<TaskIndex> next;
  {
    MutexLock lock(&mutex_);
    Record(chunk, task);
    if (chunk.style.detail) {
      batch_.SetLastTimes(UnixUs(started_ns), UnixUs(task_started_ns_),
                          static_cast<std::uint64_t>(task_started_ns_ - started_ns));
    }
    next = Next();
    if (batch_.byte_count() > kBatchBytes && next.has_value()) full = Settle(chunk, SteadyNs());
  }
  // What the task wrote and the batch did not take: a large one must not lie on the disk until this
  // thread runs again.
  result_->Discard();
  if (!full.empty()) HandOver(chunk, std::move(full));
  return next;
}

// Within a chunk. How long the worker takes to read is nobody's time.
void TaskRunner::HandOver(const Chunk& chunk, std::vector<Outcome> outcomes) {
  slot_.deadline_us.store(0, std::memory_order_release);
  outbox_.AddOutcomes(assignment_->id, std::move(outcomes), !chunk.style.detail);
  task_started_ns_ = SteadyNs();
}

void TaskRunner::Record(const Chunk& chunk, TaskIndex task) {
  if (stop_current_.load(std::memory_order_relaxed) == StopReason::kTimedOut) {
    // Whatever it made of it, its time was over.
    batch_.AddFailure(task, TaskStatus::kFailed, Cause::kTimeout,
                      absl::StrCat("it ran longer than ", chunk.timeout_us / 1000, " ms"),
                      chunk.style);
  } else if (failed_) {
    batch_.AddFailure(task, TaskStatus::kFailed, Cause::kFunctionError, FailureMessage(),
                      chunk.style);
  } else {
    RecordResult(chunk, task);
  }
}

void TaskRunner::RecordResult(const Chunk& chunk, TaskIndex task) {
  const auto fail = [&](const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    batch_.AddFailure(task, TaskStatus::kFailed, Cause::kOutputLimit, message, chunk.style);
  };
  if (result_bytes_ > limits_.bytes) {
    fail(absl::StrCat("the result has ", result_bytes_, " bytes; the limit is ", limits_.bytes));
  } else if (result_error_ != 0) {
    fail(absl::StrCat("the worker cannot keep the result of ", result_bytes_,
                      " bytes: ", std::strerror(result_error_)));
  } else if (result_->is_in_file()) {
    result_->TakeFile();
    batch_.AddFile(task, std::move(result_file_), result_bytes_, chunk.style);
    RenewResult();
  } else {
    batch_.AddSuccess(task, result_->inlined(), chunk.style);
  }
}

void TaskRunner::RenewResult() {
  result_file_ = absl::StrCat(file_prefix_, "-", ++files_);
  result_.emplace(absl::StrCat(limits_.directory, "/", result_file_));
}

std::string TaskRunner::FailureMessage() const {
  if (error_.empty())
    return absl::StrCat(assignment_->function->entry.name, " failed without a message");
  std::string message = ToUtf8(std::string_view(error_).substr(0, kMessageLimit));
  if (error_.size() > kMessageLimit) {
    absl::StrAppend(&message, " … and ", error_.size() - kMessageLimit, " bytes more");
  }
  return message;
}

std::vector<Outcome> TaskRunner::Settle(const Chunk& chunk, std::int64_t now_ns) {
  if (!chunk.style.detail && !batch_.empty()) {
    batch_.SetSharedTimes(UnixUs(settled_ns_), UnixUs(now_ns),
                          static_cast<std::uint64_t>(now_ns - settled_ns_));
    settled_ns_ = now_ns;
  }
  return batch_.Take();
}

TaskRange TaskRunner::TakeTail(std::uint64_t limit) {
  MutexLock lock(&mutex_);
  const std::uint64_t waiting = end_ - next_;
  const std::uint64_t count = limit == kHalf ? (waiting + 1) / 2 : std::min(limit, waiting);
  end_ -= count;
  return {end_, count};
}

std::uint64_t TaskRunner::NotStartedCount() {
  MutexLock lock(&mutex_);
  return end_ - next_;
}

TaskRange TaskRunner::TakeFrom(TaskRange tasks) {
  MutexLock lock(&mutex_);
  const TaskIndex first = std::max(tasks.first, next_);
  if (first >= end_ || first >= tasks.end()) return {};
  const TaskRange taken{first, end_ - first};
  end_ = first;
  return taken;
}

bool TaskRunner::StopIfAmong(TaskRange tasks, StopReason why) {
  MutexLock lock(&mutex_);
  if (current_ == kNoTask || current_ < tasks.first || current_ >= tasks.end()) return false;
  stop_current_.store(std::max(why, stop_current_.load(std::memory_order_relaxed)),
                      std::memory_order_relaxed);
  return true;
}

void TaskRunner::NotifyStop() {
  MutexLock lock(&watch_mutex_);
  // While a task watches, its thread is within the call and assignment_ stays.
  if (on_stop_ == nullptr || !StopRequested()) return;
  const auto on_stop = std::exchange(on_stop_, nullptr);
  on_stop(on_stop_argument_);
}

std::vector<Outcome> TaskRunner::TakeStuck(std::uint64_t task_ns) {
  MutexLock lock(&mutex_);
  const std::int64_t now_ns = SteadyNs();
  if (batch_.empty() || now_ns - settled_ns_ < kStuckNs) return {};
  if (!detail_) {
    const std::uint64_t busy_ns =
        std::min(batch_.task_count() * task_ns, static_cast<std::uint64_t>(now_ns - settled_ns_));
    const std::int64_t finished_ns = settled_ns_ + static_cast<std::int64_t>(busy_ns);
    batch_.SetSharedTimes(UnixUs(settled_ns_), UnixUs(finished_ns), busy_ns);
    settled_ns_ = finished_ns;
  }
  return batch_.Take();
}

bool TaskRunner::StopRequested() const {
  return stop_current_.load(std::memory_order_relaxed) != StopReason::kNone ||
         assignment_->stopped.load(std::memory_order_relaxed);
}

void TaskRunner::AppendResult(void* task, const void* data, std::uint64_t size) {
  TaskRunner& self = Runner(task);
  self.result_bytes_ += size;
  if (self.result_bytes_ > self.limits_.bytes || self.result_error_ != 0) return;
  self.result_error_ = self.result_->Append({static_cast<const char*>(data), size});
}

void TaskRunner::SetError(void* task, const char* message, std::uint64_t size) {
  Runner(task).error_.assign(message, size);
}

std::int32_t TaskRunner::IsStopRequested(void* task) {
  return Runner(task).StopRequested() ? 1 : 0;
}

// To stderr, which is where the worker's log goes: one write for a line, so that those of other
// threads and processes do not come between.
void TaskRunner::Log(void* task, const char* text, std::uint64_t size) {
  const haul_call& call = Runner(task).call_;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(text, size), '\n', absl::SkipEmpty())) {
    const std::string whole =
        absl::StrCat("job ", call.job_id, ", task ", call.task_index, ", attempt ", call.attempt,
                     ": ", absl::Utf8SafeCEscape(line.substr(0, kLogLineLimit)), "\n");
    // A log that cannot be written is no reason to fail.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, whole.data(), whole.size());
  }
}

std::uint64_t TaskRunner::Submit(void* task, const char* function, const char* signature,
                                 const void* arguments, std::uint64_t size) {
  TaskRunner& self = Runner(task);
  self.made_calls_ = true;
  return self.calls_.Submit(self.assignment_->id, self.call_.task_index, function, signature,
                            {static_cast<const char*>(arguments), size});
}

void TaskRunner::Wait(void* task, std::uint64_t number, haul_answer* answer) {
  TaskRunner& self = Runner(task);
  self.answer_ = self.calls_.Wait(self.assignment_->id, self.call_.task_index, number,
                                  [&self] { return self.StopRequested(); });
  answer->data = self.answer_.data.data();
  answer->size = self.answer_.data.size();
  answer->status = self.answer_.status;
}

void TaskRunner::Progress(void* task, double done) {
  // Not a number is nothing.
  const double permille = done > 0 ? std::min(done, 1.0) * 1000 : 0;
  Runner(task).slot_.permille.store(static_cast<std::uint32_t>(permille),
                                    std::memory_order_relaxed);
}

void TaskRunner::WatchStop(void* task, void (*on_stop)(void*), void* argument) {
  TaskRunner& self = Runner(task);
  MutexLock lock(&self.watch_mutex_);
  if (on_stop != nullptr && self.StopRequested()) {
    self.on_stop_ = nullptr;
    on_stop(argument);
    return;
  }
  self.on_stop_ = on_stop;
  self.on_stop_argument_ = argument;
}

}  // namespace haul::executor
