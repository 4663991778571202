// What the article's programs share: func, which sleeps and says who ran it, and a clock.
//
// Start a cluster for them first, with as many threads as the pool of the program has:
//   haul up --threads 8 --functions build/release/lib/libarticle.so
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <tuple>
#include <vector>

#include "article_function.h"
#include "haul/executor.h"

namespace article {

inline std::int32_t NumberOf(const Run& run) { return std::get<0>(run); }

// How long func sleeps: 2 s as in the article, or what the first argument says, in milliseconds.
inline std::int64_t SleepMs(int argc, char** argv) {
  return argc > 1 ? std::strtoll(argv[1], nullptr, 10) : 2000;
}

inline haul::ExecutorOptions PoolOf(std::uint32_t size) { return {.max_running = size}; }

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }
  void PrintTotal() const { std::printf("total time is %.3f\n", seconds()); }

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

// Who started and who ended, in the order of time.
inline void Print(const std::vector<Run>& runs) {
  std::vector<std::tuple<std::int64_t, const Run*, const char*>> lines;
  for (const Run& run : runs) {
    lines.emplace_back(std::get<3>(run), &run, "starts");
    lines.emplace_back(std::get<4>(run), &run, "ends");
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return std::get<0>(a) < std::get<0>(b); });
  for (const auto& [when, run, what] : lines) {
    std::printf("process %d, thread %d %s\n", std::get<1>(*run), std::get<2>(*run), what);
  }
}

// Runs a program's body against the cluster that the environment names; says what went wrong.
template <typename Body>
int Main(Body body) {
  auto client = haul::Client::Connect();
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().message().c_str());
    return 3;
  }
  try {
    const Stopwatch total;
    body(**client);
    total.PrintTotal();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace article
