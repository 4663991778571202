#include "cli/job_options.h"

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/inputs.h"
#include "common/absl_view.h"
#include "common/command_template.h"
#include "common/config.h"
#include "common/function_text.h"
#include "common/units.h"

namespace haul::cli {
namespace {

absl::Status OptionError(const std::string& option, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": ", status.message()));
}

// What commands and functions have in common.
absl::Status FillSpec(const JobOptions& options, client::JobSpec* spec) {
  spec->name = options.name;
  spec->priority = options.priority;
  spec->max_running = options.max_running;
  const absl::StatusOr<std::uint32_t> cpus_milli = ParseCpusMilli(options.cpus);
  if (!cpus_milli.ok()) return OptionError("--cpus", cpus_milli.status());
  spec->cpus_milli = *cpus_milli;
  const absl::StatusOr<std::uint64_t> timeout_ms = ParseDurationMs(options.timeout);
  if (!timeout_ms.ok()) return OptionError("--timeout", timeout_ms.status());
  spec->timeout_ms = *timeout_ms;
  if (!options.memory.empty()) {
    const absl::StatusOr<std::uint64_t> memory_bytes = ParseBytes(options.memory);
    if (!memory_bytes.ok()) return OptionError("--memory", memory_bytes.status());
    if (*memory_bytes == 0) {
      return absl::InvalidArgumentError("--memory: 0, must be at least 1MiB");
    }
    spec->memory_bytes = *memory_bytes;
  }
  if (options.retries == std::numeric_limits<std::uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--retries: ", options.retries, ", must be below ", options.retries));
  }
  if (options.at_most_once && options.retries > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--retries: ", options.retries, ", must be 0 with --at-most-once"));
  }
  spec->max_attempts = options.retries + 1;
  spec->at_most_once = options.at_most_once;
  spec->volatile_job = options.volatile_job;
  return absl::OkStatus();
}

absl::Status FillArray(const std::string& text, client::JobSpec* spec) {
  const absl::StatusOr<Stride> stride = ParseArray(text);
  if (!stride.ok()) return OptionError("--array", stride.status());
  spec->array = client::Array{.start = static_cast<std::int64_t>(stride->first),
                              .step = static_cast<std::int64_t>(stride->step),
                              .count = stride->count()};
  return absl::OkStatus();
}

// The sources of -a come first, then those after the command.
std::vector<SourceText> AllSources(const JobOptions& options, Tail&& tail) {
  std::vector<SourceText> sources;
  for (const std::string& file : options.input_files) {
    sources.push_back({.linked = false, .is_file = true, .file = file, .values = {}});
  }
  for (SourceText& source : tail.sources) sources.push_back(std::move(source));
  return sources;
}

absl::StatusOr<client::FunctionCall> MakeCall(const JobOptions& options,
                                              const client::FunctionInfo& function) {
  client::FunctionCall call{.name = function.name,
                            .signature = function.signature,
                            .detail = options.detail,
                            .tasks_per_process = options.tasks_per_process};
  if (options.isolation == "process") {
    call.isolation = client::Isolation::kProcess;
  } else if (options.isolation != "thread") {
    return absl::InvalidArgumentError(
        absl::StrCat("--isolation: '", options.isolation, "', must be thread or process"));
  } else if (options.tasks_per_process > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--tasks-per-process: ", options.tasks_per_process, ", but only with --isolation process"));
  }
  return call;
}

absl::StatusOr<client::Command> MakeCommand(const JobOptions& options,
                                            std::vector<std::string> arguments) {
  client::Command command;
  command.arguments = std::move(arguments);
  for (const std::string& variable : options.environment) {
    const std::size_t equals = variable.find('=');
    if (equals != std::string::npos) {
      command.environment.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
      continue;
    }
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("--env: ", variable, " is not set here: write ", variable, "=VALUE"));
    }
    command.environment.emplace_back(variable, value);
  }
  command.stdin_file = options.stdin_file;
  if (options.directory == "temp") {
    command.temporary_directory = true;
    return command;
  }
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("the current directory: ", error.message(), ": name another with --cwd"));
  }
  // An absolute path replaces what it is appended to.
  command.directory =
      options.directory.empty() ? here.string() : (here / options.directory).string();
  return command;
}

