#include "worker/exec/launch/command_template.h"

#include <algorithm>
#include <array>
#include <utility>

namespace haul::exec {
namespace {

// HAUL_DATA_DIR is where a coordinator's token lies.
constexpr std::array<std::string_view, 7> kWithheldPrefixes = {
    "HAUL_TOKEN",    "HAUL_JOIN_TOKEN",  "HAUL_TLS_",    "HAUL_DATA_DIR",
    "HAUL_GUARDIAN", "HAUL_INCARNATION", "HAUL_EXECUTOR"};

std::string_view NameOf(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CommandSpec>> CommandSpec::Parse(const v1::Command& command) {
  CommandText text;
  text.arguments.assign(command.arguments().begin(), command.arguments().end());
  for (const v1::EnvironmentVariable& variable : command.environment()) {
    // The last of a name is meant, and a program must see each name once.
    std::erase_if(text.environment, [&](const auto& set) { return set.first == variable.name(); });
    text.environment.emplace_back(variable.name(), variable.value());
  }
  text.directory = command.directory();
  text.stdin_file = command.stdin_file();
  if (command.temporary_directory() && !text.directory.empty()) {
    return absl::InvalidArgumentError("the command has both a directory and a temporary one");
  }
  absl::StatusOr<CommandTemplate> parsed = CommandTemplate::Parse(text);
  if (!parsed.ok()) return parsed.status();
  auto spec = std::make_shared<CommandSpec>();
  spec->text_ = *std::move(parsed);
  spec->temporary_directory_ = command.temporary_directory();
  return spec;
}

std::vector<std::string> InheritedEnvironment(const char* const* environment) {
  std::vector<std::string> inherited;
  for (; *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    const bool withheld = std::any_of(
        kWithheldPrefixes.begin(), kWithheldPrefixes.end(),
        [&](std::string_view prefix) { return variable.substr(0, prefix.size()) == prefix; });
    if (!withheld) inherited.emplace_back(variable);
  }
  return inherited;
}

absl::StatusOr<SpawnRequest> PrepareSpawn(const CommandTask& task, const TaskSettings& settings,
                                          const std::string& temporary_directory) {
  absl::StatusOr<ExpandedCommand> command = task.command->text().Expand(
      {.index = task.task, .input = task.input, .array_value = task.array_value});
  if (!command.ok()) return command.status();
  SpawnRequest request;
  request.arguments = std::move(command->arguments);
  request.stdin_file = std::move(command->stdin_file);
  request.directory = temporary_directory.empty() ? command->directory : temporary_directory;
  if (!request.directory.empty() && request.directory.front() != '/') {
    return absl::InvalidArgumentError("directory '" + request.directory + "' is not absolute");
  }
  request.group = settings.group;
  request.open_files_soft_limit = settings.open_files_soft_limit;
  request.signals_to_reset = settings.signals_to_reset;

  std::vector<std::pair<std::string, std::string>>& own = command->environment;
  own.emplace_back("HAUL_JOB_ID", std::to_string(task.job.value()));
  own.emplace_back("HAUL_TASK_INDEX", std::to_string(task.task));
  own.emplace_back("HAUL_ATTEMPT", std::to_string(task.attempt));
  own.emplace_back("HAUL_FENCING_TOKEN", std::to_string(task.assignment.value()));
  own.emplace_back("HAUL_WORKER", settings.worker);
  own.emplace_back("HAUL_COORDINATOR", settings.coordinator);
  if (!request.directory.empty()) own.emplace_back("PWD", request.directory);
  // The later of a name counts, and is the only one that the program sees.
  const auto set_after = [&](std::size_t begin, std::string_view name) {
    return std::any_of(own.begin() + static_cast<std::ptrdiff_t>(begin), own.end(),
                       [&](const auto& variable) { return variable.first == name; });
  };
  request.environment.reserve(settings.environment.size() + own.size());
  for (const std::string& variable : settings.environment) {
    if (!set_after(0, NameOf(variable))) request.environment.push_back(variable);
  }
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (set_after(i + 1, own[i].first)) continue;
    request.environment.push_back(own[i].first + "=" + own[i].second);
  }
  return request;
}

}  // namespace haul::exec
