#include "cli/worker_start.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/child.h"
#include "cli/status.h"
#include "cli/worker_command.h"
#include "common/units.h"
#include "common/utf8.h"
#include "worker/rpc/report_death.h"
#include "worker/worker.h"

namespace haul::cli {
namespace {

// The coordinator takes no more.
constexpr std::uint64_t kMostOutputBytes = std::uint64_t{1} << 30;

struct WorkerStartOptions {
  std::string name;
  std::uint32_t processes = 1;
  std::uint32_t threads = 0;
  std::vector<std::string> functions;
  std::uint32_t task_processes = 0;
  std::string output_limit;
  std::string drain_deadline;
  std::string directory;  // what follows is said by the guardian's command line alone
  std::string incarnation;
  std::string cause;
};

// Where the coordinator is and what opens it, or why that is not known.
struct Access {
  std::string coordinator;
  std::string token_file;
  std::string token;
};

client::Result<Access> FindAccess(const Globals& globals) {
  const absl::StatusOr<Config> config = LoadConfig(globals.config);
  if (!config.ok()) return ToClientStatus(config.status());
  if (config->coordinator.empty()) {
    return client::Status(
        client::ErrorKind::kUnreachable,
        "no coordinator is known: name it with --coordinator or HAUL_COORDINATOR");
  }
  const absl::StatusOr<std::string> token = ReadToken(*config);
  if (!token.ok()) return ToClientStatus(token.status());
  return Access{config->coordinator, config->token_file, *token};
}

void RemoveDirectory(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  if (error) spdlog::warn("{}: {}", directory, error.message());
}

// Of the options with limits that CLI11 cannot check. InvalidArgument names the option.
absl::Status FillLimits(const WorkerStartOptions& options, worker::WorkerOptions* worker) {
  if (!options.functions.empty() && options.threads > worker::kMostExecutorThreads) {
    return absl::InvalidArgumentError(absl::StrCat("--threads: ", options.threads,
                                                   " with --functions; the limit is ",
                                                   worker::kMostExecutorThreads));
  }
  worker->threads = options.threads;
  worker->libraries = options.functions;
  const auto deadline_ms = ParseDeadlineMs("--drain-deadline", options.drain_deadline);
  if (!deadline_ms.ok()) return deadline_ms.status();
  worker->drain_deadline_ms = *deadline_ms;
  if (options.output_limit.empty()) return absl::OkStatus();
  const auto output_bytes = ParseBytes(options.output_limit);
  if (!output_bytes.ok() || *output_bytes == 0 || *output_bytes > kMostOutputBytes) {
    return absl::InvalidArgumentError("--output-limit: '" + options.output_limit +
                                      "', write a size from 1 to 1GiB, like 64MiB");
  }
  worker->output_limit_bytes = *output_bytes;
  return absl::OkStatus();
}

// Becomes the guardian.
int StartWorker(const Globals& globals, const WorkerStartOptions& options) {
  const auto access = FindAccess(globals);
  if (!access.ok()) return Fail(access.status());
  // Here, where the user sees it; the worker proper uses them.
  worker::WorkerOptions limits;
  if (const absl::Status filled = FillLimits(options, &limits); !filled.ok()) return Fail(filled);
  const absl::StatusOr<std::string> directory = MakeTemporaryDirectory("haul-worker");
  if (!directory.ok()) return Fail(directory.status());
  const absl::StatusOr<std::vector<std::string>> words =
      GuardedWorker({.coordinator = access->coordinator,
                     .token_file = access->token_file,
                     .name = options.name,
                     .processes = options.processes,
                     .threads = options.threads,
                     .functions = options.functions,
                     .task_processes = options.task_processes,
                     .output_limit = options.output_limit,
                     .drain_deadline = options.drain_deadline,
                     .directory = *directory,
                     .log_level = globals.log_level,
                     .log_format = globals.log_format});
  if (!words.ok()) {
    RemoveDirectory(*directory);
    return Fail(words.status());
  }
  std::vector<char*> pointers;
  for (const std::string& word : *words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  execv(pointers[0], pointers.data());
  const int error = errno;
  RemoveDirectory(*directory);
  return Fail(kExitTaskFailed, words->front() + ": " + strerror(error));
}

int RunWorkerProper(const Globals& globals, const WorkerStartOptions& options) {
  const auto access = FindAccess(globals);
  if (!access.ok()) return Fail(access.status());
  const absl::StatusOr<std::string> executor = HelperProgram("haul-executor");
  if (!executor.ok()) return Fail(executor.status());
  worker::WorkerOptions worker;
  if (const absl::Status filled = FillLimits(options, &worker); !filled.ok()) return Fail(filled);
  worker.coordinator = access->coordinator;
  worker.token = access->token;
  worker.name = options.name;
  worker.processes = options.processes;
  worker.task_processes = options.task_processes;
  worker.directory = options.directory;
  worker.executor_program = *executor;
  const int status = worker::RunWorker(worker);
  RemoveDirectory(options.directory);
  return status;
}

int ReportDeath(const Globals& globals, const WorkerStartOptions& options) {
  RemoveDirectory(options.directory);
  const auto access = FindAccess(globals);
  if (!access.ok()) return Fail(access.status());
  const absl::Status reported =
      worker::ReportDeath(access->coordinator, access->token, options.incarnation, options.cause);
  return reported.ok() ? kExitSuccess : Fail(reported);
}

void AddWorkerOptions(CLI::App& command, WorkerStartOptions& options) {
  command.add_option("--name", options.name, "A name of its own in the cluster (default HOST-PID)")
      ->check([](const std::string& name) {
        return IsPrintableUtf8(name) ? "" : "has bytes that are no printable UTF-8";
      });
  command
      .add_option("--processes", options.processes, "Processes that functions run in (default 1)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--threads", options.threads,
                  "Threads of each, hence cpus (default: those there are)")
      ->check(CLI::Range(0, 4096));
  command
      .add_option(
          "--task-processes", options.task_processes,
          "Most processes of one command, which is killed beyond that (default 4096, or half of "
          "what the cgroup or the user may have)")
      ->check(CLI::Range(0, 4'194'304));
  command.add_option("--output-limit", options.output_limit,
                     "Most that one command may write, stdout and stderr together (default 1GiB)");
  command.add_option("--drain-deadline", options.drain_deadline,
                     "After SIGTERM or Ctrl-C, what then still runs goes elsewhere: 30s (default: "
                     "never)");
  command.add_option("--functions", options.functions, "A library of functions to serve")
      ->expected(1)
      ->take_all();
}

}  // namespace

void AddWorkerStart(CLI::App& worker, Globals& globals) {
  const auto options = std::make_shared<WorkerStartOptions>();
  CLI::App* start = worker.add_subcommand("start", "Work in the foreground until stopped");
  AddWorkerOptions(*start, *options);
  start->callback(
      [=, &globals] { globals.action = [=, &globals] { return StartWorker(globals, *options); }; });

  // An empty group hides a subcommand: these two are for the guardian.
  CLI::App* run = worker.add_subcommand("run", "The worker proper")->group("");
  AddWorkerOptions(*run, *options);
  run->add_option("--directory", options->directory)->required();
  run->callback([=, &globals] {
    globals.action = [=, &globals] { return RunWorkerProper(globals, *options); };
  });
  CLI::App* report = worker.add_subcommand("report-death", "Tells of a worker's death")->group("");
  report->add_option("--directory", options->directory)->required();
  report->add_option("--incarnation", options->incarnation)->required();
  report->add_option("--cause", options->cause)->required();
  report->callback(
      [=, &globals] { globals.action = [=, &globals] { return ReportDeath(globals, *options); }; });
}

}  // namespace haul::cli