absl::StatusOr<CommandTemplate> ParseTemplate(const client::Command& command) {
  return CommandTemplate::Parse({.arguments = command.arguments,
                                 .environment = command.environment,
                                 .directory = command.directory,
                                 .stdin_file = command.stdin_file});
}

// Encodes the values of another source as arguments of a function.
class EncodingSource : public client::InputSource {
 public:
  EncodingSource(std::unique_ptr<client::InputSource> text, std::string function,
                 FunctionSignature signature, bool one_source)
      : text_(std::move(text)),
        function_(std::move(function)),
        signature_(std::move(signature)),
        one_source_(one_source) {}

  bool Next(std::string* value) override {
    if (!text_->Next(&line_)) return false;
    ++count_;
    // One source gives all arguments, separated by commas; several give one each.
    absl::StatusOr<std::string> encoded =
        one_source_ ? EncodeArguments(function_, signature_, std::string_view(line_))
                    : EncodeArguments(function_, signature_,
                                      absl::Span<const std::string>(SplitValue(line_)));
    if (!encoded.ok()) {
      status_ = client::Status(client::ErrorKind::kInvalid,
                               absl::StrCat("input ", count_, ": ", encoded.status().message()));
      return false;
    }
    *value = *std::move(encoded);
    return true;
  }
  client::Status status() const override { return status_.ok() ? text_->status() : status_; }
  bool Rewind() override {
    count_ = 0;
    return text_->Rewind();
  }

 private:
  const std::unique_ptr<client::InputSource> text_;
  const std::string function_;
  const FunctionSignature signature_;
  const bool one_source_;
  std::string line_;
  std::uint64_t count_ = 0;
  client::Status status_;
};

}  // namespace

void AddJobOptions(CLI::App& app, JobOptions& options) {
  app.add_option("--name", options.name, "A name to find the job by");
  app.add_option("--priority", options.priority, "Higher runs first (default 0)");
  app.add_option("--max-running", options.max_running,
                 "Most tasks at once in the whole cluster (default: no limit)");
  app.add_option("--cpus", options.cpus, "What a task needs: 0.1, 1, 4 (default 1)");
  app.add_option("--timeout", options.timeout, "Of one attempt: 500ms, 15m, 1h30m (default: none)");
  app.add_option(
      "--memory", options.memory,
      "Most memory of a command with all its processes: 64MiB, 2GiB (default: no limit)");
  app.add_option("--retries", options.retries, "Further attempts of a task that fails (default 0)");
  app.add_flag("--at-most-once", options.at_most_once,
               "Never start a task twice: what is lost with its worker ends as lost");
  app.add_flag("--volatile", options.volatile_job,
               "Keep the job in memory only: faster, and lost with the coordinator");
  app.add_option("--request-id", options.request_id,
                 "A submit with the same id again gives the first one's job");
  app.add_option("-a,--arg-file", options.input_files,
                 "Input values, one a line; - is standard input")
      ->expected(1)
      ->take_all();
  app.add_option("--array", options.array, "Plain indices instead of values: 0-99 or 0-99:2");
}

void AddCommandOptions(CLI::App& app, JobOptions& options) {
  app.add_option("--env", options.environment,
                 "NAME=VALUE in the task's environment; NAME alone: with its value here")
      ->expected(1)
      ->take_all();
  app.add_option("--cwd", options.directory,
                 "Where tasks run (default: here); temp: a fresh directory for each");
  app.add_option("--stdin", options.stdin_file, "A file that the task reads, on its worker");
}

void AddFunctionOptions(CLI::App& app, JobOptions& options) {
  app.add_flag("--detail", options.detail, "Keep times, worker and pid of every single task");
  app.add_option("--isolation", options.isolation,
                 "thread: tasks share processes; process: a crash is one task's failure alone "
                 "(default thread)");
  app.add_option("--tasks-per-process", options.tasks_per_process,
                 "With --isolation process: replace a process after so many (default: never)");
}

