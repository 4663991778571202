// haul_sim: runs seeds of the simulated cluster, or shows one.
//   haul_sim --seed 42 --trace      what happened in it, line by line
//   haul_sim --from 1 --seeds 10000
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>

#include "tests/sim/sim.h"

namespace {

int Usage() {
  std::cerr << "usage: haul_sim [--seed N [--trace]] | [--from N] [--seeds N]\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t from = 1;
  std::uint64_t seeds = 1000;
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--trace") {
      trace = true;
      continue;
    }
    if (i + 1 == argc) return Usage();
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(argv[++i], &end, 10);
    if (end == argv[i] || *end != '\0') return Usage();
    if (option == "--seed") {
      from = value;
      seeds = 1;
    } else if (option == "--from") {
      from = value;
    } else if (option == "--seeds") {
      seeds = value;
    } else {
      return Usage();
    }
  }
  haul::sim::Figures all;
  int failed = 0;
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t seed = from; seed < from + seeds; ++seed) {
    const haul::sim::Result result =
        haul::sim::RunSeed(seed, haul::sim::PlantedBug::kNone, trace ? &std::cout : nullptr);
    all += result.figures;
    if (result.violations.empty()) continue;
    ++failed;
    std::cout << "seed " << seed << ":\n";
    for (const std::string& violation : result.violations) std::cout << "  " << violation << "\n";
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << seeds << " seeds in " << took.count() << " s, " << failed << " failed; " << all
            << "\n";
  return failed == 0 ? 0 : 1;
}
