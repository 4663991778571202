// Commands: what a coordinator accepts a worker can read, and what it fills in for a task is what a
// program may be given.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/command_template.h"
#include "coordinator/rpc/convert.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "worker/exec/launch/command_template.h"

namespace haul::fuzz {
namespace {

bool HasZeroByte(const std::string& text) { return text.find('\0') != std::string::npos; }

std::vector<std::string> Inherited(const std::string& text) {
  std::vector<const char*> variables;
  for (std::size_t begin = 0; begin < text.size();) {
    variables.push_back(text.c_str() + begin);
    begin = std::min(text.find('\0', begin), text.size()) + 1;
  }
  variables.push_back(nullptr);
  return exec::InheritedEnvironment(variables.data());
}

// Credentials are not inherited; what a job sets itself is its own affair.
void CheckRequest(const exec::SpawnRequest& request, const v1::Command& command) {
  HAUL_CHECK(!request.arguments.empty());
  for (const std::string& argument : request.arguments) HAUL_CHECK(!HasZeroByte(argument));
  HAUL_CHECK(!HasZeroByte(request.stdin_file) && !HasZeroByte(request.directory));
  HAUL_CHECK(request.directory.empty() || request.directory[0] == '/');
  const bool sets_token =
      std::any_of(command.environment().begin(), command.environment().end(),
                  [](const v1::EnvironmentVariable& set) { return set.name() == "HAUL_TOKEN"; });
  for (const std::string& variable : request.environment) {
    HAUL_CHECK(!HasZeroByte(variable));
    HAUL_CHECK(sets_token || !variable.starts_with("HAUL_TOKEN="));
  }
}

// The program sees each name that Haul or the job sets once.
void CheckOnce(const exec::SpawnRequest& request, const v1::Command& command) {
  std::vector<std::string> set = {"HAUL_JOB_ID", "HAUL_TASK_INDEX", "HAUL_FENCING_TOKEN"};
  for (const v1::EnvironmentVariable& variable : command.environment())
    set.push_back(variable.name());
  for (const std::string& name : set) {
    const auto times = std::count_if(request.environment.begin(), request.environment.end(),
                                     [&](const std::string& variable) {
                                       return variable.substr(0, variable.find('=')) == name;
                                     });
    HAUL_CHECK(times == 1);
  }
}

void CheckForms(const std::string& path) {
  HAUL_CHECK(path.starts_with(WithoutExtension(path)));
  HAUL_CHECK(path.ends_with(BaseName(path)));
  HAUL_CHECK(BaseName(path).find('/') == std::string_view::npos);
  HAUL_CHECK(!DirectoryName(path).empty());
}

void Run(CommandInput input) {
  const auto parsed = exec::CommandSpec::Parse(input.command());
  v1::JobSpec& job = *input.mutable_job();
  *job.mutable_command() = input.command();
  const auto accepted = coordinator::ToCore(job, coordinator::Limits());
  if (accepted.ok()) {
    HAUL_CHECK(parsed.ok());
    HAUL_CHECK(accepted->description.size() <= 200 && accepted->name.size() <= 256);
  }
  CheckForms(input.input());
  if (!parsed.ok()) return HAUL_CHECK(!parsed.status().message().empty());
  const exec::CommandTask task{
      .assignment = AssignmentId(1),
      .job = JobId(2),
      .task = input.task(),
      .command = *parsed,
      .input = input.input(),
      .array_value = input.array_value_size() > 0 ? std::optional(input.array_value(0))
                                                  : std::optional<std::int64_t>(),
  };
  exec::TaskSettings settings;
  settings.environment = Inherited(input.inherited());
  const auto request = exec::PrepareSpawn(task, settings, "");
  if (!request.ok()) return HAUL_CHECK(!request.status().message().empty());
  CheckRequest(*request, input.command());
  CheckOnce(*request, input.command());
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::CommandInput, haul::fuzz::Run)
