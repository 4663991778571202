#include "cli/worker_command.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "common/config.h"
#include "common/units.h"

namespace haul::cli {

absl::StatusOr<std::vector<std::string>> GuardedWorker(const WorkerCommand& command) {
  const absl::StatusOr<std::string> guardian = HelperProgram("haul-guardian");
  if (!guardian.ok()) return guardian.status();
  const std::string haul = OwnProgram();
  const std::vector<std::string> shared = {
      "--coordinator", command.coordinator, "--token-file", command.token_file,
      "--log-level",   command.log_level,   "--log-format", command.log_format,
      "--directory",   command.directory};
  std::vector<std::string> words = {*guardian, "--reporter", haul, "worker", "report-death"};
  words.insert(words.end(), shared.begin(), shared.end());
  words.insert(words.end(), {"---", haul, "worker", "run"});
  words.insert(words.end(), shared.begin(), shared.end());
  if (!command.name.empty()) words.insert(words.end(), {"--name", command.name});
  words.insert(words.end(), {"--processes", std::to_string(command.processes), "--threads",
                             std::to_string(command.threads), "--task-processes",
                             std::to_string(command.task_processes)});
  if (!command.output_limit.empty()) {
    words.insert(words.end(), {"--output-limit", command.output_limit});
  }
  if (!command.drain_deadline.empty()) {
    words.insert(words.end(), {"--drain-deadline", command.drain_deadline});
  }
  for (const std::string& library : command.functions) {
    words.insert(words.end(), {"--functions", library});
  }
  return words;
}

absl::StatusOr<std::uint64_t> ParseDeadlineMs(const std::string& option, const std::string& text) {
  if (text.empty()) return 0;
  absl::StatusOr<std::uint64_t> ms = ParseDurationMs(text);
  if (!ms.ok())
    return absl::InvalidArgumentError(absl::StrCat(option, ": ", ms.status().message()));
  if (*ms == 0)
    return absl::InvalidArgumentError(absl::StrCat(option, ": 0, must be at least 1ms"));
  return ms;
}

absl::StatusOr<std::string> MakeTemporaryDirectory(const std::string& prefix) {
  std::string pattern =
      absl::StrCat(ProcessEnvironment("TMPDIR").value_or("/tmp"), "/", prefix, "-XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr) {
    return absl::InternalError(absl::StrCat(pattern, ": ", strerror(errno)));
  }
  return pattern;
}

}  // namespace haul::cli
