// `haul bench`: how fast this machine runs Haul.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "cli/bench_article.h"
#include "cli/bench_cluster.h"
#include "cli/child.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;
using SteadyClock = std::chrono::steady_clock;

struct BenchOptions {
  std::uint64_t tasks = 10'000'000;
  std::uint64_t commands = 5'000;
  std::vector<std::string> functions;
  std::string function = "noop.v1";
  int threads = 2;
  int repeat = 3;
  bool volatile_job = false;
  std::vector<std::string> only;
};

struct Measurement {
  std::string name;
  std::string unit;
  std::vector<double> values;
};

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// The seconds from submit to the end of a job whose tasks must all succeed.
Result<double> TimeJob(Client& client, const client::JobSpec& spec) {
  const auto start = SteadyClock::now();
  const auto submitted = client.Submit(spec);
  if (!submitted.ok()) return submitted.status();
  const auto ended = client.Wait(submitted->job);
  if (!ended.ok()) return ended.status();
  const double seconds = SecondsSince(start);
  if (ended->state != client::JobState::kSucceeded) {
    return Status(ErrorKind::kFailed, "a measured job went wrong: " + DescribeCounts(*ended));
  }
  return seconds;
}

client::JobSpec CommandJob(std::uint64_t tasks, bool volatile_job) {
  client::JobSpec spec;
  spec.work = client::Command{.arguments = {"/bin/true"}, .directory = "/"};
  spec.array = client::Array{.start = 0, .step = 1, .count = tasks};
  spec.volatile_job = volatile_job;
  return spec;
}

// Tasks a second of an array job of a function that does nothing.
Result<double> MeasureFunctions(Client& client, const BenchOptions& options) {
  const auto functions = client.Functions();
  if (!functions.ok()) return functions.status();
  const auto noop = std::find_if(
      functions->begin(), functions->end(),
      [&options](const client::FunctionInfo& info) { return info.name == options.function; });
  if (noop == functions->end()) {
    return Status(ErrorKind::kNotFound, "no worker serves the function \"" + options.function +
                                            "\": name its library with --functions");
  }
  client::JobSpec spec;
  spec.work = client::FunctionCall{.name = noop->name, .signature = noop->signature};
  spec.array = client::Array{.start = 0, .step = 1, .count = options.tasks};
  spec.volatile_job = options.volatile_job;
  const auto seconds = TimeJob(client, spec);
  if (!seconds.ok()) return seconds.status();
  return static_cast<double>(options.tasks) / *seconds;
}

Result<double> MeasureCommands(Client& client, const BenchOptions& options) {
  const auto seconds = TimeJob(client, CommandJob(options.commands, options.volatile_job));
  if (!seconds.ok()) return seconds.status();
  return static_cast<double>(options.commands) / *seconds;
}

// The same number of /bin/true by xargs, which captures nothing.
Result<double> MeasureXargs(const BenchOptions& options) {
  const std::string script =
      absl::StrFormat("seq %d | xargs -P%d -n1 /bin/true", options.commands, options.threads);
  const auto start = SteadyClock::now();
  absl::StatusOr<Child> child = StartChild({"/bin/sh", "-c", script}, /*read_output=*/false);
  if (!child.ok()) return ToClientStatus(child.status());
  if (WaitForChild(*child) != 0) return Status(ErrorKind::kFailed, "xargs failed");
  return static_cast<double>(options.commands) / SecondsSince(start);
}

// How much the coordinator grows by an array job that waits, in MiB.
Result<double> MeasureMemory(const BenchOptions& options) {
  auto cluster = BenchCluster::Start(/*workers=*/0, options.threads, {});
  if (!cluster.ok()) return cluster.status();
  Client& client = (*cluster)->client();
  const auto idle = client.Info();
  if (!idle.ok()) return idle.status();
  const auto submitted = client.Submit(CommandJob(options.tasks, options.volatile_job));
  if (!submitted.ok()) return submitted.status();
  const auto loaded = client.Info();
  if (!loaded.ok()) return loaded.status();
  if (loaded->tasks_ready != options.tasks) {
    return Status(ErrorKind::kFailed, "the tasks do not wait as they should");
  }
  constexpr double kMiB = 1 << 20;
  return (static_cast<double>(loaded->resident_bytes) - static_cast<double>(idle->resident_bytes)) /
         kMiB;
}

// From the start of `haul up` to the first task's result, in milliseconds.
Result<double> MeasureStartUp(const BenchOptions& options) {
  const auto start = SteadyClock::now();
  auto cluster = BenchCluster::Start(/*workers=*/1, options.threads, {});
  if (!cluster.ok()) return cluster.status();
  const auto seconds = TimeJob((*cluster)->client(), CommandJob(1, options.volatile_job));
  if (!seconds.ok()) return seconds.status();
  return SecondsSince(start) * 1000;
}

class Bench {
 public:
  Bench(const Globals& globals, BenchOptions options)
      : globals_(globals), options_(std::move(options)) {}