absl::StatusOr<PreparedJob> PrepareCommand(const JobOptions& options,
                                           const std::vector<std::string>& tail,
                                           bool stdin_is_terminal) {
  absl::StatusOr<Tail> parsed = ParseTail(tail);
  if (!parsed.ok()) return parsed.status();
  if (parsed->command.empty()) {
    return absl::InvalidArgumentError("there is no command: write it after --, as in -- gzip {}");
  }
  PreparedJob job;
  job.request_id = options.request_id;
  if (absl::Status filled = FillSpec(options, &job.spec); !filled.ok()) return filled;
  absl::StatusOr<client::Command> command = MakeCommand(options, std::move(parsed->command));
  if (!command.ok()) return command.status();
  const absl::StatusOr<CommandTemplate> text = ParseTemplate(*command);
  if (!text.ok()) return text.status();
  job.spec.work = *std::move(command);

  std::vector<SourceText> sources = AllSources(options, *std::move(parsed));
  if (!options.array.empty()) {
    if (!sources.empty()) {
      return absl::InvalidArgumentError("--array and input values exclude each other");
    }
    if (absl::Status filled = FillArray(options.array, &job.spec); !filled.ok()) return filled;
    return job;
  }
  if (sources.empty()) {
    if (!text->has_placeholder()) return job;
    if (stdin_is_terminal) {
      return absl::InvalidArgumentError(
          "the command has a placeholder but there are no input values: give them by ::: or -a, or "
          "to standard input");
    }
    sources.push_back({.linked = false, .is_file = true, .file = "-", .values = {}});
  }
  if (text->highest_source() > sources.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the command has {", text->highest_source(),
                                                   "}, but there are ", sources.size(),
                                                   " input sources"));
  }
  absl::StatusOr<std::unique_ptr<client::InputSource>> inputs = OpenInputs(sources);
  if (!inputs.ok()) return inputs.status();
  job.inputs = *std::move(inputs);
  return job;
}

absl::StatusOr<PreparedJob> PrepareCall(const JobOptions& options,
                                        const client::FunctionInfo& function,
                                        const std::vector<std::string>& tail) {
  absl::StatusOr<Tail> parsed = ParseTail(tail);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->command.empty()) {
    return absl::InvalidArgumentError("a function takes its arguments after :::, not after --");
  }
  if (!options.memory.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--memory: ", options.memory,
        ", but only commands have a limit of memory: functions share that of their executor"));
  }
  PreparedJob job;
  job.request_id = options.request_id;
  if (absl::Status filled = FillSpec(options, &job.spec); !filled.ok()) return filled;
  absl::StatusOr<client::FunctionCall> call = MakeCall(options, function);
  if (!call.ok()) return call.status();
  job.spec.work = *std::move(call);
  absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature(function.signature);
  if (!signature.ok()) return signature.status();

  const std::vector<SourceText> sources = AllSources(options, *std::move(parsed));
  if (!options.array.empty()) {
    if (!sources.empty()) {
      return absl::InvalidArgumentError("--array and input values exclude each other");
    }
    if (absl::Status filled = FillArray(options.array, &job.spec); !filled.ok()) return filled;
    const client::Array& array = *job.spec.array;
    if (absl::Status fits =
            CheckArrayCall(function.name, *signature, array.start, array.step, array.count);
        !fits.ok()) {
      return OptionError("--array", fits);
    }
    return job;
  }
  if (sources.empty()) {
    if (signature->parameters.empty()) return job;
    return absl::InvalidArgumentError(
        absl::StrCat(function.name, " is ", function.signature,
                     ": give its arguments by ::: or -a, separated by commas, or --array"));
  }
  absl::StatusOr<std::unique_ptr<client::InputSource>> inputs = OpenInputs(sources);
  if (!inputs.ok()) return inputs.status();
  job.inputs = std::make_unique<EncodingSource>(*std::move(inputs), function.name,
                                                *std::move(signature), sources.size() == 1);
  return job;
}

client::Result<client::Submitted> Submit(Client& client, PreparedJob& job) {
  if (job.inputs == nullptr) return client.Submit(job.spec, job.request_id);
  return client.Submit(job.spec, *job.inputs, job.request_id);
}

}  // namespace haul::cli
