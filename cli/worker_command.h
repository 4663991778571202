// The command line of a worker under its guardian, for `haul worker start` and `haul up`. Main
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace haul::cli {

struct WorkerCommand {
  std::string coordinator;
  std::string token_file;
  std::string name;  // empty: the worker's own choice
  std::uint32_t processes = 1;
  std::uint32_t threads = 0;  // 0: the worker's own choice
  std::vector<std::string> functions;
  std::uint32_t task_processes = 0;  // of one command; 0: the worker's own choice
  std::string output_limit;          // empty: the worker's own choice
  std::string drain_deadline;        // empty: none
  std::string directory;  // of this worker alone; removed when it has ended, however that happens
  std::string log_level = "info";
  std::string log_format = "text";
};

// The guardian with its arguments. NotFound when a helper program is not installed.
absl::StatusOr<std::vector<std::string>> GuardedWorker(const WorkerCommand& command);

// How an option gives a deadline of draining: empty is none, 0. InvalidArgument names the option.
absl::StatusOr<std::uint64_t> ParseDeadlineMs(const std::string& option, const std::string& text);

// A fresh one under $TMPDIR or /tmp, its name starting with `prefix`.
absl::StatusOr<std::string> MakeTemporaryDirectory(const std::string& prefix);

}  // namespace haul::cli
