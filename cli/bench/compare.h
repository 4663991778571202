// `haul bench compare`: two outputs of `haul bench run`, or of Google Benchmark, side by side.
#pragma once

#include <CLI/CLI.hpp>
#include <istream>
#include <string>
#include <vector>

#include "cli/globals.h"

namespace haul::cli {

struct BenchValue {
  std::string measurement;
  std::string unit;
  double median = 0;
  bool less_is_better = false;
};

// From the JSON lines of `haul --output json bench run`, or the one JSON object of a program of
// tests/bench with --benchmark_format=json. kInvalid: it is neither.
client::Result<std::vector<BenchValue>> ReadBenchValues(std::istream& input);

void AddBenchCompare(CLI::App& bench, Globals& globals);

}  // namespace haul::cli
