// `haul bench`: how fast this machine runs Haul, beside what it allows at all.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/bench/article.h"
#include "cli/bench/compare.h"
#include "cli/bench/part.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::Result;
using client::Status;

struct RunOptions {
  BenchSizes sizes;
  int repeat = 3;
  std::vector<std::string> only;
};

std::vector<BenchPart> AllParts() {
  std::vector<BenchPart> all;
  for (std::vector<BenchPart> some : {FunctionParts(), CommandParts(), LatencyParts(),
                                      MemoryParts(), ProgramParts(), GrowthParts()}) {
    std::move(some.begin(), some.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<std::string> PartNames() {
  std::vector<std::string> names;
  for (const BenchPart& part : AllParts()) names.push_back(part.name);
  return names;
}

// What was measured of a part, one value for each repetition.
struct Measured {
  std::vector<double> values;
  std::vector<std::vector<double>> against;  // by yardstick
};

Result<Measured> MeasurePart(const BenchPart& part, const BenchContext& context, int repeat) {
  Measured measured;
  measured.against.resize(part.against.size());
  for (int i = 0; i < repeat; ++i) {
    const Result<double> value = part.measure(context);
    if (!value.ok()) return value.status();
    measured.values.push_back(*value);
    for (std::size_t k = 0; k < part.against.size(); ++k) {
      const Result<double> beside = part.against[k].measure(context);
      if (!beside.ok()) return beside.status();
      measured.against[k].push_back(*beside);
    }
  }
  return measured;
}

// In a cluster of its own, or in the one that the user named.
Result<Measured> RunPart(const BenchPart& part, const Globals& globals, const RunOptions& options) {
  BenchContext context{.sizes = options.sizes};
  if (!globals.config.coordinator.empty()) {
    const auto client = Connect(globals);
    if (!client.ok()) return client.status();
    context.connected = client->get();
    return MeasurePart(part, context, options.repeat);
  }
  if (!part.workers.has_value()) return MeasurePart(part, context, options.repeat);
  const int threads = part.threads > 0 ? part.threads : options.sizes.threads;
  const auto cluster = BenchCluster::Start(*part.workers, threads, ExampleFunctions());
  if (!cluster.ok()) return cluster.status();
  context.cluster = cluster->get();
  context.connected = &(*cluster)->client();
  return MeasurePart(part, context, options.repeat);
}

std::vector<double> Ratios(const std::vector<double>& values, const std::vector<double>& against) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / against[i]);
  return ratios;
}

Json NumberOrNull(const std::optional<double>& number) {
  return number.has_value() ? Json(*number) : Json(nullptr);
}

// What runs must have in common to be compared; null where it has no part in it.
Json OptionsAsJson(const Globals& globals, const BenchSizes& sizes) {
  const std::string& coordinator = globals.config.coordinator;
  return {{"tasks", sizes.tasks},
          {"values", sizes.values},
          {"commands", sizes.commands},
          {"calls", sizes.calls},
          {"threads", coordinator.empty() ? Json(sizes.threads) : Json(nullptr)},
          {"volatile", sizes.volatile_jobs},
          {"coordinator", coordinator.empty() ? Json(nullptr) : Json(coordinator)}};
}

void PrintAsJson(const BenchPart& part, const Measured& measured, const Json& options) {
  const auto [least, most] = std::minmax_element(measured.values.begin(), measured.values.end());
  Json against = Json::array();
  for (std::size_t k = 0; k < part.against.size(); ++k) {
    against.push_back({{"name", part.against[k].name},
                       {"median", Median(measured.against[k])},
                       {"ratio", Median(Ratios(measured.values, measured.against[k]))},
                       {"ratio_to_reach", NumberOrNull(part.against[k].to_reach)}});
  }
  PrintJson({{"object", "bench"},
             {"measurement", part.name},
             {"unit", part.unit},
             {"less_is_better", part.less_is_better},
             {"median", Median(measured.values)},
             {"least", *least},
             {"most", *most},
             {"repeat", measured.values.size()},
             {"to_reach", NumberOrNull(part.to_reach)},
             {"against", against},
             {"options", options}});
  std::fflush(stdout);
}

std::string Number(double value) {
  return absl::StrFormat("%.*f", value < 10 ? 3 : value < 1000 ? 1 : 0, value);
}

std::string Goal(const std::optional<double>& to_reach, double reached, bool less_is_better) {
  if (!to_reach.has_value()) return "";
  const bool met = less_is_better ? reached <= *to_reach : reached >= *to_reach;
  return absl::StrCat(Number(*to_reach), met ? "" : "  missed");
}

void AddRows(const BenchPart& part, const Measured& measured, Table& table) {
  const auto row = [&table](const std::string& name, const std::vector<double>& values,
                            const std::string& unit, const std::string& goal) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    table.Add({name, Number(Median(values)), Number(*least), Number(*most), unit, goal});
  };
  row(part.name, measured.values, part.unit,
      Goal(part.to_reach, Median(measured.values), part.less_is_better));
  for (std::size_t k = 0; k < part.against.size(); ++k) {
    const Yardstick& yardstick = part.against[k];
    const std::vector<double> ratios = Ratios(measured.values, measured.against[k]);
    row("  " + yardstick.name, measured.against[k], part.unit, "");
    row("  of it", ratios, "", Goal(yardstick.to_reach, Median(ratios), part.less_is_better));
  }
}

