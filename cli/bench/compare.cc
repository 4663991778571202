#include "cli/bench/compare.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/part.h"
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

// Rows of one name are its repetitions.
std::vector<BenchValue> OfGoogleBenchmark(const Json& document) {
  std::vector<BenchValue> values;
  std::map<std::string, std::vector<double>> times;
  for (const Json& one : document.at("benchmarks")) {
    const std::string name = one.at("name").get<std::string>();
    std::vector<double>& repetitions = times[name];
    repetitions.push_back(one.at("real_time").get<double>());
    if (repetitions.size() > 1) continue;
    values.push_back({.measurement = name,
                      .unit = one.at("time_unit").get<std::string>(),
                      .less_is_better = true});
  }
  for (BenchValue& value : values) value.median = Median(times[value.measurement]);
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
    if (!one.contains("options")) continue;
    for (const auto& option : one["options"].items()) {
      values.back().options[option.key()] = option.value().dump();
    }
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

Status CheckAlike(const BenchValue& before, const BenchValue& after) {
  std::map<std::string, std::pair<std::string, std::string>> fields;
  fields["unit"] = {before.unit, after.unit};
  for (const auto& [name, value] : before.options) fields[name].first = value;
  for (const auto& [name, value] : after.options) fields[name].second = value;
  for (const auto& [name, values] : fields) {
    const auto& [then, now] = values;
    if (then == now) continue;
    return Status(
        ErrorKind::kInvalid,
        absl::StrCat(after.measurement, ": ", name, " is ", then.empty() ? "not said" : then,
                     " before and ", now.empty() ? "not said" : now, " after"));
  }
  return Status();
}

std::string WhichIsBetter(const BenchChange& change) {
  const double before = change.before.median;
  const double after = change.after.median;
  if (before == after) return "-";
  return change.after.less_is_better == (after < before) ? "after" : "before";
}

int RunCompare(const Globals& globals, const std::string& before, const std::string& after) {
  const auto old_values = ReadFile(before);
  if (!old_values.ok()) return Fail(old_values.status());
  const auto new_values = ReadFile(after);
  if (!new_values.ok()) return Fail(new_values.status());
  const auto changes = CompareBenchValues(*old_values, *new_values);
  if (!changes.ok()) return Fail(changes.status());
  Table table({"MEASUREMENT", "BEFORE", "AFTER", "UNIT", "AFTER/BEFORE", "WHICH IS BETTER"});
  for (const BenchChange& change : *changes) {
    const BenchValue& now = change.after;
    if (globals.json()) {
      PrintJson({{"object", "bench_compare"},
                 {"measurement", now.measurement},
                 {"unit", now.unit},
                 {"before", change.before.median},
                 {"after", now.median},
                 {"ratio", change.ratio.has_value() ? Json(*change.ratio) : Json(nullptr)},
                 {"less_is_better", now.less_is_better}});
    } else {
      table.Add({now.measurement, absl::StrFormat("%.6g", change.before.median),
                 absl::StrFormat("%.6g", now.median), now.unit,
                 change.ratio.has_value() ? absl::StrFormat("%.3f", *change.ratio) : "-",
                 WhichIsBetter(change)});
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

Result<std::vector<BenchChange>> CompareBenchValues(const std::vector<BenchValue>& before,
                                                    const std::vector<BenchValue>& after) {
  std::vector<BenchChange> changes;
  for (const BenchValue& now : after) {
    const auto then = std::find_if(before.begin(), before.end(), [&now](const BenchValue& one) {
      return one.measurement == now.measurement;
    });
    if (then == before.end()) continue;
    if (Status alike = CheckAlike(*then, now); !alike.ok()) return alike;
    BenchChange change{.before = *then, .after = now};
    if (then->median > 0) change.ratio = now.median / then->median;
    changes.push_back(std::move(change));
  }
  return changes;
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
