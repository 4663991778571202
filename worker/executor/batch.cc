#include "worker/executor/batch.h"

#include <utility>

#include "common/merge_outcomes.h"

namespace haul::executor {
namespace {

// What a failure or a lone success takes beside its bytes.
constexpr std::size_t kOutcomeBytes = 64;
}  // namespace

void Batch::AddSuccess(TaskIndex task, std::string_view result, const ReportStyle& style) {
  ++task_count_;
  byte_count_ += result.size();
  const bool extends = may_extend_ && !style.detail && outcomes_.back().tasks.end() == task &&
                       outcomes_.back().results.byte_count() + result.size() <= kMergedResultBytes;
  if (!extends) {
    outcomes_.emplace_back();
    outcomes_.back().tasks = {task, 0};
    outcomes_.back().attempt = style.attempt;
    outcomes_.back().pid = style.pid;
    byte_count_ += kOutcomeBytes;
    may_extend_ = !style.detail;
  }
  Outcome& outcome = outcomes_.back();
  ++outcome.tasks.count;
  if (style.has_results) outcome.results.Append(result);
}

void Batch::AddFile(TaskIndex task, std::string file, std::uint64_t byte_count,
                    const ReportStyle& style) {
  Outcome& outcome = AddAlone(task, style);
  outcome.output_file = std::move(file);
  outcome.output_bytes = byte_count;
}

void Batch::AddFailure(TaskIndex task, TaskStatus status, Cause cause, std::string message,
                       const ReportStyle& style) {
  byte_count_ += message.size();
  Outcome& outcome = AddAlone(task, style);
  outcome.status = status;
  outcome.cause = cause;
  outcome.message = std::move(message);
}

Outcome& Batch::AddAlone(TaskIndex task, const ReportStyle& style) {
  ++task_count_;
  byte_count_ += kOutcomeBytes;
  may_extend_ = false;
  Outcome& outcome = outcomes_.emplace_back();
  outcome.tasks = {task, 1};
  outcome.attempt = style.attempt;
  outcome.pid = style.pid;
  return outcome;
}

void Batch::SetLastTimes(std::int64_t started_unix_us, std::int64_t finished_unix_us,
                         std::uint64_t busy_ns) {
  Outcome& outcome = outcomes_.back();
  if (outcome.tasks.count == 1) outcome.started_unix_us = started_unix_us;
  outcome.finished_unix_us = finished_unix_us;
  outcome.busy_ns += busy_ns;
}

void Batch::SetSharedTimes(std::int64_t started_unix_us, std::int64_t finished_unix_us,
                           std::uint64_t busy_ns) {
  std::uint64_t tasks_left = task_count_;
  for (Outcome& outcome : outcomes_) {
    // Of what is left, so that the shares add up to the whole; in two parts, so that nothing
    // overflows.
    const std::uint64_t share = busy_ns / tasks_left * outcome.tasks.count +
                                busy_ns % tasks_left * outcome.tasks.count / tasks_left;
    outcome.started_unix_us = started_unix_us;
    outcome.finished_unix_us = finished_unix_us;
    outcome.busy_ns = share;
    busy_ns -= share;
    tasks_left -= outcome.tasks.count;
  }
}

std::vector<Outcome> Batch::Take() {
  may_extend_ = false;
  byte_count_ = 0;
  task_count_ = 0;
  return std::exchange(outcomes_, {});
}

}  // namespace haul::executor