int RunBench(const Globals& globals, const RunOptions& options) {
  Table table({"MEASUREMENT", "MEDIAN", "LEAST", "MOST", "UNIT", "TO REACH"});
  Status status;
  const bool own_cluster = globals.config.coordinator.empty();
  for (BenchPart& part : AllParts()) {
    const bool wanted = options.only.empty() || std::find(options.only.begin(), options.only.end(),
                                                          part.name) != options.only.end();
    if (!wanted || (!own_cluster && !part.any_cluster)) continue;
    LeaveOutWhatDiffers(part, options.sizes, own_cluster);
    const Result<Measured> measured = RunPart(part, globals, options);
    if (!measured.ok()) {
      status = Status(measured.status().kind(),
                      absl::StrCat(part.name, ": ", measured.status().message()));
      break;
    }
    if (globals.json()) {
      PrintAsJson(part, *measured, OptionsAsJson(globals, options.sizes));
    } else {
      AddRows(part, *measured, table);
    }
  }
  if (!globals.json()) table.Print();
  return status.ok() ? kExitSuccess : Fail(status);
}

void AddBenchRun(CLI::App& bench, Globals& globals) {
  CLI::App* run = bench.add_subcommand(
      "run", "Throughput, latency, memory and start-up, each beside its floor on this machine");
  const auto options = std::make_shared<RunOptions>();
  BenchSizes& sizes = options->sizes;
  run->add_option("--tasks", sizes.tasks, "Of the array jobs (default 10000000)")
      ->check(CLI::Range(std::uint64_t{100'000}, std::uint64_t{10'000'000'000}));
  run->add_option("--values", sizes.values,
                  "Tasks with inputs or results of their own (default 1000000)")
      ->check(CLI::Range(1, 100'000'000));
  run->add_option("--commands", sizes.commands, "How many commands (default 5000)")
      ->check(CLI::Range(1, 1'000'000));
  run->add_option("--calls", sizes.calls, "One after the other (default 2000)")
      ->check(CLI::Range(10, 1'000'000));
  run->add_option("--threads", sizes.threads, "Of the worker (default 2)")
      ->check(CLI::Range(1, 1024));
  run->add_option("--repeat", options->repeat, "How often each is measured (default 3)")
      ->check(CLI::Range(1, 1000));
  run->add_flag("--volatile", sizes.volatile_jobs,
                "Jobs that never touch the disk, but in call_*, callers, print_results and "
                "submit_lines");
  run->add_option("--only", options->only, absl::StrJoin(PartNames(), ", "))
      ->delimiter(',')
      ->check(CLI::IsMember(PartNames()));
  run->callback(
      [=, &globals] { globals.action = [=, &globals] { return RunBench(globals, *options); }; });
}

}  // namespace

void AddBench(CLI::App& app, Globals& globals) {
  CLI::App* bench = app.add_subcommand("bench", "How fast this machine runs Haul");
  bench->require_subcommand(1);
  AddBenchRun(*bench, globals);
  AddBenchArticle(*bench, globals);
  AddBenchCompare(*bench, globals);
}

}  // namespace haul::cli
