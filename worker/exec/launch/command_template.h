// From a job's command and one task's values to what Spawn() takes. Plain values and pure
// functions: any thread.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/command_template.h"
#include "common/ids.h"
#include "haul/v1/common.pb.h"
#include "worker/exec/spawn.h"

namespace haul::exec {

// A job's command, parsed once and shared by its tasks.
class CommandSpec {
 public:
  // InvalidArgument: as CommandTemplate::Parse; or a directory together with a temporary one.
  static absl::StatusOr<std::shared_ptr<const CommandSpec>> Parse(const v1::Command& command);

  const CommandTemplate& text() const { return text_; }
  // Each task has a fresh directory of its own, removed at its end.
  bool temporary_directory() const { return temporary_directory_; }

 private:
  CommandTemplate text_;
  bool temporary_directory_ = false;
};

// One attempt of one task.
struct CommandTask {
  AssignmentId assignment;
  JobId job;
  TaskIndex task = 0;
  std::uint32_t attempt = 1;
  std::shared_ptr<const CommandSpec> command;
  std::string input;  // the values of its sources, separated by a zero byte; unused with an array
  std::optional<std::int64_t> array_value;
  std::uint64_t timeout_ms = 0;    // 0: none
  std::uint64_t memory_bytes = 0;  // most of all its processes together; 0: no limit
};

// What all tasks of a worker have in common.
struct TaskSettings {
  std::vector<std::string> environment;  // as InheritedEnvironment() gives it
  std::string worker;                    // its name
  std::string coordinator;               // its address
  // As in SpawnRequest.
  ProcessGroup group = ProcessGroup::kOwnSession;
  std::optional<rlim_t> open_files_soft_limit;
  std::optional<SignalSet> signals_to_reset;
};

// `environment` (as in environ) without what would let a task act as the worker: its token, where
// that is found, and what its guardian told it.
std::vector<std::string> InheritedEnvironment(const char* const* environment);

// Everything but the descriptors. `temporary_directory` is the task's, or empty. InvalidArgument,
// ResourceExhausted: as CommandTemplate::Expand; or a directory that is not absolute.
absl::StatusOr<SpawnRequest> PrepareSpawn(const CommandTask& task, const TaskSettings& settings,
                                          const std::string& temporary_directory);

}  // namespace haul::exec
