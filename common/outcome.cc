#include "common/outcome.h"

namespace haul {

std::string_view TaskStatusName(TaskStatus status) {
  switch (status) {
    case TaskStatus::kSucceeded:
      return "succeeded";
    case TaskStatus::kFailed:
      return "failed";
    case TaskStatus::kCancelled:
      return "cancelled";
    case TaskStatus::kLost:
      return "lost";
    case TaskStatus::kCrashed:
      return "crashed";
  }
  return "unknown";
}

std::string_view CauseName(Cause cause) {
  switch (cause) {
    case Cause::kNone:
      return "";
    case Cause::kExitCode:
      return "exit_code";
    case Cause::kSignal:
      return "signal";
    case Cause::kTimeout:
      return "timeout";
    case Cause::kMemoryLimit:
      return "memory_limit";
    case Cause::kOutputLimit:
      return "output_limit";
    case Cause::kWorkerLost:
      return "worker_lost";
    case Cause::kCancelled:
      return "cancelled";
    case Cause::kFunctionError:
      return "function_error";
    case Cause::kStartFailed:
      return "start_failed";
    case Cause::kExecutorExit:
      return "executor_exit";
    case Cause::kProcessLimit:
      return "process_limit";
  }
  return "unknown";
}

std::size_t ByteCount(const Outcome& outcome) {
  return sizeof(Outcome) + outcome.message.size() + outcome.results.byte_count() +
         outcome.results.end_offsets().size() * sizeof(std::uint32_t) +
         outcome.error_output.size() + outcome.output_file.size() + outcome.error_file.size();
}

}  // namespace haul
