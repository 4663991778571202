// `haul bench compare`: two outputs of `haul bench run`, or of Google Benchmark, side by side.
#pragma once

#include <CLI/CLI.hpp>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/globals.h"

namespace haul::cli {

struct BenchValue {
  std::string measurement;
  std::string unit;
  double median = 0;
  bool less_is_better = false;
  std::map<std::string, std::string> options;  // of the run, as JSON says them
};

struct BenchChange {
  BenchValue before;
  BenchValue after;
  std::optional<double> ratio;  // after / before; none where there was nothing before
};

// From the JSON lines of `haul --output json bench run`, or the one JSON object of a program of
// tests/bench with --benchmark_format=json. kInvalid: it is neither.
client::Result<std::vector<BenchValue>> ReadBenchValues(std::istream& input);

// What both have. kInvalid: they were measured in different units or with different options.
client::Result<std::vector<BenchChange>> CompareBenchValues(const std::vector<BenchValue>& before,
                                                            const std::vector<BenchValue>& after);

void AddBenchCompare(CLI::App& bench, Globals& globals);

}  // namespace haul::cli
