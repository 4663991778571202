// haul_sim: runs seeds of the simulated cluster, or shows one; and shows that planted bugs are
// found.
//   haul_sim --seed 42 --trace          what happens in it, line by line
//   haul_sim --from 1 --seeds 10000     all threads of this machine
//   haul_sim --minutes 60               as many seeds as that takes, and what they covered
//   haul_sim --bug kLeaseEndsEarly      with that defect, until it is found
//   haul_sim --bugs                     each of them, in at most 240 s of processor time
// Exits with 1 where a promise was broken, or a planted bug was not found.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/sim/planted_bugs.h"
#include "tests/sim/sim.h"

namespace haul::sim {
namespace {

struct Options {
  std::uint64_t from = 1;
  std::uint64_t seeds = 1000;
  std::int64_t minutes = 0;
  bool one = false;
  bool trace = false;
  bool all_bugs = false;
  PlantedBug bug = PlantedBug::kNone;
};

int Usage() {
  std::cerr << "usage: haul_sim [--seed N [--trace]] | [--from N] [--seeds N | --minutes N] | "
               "[--bug NAME] | --bugs\n";
  return 2;
}

// The end of what happened, and how to see the rest.
void PrintFailure(std::uint64_t seed, const std::vector<std::string>& violations) {
  std::cout << "seed " << seed << " of commit " << CommitOfTheTree() << " breaks a promise:\n";
  for (const std::string& violation : violations) std::cout << "  " << violation << "\n";
  std::ostringstream trace;
  RunSeed(seed, &trace);
  std::istringstream lines(trace.str());
  std::deque<std::string> last;
  constexpr std::size_t kShown = 30;
  for (std::string line; std::getline(lines, line);) {
    last.push_back(line);
    if (last.size() > kShown) last.pop_front();
  }
  std::cout << "its last " << last.size() << " events (all: haul_sim --seed " << seed
            << " --trace):\n";
  for (const std::string& line : last) std::cout << "  " << line << "\n";
}

int RunMany(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> next{options.from};
  std::mutex mutex;
  Figures all;
  int failed = 0;
  const auto work = [&] {
    while (true) {
      const std::uint64_t seed = next++;
      const bool over = options.minutes > 0 ? std::chrono::steady_clock::now() - began >=
                                                  std::chrono::minutes(options.minutes)
                                            : seed >= options.from + options.seeds;
      if (over) return;
      const Result result = RunSeed(seed);
      const std::lock_guard lock(mutex);
      all += result.figures;
      if (result.violations.empty()) continue;
      ++failed;
      PrintFailure(seed, result.violations);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
  if (RunSeed(options.from).trace_hash != RunSeed(options.from).trace_hash) {
    ++failed;
    std::cout << "seed " << options.from << " is another history the second time\n";
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << all << "\n";
  PrintCoverage(std::cout, all);
  std::cout << all.seeds << " seeds in " << took.count() << " s, " << failed << " failed\n";
  return failed == 0 && all.seeds > 0 ? 0 : 1;
}

int RunOne(const Options& options) {
  const Result result = RunSeed(options.from, options.trace ? &std::cout : nullptr);
  std::cout << result.figures << "; trace hash " << result.trace_hash << "\n";
  if (result.violations.empty()) return 0;
  if (!options.trace) PrintFailure(options.from, result.violations);
  for (const std::string& violation : result.violations) std::cout << violation << "\n";
  return 1;
}

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--trace") {
      options->trace = true;
      continue;
    }
    if (option == "--bugs") {
      options->all_bugs = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const char* value = argv[++i];
    if (option == "--bug") {
      options->bug = PlantedBugOfName(value);
      if (options->bug == PlantedBug::kNone) return false;
      continue;
    }
    char* end = nullptr;
    const std::uint64_t number = std::strtoull(value, &end, 10);
    if (end == value || *end != '\0') return false;
    if (option == "--seed") {
      options->from = number;
      options->one = true;
    } else if (option == "--from") {
      options->from = number;
    } else if (option == "--seeds") {
      options->seeds = number;
    } else if (option == "--minutes") {
      options->minutes = static_cast<std::int64_t>(number);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace haul::sim

int main(int argc, char** argv) {
  haul::sim::Options options;
  if (!haul::sim::Parse(argc, argv, &options)) return haul::sim::Usage();
  if (options.all_bugs) return haul::sim::FindAllPlantedBugs();
  if (options.bug != haul::PlantedBug::kNone) return haul::sim::FindPlantedBug(options.bug);
  return options.one ? RunOne(options) : RunMany(options);
}