  Status Run() {
    if (Status status = RunInCluster(); !status.ok()) return status;
    if (!globals_.config.coordinator.empty()) return Status();
    if (Status status = Measure("memory", "coordinator_growth_queued_tasks", "MiB",
                                [this] { return MeasureMemory(options_); });
        !status.ok()) {
      return status;
    }
    return Measure("startup", "up_to_first_result", "ms",
                   [this] { return MeasureStartUp(options_); });
  }

  void Print() const {
    Table table({"MEASUREMENT", "MEDIAN", "LEAST", "MOST", "UNIT"});
    for (const Measurement& one : results_) {
      const auto [least, most] = std::minmax_element(one.values.begin(), one.values.end());
      if (globals_.json()) {
        PrintJson({{"object", "bench"},
                   {"measurement", one.name},
                   {"unit", one.unit},
                   {"median", Median(one.values)},
                   {"least", *least},
                   {"most", *most},
                   {"repeat", one.values.size()}});
      } else {
        const auto text = [](double value) {
          return absl::StrFormat("%.*f", value < 1000 ? 1 : 0, value);
        };
        table.Add({one.name, text(Median(one.values)), text(*least), text(*most), one.unit});
      }
    }
    if (!globals_.json()) table.Print();
  }

 private:
  bool Wanted(const std::string& part) const {
    return options_.only.empty() ||
           std::find(options_.only.begin(), options_.only.end(), part) != options_.only.end();
  }

  Status Measure(const std::string& part, const std::string& name, const std::string& unit,
                 const std::function<Result<double>()>& once) {
    if (!Wanted(part)) return Status();
    Measurement measurement{name, unit, {}};
    for (int i = 0; i < options_.repeat; ++i) {
      const Result<double> value = once();
      if (!value.ok()) return value.status();
      measurement.values.push_back(*value);
    }
    results_.push_back(std::move(measurement));
    return Status();
  }

  // What one cluster, or the one that --coordinator names, is measured by.
  Status RunInCluster() {
    if (!Wanted("functions") && !Wanted("commands")) return Status();
    std::unique_ptr<BenchCluster> cluster;
    std::unique_ptr<Client> connected;
    if (globals_.config.coordinator.empty()) {
      auto started = BenchCluster::Start(/*workers=*/1, options_.threads, options_.functions);
      if (!started.ok()) return started.status();
      cluster = *std::move(started);
    } else {
      auto client = Connect(globals_);
      if (!client.ok()) return client.status();
      connected = *std::move(client);
    }
    Client& client = cluster != nullptr ? cluster->client() : *connected;
    if (Status status = Measure("functions", "function_tasks", "tasks/s",
                                [&] { return MeasureFunctions(client, options_); });
        !status.ok()) {
      return status;
    }
    if (Status status = Measure("commands", "commands", "tasks/s",
                                [&] { return MeasureCommands(client, options_); });
        !status.ok()) {
      return status;
    }
    return Measure("commands", "xargs_for_comparison", "tasks/s",
                   [this] { return MeasureXargs(options_); });
  }

  const Globals& globals_;
  const BenchOptions options_;
  std::vector<Measurement> results_;
};

int RunBench(const Globals& globals, BenchOptions options) {
  if (options.functions.empty()) options.functions = ExampleFunctions();
  Bench bench(globals, std::move(options));
  const Status status = bench.Run();
  bench.Print();
  return status.ok() ? kExitSuccess : Fail(status);
}

}  // namespace

void AddBench(CLI::App& app, Globals& globals) {
  CLI::App* bench = app.add_subcommand("bench", "How fast this machine runs Haul");
  bench->require_subcommand(1);
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* throughput = bench->add_subcommand(
      "throughput", "Tasks a second, memory of what is queued, time to a first result");
  throughput->add_option("--tasks", options->tasks, "Of the array jobs (default 10000000)")
      ->check(CLI::PositiveNumber);
  throughput->add_option("--commands", options->commands, "How many /bin/true (default 5000)")
      ->check(CLI::PositiveNumber);
  throughput->add_option("--functions", options->functions, "The library with the function")
      ->expected(1)
      ->take_all();
  throughput->add_option("--function", options->function,
                         "One that does nothing (default noop.v1)");
  throughput->add_option("--threads", options->threads, "Of the worker (default 2)")
      ->check(CLI::Range(1, 1024));
  throughput->add_option("--repeat", options->repeat, "How often each is measured (default 3)")
      ->check(CLI::Range(1, 1000));
  throughput->add_flag("--volatile", options->volatile_job, "Jobs that never touch the disk");
  throughput->add_option("--only", options->only, "functions, commands, memory, startup")
      ->delimiter(',')
      ->check(CLI::IsMember({"functions", "commands", "memory", "startup"}));
  throughput->callback(
      [=, &globals] { globals.action = [=, &globals] { return RunBench(globals, *options); }; });
  AddBenchArticle(*bench, globals);
}

}  // namespace haul::cli
