// `haul coordinator`: start one here, stop one, ask what it does.
#include "coordinator/coordinator.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/foreground.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/served_coordinator.h"
#include "cli/status.h"
#include "common/units.h"

namespace haul::cli {
namespace {

constexpr std::uint64_t kLeastLimitBytes = 1 << 20;
constexpr std::uint64_t kMostVolatileBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMostOutputFileBytes = std::uint64_t{1} << 30;

struct StartOptions {
  std::string listen = "127.0.0.1:7070";
  std::string lease = "15s";
  std::string volatile_limit;
  std::string output_limit;
  bool insecure = false;
};

// The option's value; `limit` stays as it is without one.
absl::Status ReadLimit(const char* option, const std::string& value, std::uint64_t most,
                       std::uint64_t* limit) {
  if (value.empty()) return absl::OkStatus();
  const absl::StatusOr<std::uint64_t> bytes = ParseBytes(value);
  if (!bytes.ok() || *bytes < kLeastLimitBytes || *bytes > most) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": '", value, "', write a size from ",
                                                   FormatBytes(kLeastLimitBytes), " to ",
                                                   FormatBytes(most), ", like 64MiB"));
  }
  *limit = *bytes;
  return absl::OkStatus();
}

absl::StatusOr<CoordinatorOptions> ToCoordinatorOptions(const Globals& globals,
                                                        const StartOptions& options) {
  const absl::StatusOr<Config> config = LoadConfig(globals.config);
  if (!config.ok()) return config.status();
  const absl::StatusOr<std::uint64_t> lease_ms = ParseDurationMs(options.lease);
  if (!lease_ms.ok() || *lease_ms == 0 || *lease_ms > std::numeric_limits<std::int32_t>::max()) {
    return absl::InvalidArgumentError(
        "--lease: write a duration like 15s, at least 1ms and at most 24 days");
  }
  CoordinatorOptions result;
  // The directory of a running `haul up` is taken.
  result.data_dir =
      std::filesystem::absolute(config->is_running_up ? DefaultDataDir() : config->data_dir);
  result.listen = options.listen;
  result.lease_ms = static_cast<std::int64_t>(*lease_ms);
  result.insecure = options.insecure;
  absl::Status limit = ReadLimit("--volatile-limit", options.volatile_limit, kMostVolatileBytes,
                                 &result.volatile_bytes);
  limit.Update(ReadLimit("--output-limit", options.output_limit, kMostOutputFileBytes,
                         &result.output_limit_bytes));
  if (!limit.ok()) return limit;
  return result;
}

int StartCoordinator(const Globals& globals, const StartOptions& options) {
  const absl::StatusOr<CoordinatorOptions> coordinator_options =
      ToCoordinatorOptions(globals, options);
  if (!coordinator_options.ok()) return Fail(coordinator_options.status());
  Foreground foreground;
  const auto coordinator = ServedCoordinator::Start(*coordinator_options);
  if (!coordinator.ok()) return Fail(coordinator.status());
  if (globals.json()) {
    PrintJson({{"object", "ready"},
               {"address", (*coordinator)->address()},
               {"data_directory", coordinator_options->data_dir},
               {"pid", getpid()}});
  } else {
    std::printf("coordinator ready: %s, data directory %s\n", (*coordinator)->address().c_str(),
                coordinator_options->data_dir.c_str());
  }
  std::fflush(stdout);
  foreground.Wait({(*coordinator)->ended_descriptor()});
  const absl::Status ended = (*coordinator)->Stop();
  return ended.ok() ? kExitSuccess : Fail(ended);
}

int StopCoordinator(const Globals& globals) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const client::Status stopped = (*client)->StopCoordinator();
  if (!stopped.ok()) return Fail(stopped);
  if (globals.json()) {
    PrintJson({{"object", "stopped"}, {"address", (*client)->address()}});
  } else {
    std::printf("the coordinator at %s stops\n", (*client)->address().c_str());
  }
  return kExitSuccess;
}

int ShowInfo(const Globals& globals) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto info = (*client)->Info();
  if (!info.ok()) return Fail(info.status());
  if (globals.json()) {
    PrintJson(ToJson(*info));
    return kExitSuccess;
  }
  const auto line = [](const char* key, const std::string& value) {
    std::printf("%-16s %s\n", key, value.c_str());
  };
  line("address", info->address);
  line("version", info->version);
  line("pid", std::to_string(info->pid));
  line("data directory", info->data_directory);
  line("epoch", std::to_string(info->epoch));
  line("started", LocalTime(info->started_unix_us));
  line("jobs active", std::to_string(info->jobs_active));
  line("jobs ended", std::to_string(info->jobs_ended));
  line("workers", std::to_string(info->workers_connected) +
                      (info->adopting ? " (waiting for those known before the restart)" : ""));
  line("cpus", FormatCpus(info->cpus_milli));
  line("tasks ready", std::to_string(info->tasks_ready));
  line("tasks assigned", std::to_string(info->tasks_assigned));
  line("memory", FormatBytes(info->resident_bytes));
  return kExitSuccess;
}

}  // namespace

void AddCoordinator(CLI::App& app, Globals& globals) {
  CLI::App* coordinator = app.add_subcommand("coordinator", "The coordinator: start, stop, info");
  coordinator->require_subcommand(1);

  const auto options = std::make_shared<StartOptions>();
  CLI::App* start = coordinator->add_subcommand("start", "Serve in the foreground until stopped");
  start->add_option("--listen", options->listen,
                    "HOST:PORT, port 0 for any (default 127.0.0.1:7070)");
  start->add_option("--lease", options->lease,
                    "How long a silent worker keeps what it runs (default 15s)");
  start->add_option("--volatile-limit", options->volatile_limit,
                    "Most that volatile jobs may fill of the memory (default 1GiB)");
  start->add_option("--output-limit", options->output_limit,
                    "Most that one result or output may have (default 1GiB)");
  start->add_flag("--insecure", options->insecure,
                  "Allow an address other than loopback, without encryption");
  start->callback([=, &globals] {
    globals.action = [=, &globals] { return StartCoordinator(globals, *options); };
  });
  CLI::App* stop =
      coordinator->add_subcommand("stop", "End it cleanly; jobs stay in its data directory");
  stop->callback([&globals] { globals.action = [&globals] { return StopCoordinator(globals); }; });
  CLI::App* info = coordinator->add_subcommand("info", "What it does and holds");
  info->callback([&globals] { globals.action = [&globals] { return ShowInfo(globals); }; });
}

}  // namespace haul::cli
