// Outcomes of one assignment on their way from a thread to the worker: consecutive successes are
// one outcome, failures stand alone. Plain values; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/outcome.h"

namespace haul::executor {

// How the tasks of a chunk are reported.
struct ReportStyle {
  bool has_results = true;  // false: the function returns void
  bool detail = false;      // one outcome a task, with its own times
  std::uint32_t attempt = 1;
  std::uint32_t pid = 0;
};

// What one thread has run and not yet handed over.
class Batch {
 public:
  void AddSuccess(TaskIndex task, std::string_view result, const ReportStyle& style);
  // A result that is in a file, which has `byte_count` bytes.
  void AddFile(TaskIndex task, std::string file, std::uint64_t byte_count,
               const ReportStyle& style);
  // The status is not kSucceeded.
  void AddFailure(TaskIndex task, TaskStatus status, Cause cause, std::string message,
                  const ReportStyle& style);

  bool empty() const { return outcomes_.empty(); }
  std::size_t byte_count() const { return byte_count_; }
  std::uint64_t task_count() const { return task_count_; }

  // The last task's own times.
  void SetLastTimes(std::int64_t started_unix_us, std::int64_t finished_unix_us,
                    std::uint64_t busy_ns);
  // Shares a duration among all tasks, and gives all the same times.
  void SetSharedTimes(std::int64_t started_unix_us, std::int64_t finished_unix_us,
                      std::uint64_t busy_ns);

  // Empties it.
  std::vector<Outcome> Take();

 private:
  Outcome& AddAlone(TaskIndex task, const ReportStyle& style);

  std::vector<Outcome> outcomes_;
  bool may_extend_ = false;  // the last outcome
  std::size_t byte_count_ = 0;
  std::uint64_t task_count_ = 0;
};

}  // namespace haul::executor
