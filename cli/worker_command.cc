#include "cli/worker_command.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "common/config.h"

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
                             std::to_string(command.threads)});
  for (const std::string& library : command.functions) {
    words.insert(words.end(), {"--functions", library});
  }
  return words;
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
