#include "cli/bench/compare.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/format.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

Status NotABench() {
  return Status(
      ErrorKind::kInvalid,
      "neither the output of `haul --output json bench run` nor JSON of Google Benchmark");
}

std::vector<BenchValue> OfGoogleBenchmark(const Json& document) {
  std::vector<BenchValue> values;
  for (const Json& one : document.at("benchmarks")) {
    values.push_back({one.at("name").get<std::string>(), one.at("time_unit").get<std::string>(),
                      one.at("real_time").get<double>(), /*less_is_better=*/true});
  }
  return values;
}

std::vector<BenchValue> OfHaul(const std::string& text) {
  std::vector<BenchValue> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const Json one = Json::parse(line);
    if (one.at("object") != "bench") continue;
    values.push_back({one.at("measurement").get<std::string>(), one.at("unit").get<std::string>(),
                      one.at("median").get<double>(), one.at("less_is_better").get<bool>()});
  }
  return values;
}

Result<std::vector<BenchValue>> ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(ErrorKind::kInvalid, path + " cannot be read");
  Result<std::vector<BenchValue>> values = ReadBenchValues(file);
  if (values.ok()) return values;
  return Status(ErrorKind::kInvalid, absl::StrCat(path, ": ", values.status().message()));
}

int RunCompare(const Globals& globals, const std::string& before, const std::string& after) {
  const auto old_values = ReadFile(before);
  if (!old_values.ok()) return Fail(old_values.status());
  const auto new_values = ReadFile(after);
  if (!new_values.ok()) return Fail(new_values.status());
  Table table({"MEASUREMENT", "BEFORE", "AFTER", "UNIT", "AFTER/BEFORE", "WHICH IS BETTER"});
  for (const BenchValue& now : *new_values) {
    const auto then =
        std::find_if(old_values->begin(), old_values->end(),
                     [&now](const BenchValue& one) { return one.measurement == now.measurement; });
    if (then == old_values->end()) continue;
    const double ratio = now.median / then->median;
    if (globals.json()) {
      PrintJson({{"object", "bench_compare"},
                 {"measurement", now.measurement},
                 {"unit", now.unit},
                 {"before", then->median},
                 {"after", now.median},
                 {"ratio", ratio},
                 {"less_is_better", now.less_is_better}});
    } else {
      table.Add({now.measurement, absl::StrFormat("%.6g", then->median),
                 absl::StrFormat("%.6g", now.median), now.unit, absl::StrFormat("%.3f", ratio),
                 ratio == 1                          ? "-"
                 : now.less_is_better == (ratio < 1) ? "after"
                                                     : "before"});
    }
  }
  if (!globals.json()) table.Print();
  return kExitSuccess;
}

}  // namespace

Result<std::vector<BenchValue>> ReadBenchValues(std::istream& input) {
  const std::string text(std::istreambuf_iterator<char>(input), {});
  try {
    const Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    std::vector<BenchValue> values = document.is_object() && document.contains("benchmarks")
                                         ? OfGoogleBenchmark(document)
                                         : OfHaul(text);
    if (values.empty()) return NotABench();
    return values;
  } catch (const Json::exception&) {
    return NotABench();
  }
}

void AddBenchCompare(CLI::App& bench, Globals& globals) {
  CLI::App* compare = bench.add_subcommand(
      "compare", "What two outputs of `haul --output json bench run` have in common");
  const auto before = std::make_shared<std::string>();
  const auto after = std::make_shared<std::string>();
  compare->add_option("BEFORE", *before, "A file")->required();
  compare->add_option("AFTER", *after, "A file")->required();
  compare->callback([=, &globals] {
    globals.action = [=, &globals] { return RunCompare(globals, *before, *after); };
  });
}

}  // namespace haul::cli
