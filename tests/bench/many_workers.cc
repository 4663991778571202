// What many connected workers cost a coordinator: its processor time while they are idle, and how
// fast one job passes over all of them.
//
//   HAUL_TEST_BIN_DIR=DIR haul_many_workers_bench [TASKS] [WORKERS...]    (100000 tasks; 1 1000)
//
// The workers are light ones (tests/chaos/light_workers.h): real sessions, all in this process,
// which end what they get at once; so the figures are of coordinator and this process together.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/cluster.h"
#include "tests/chaos/light_workers.h"

namespace haul::chaos {
namespace {

double ProcessorSeconds(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string word;
  double ticks = 0;
  for (int field = 1; field <= 15 && stat >> word; ++field) {
    if (field >= 14) ticks += std::atof(word.c_str());
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

void WaitUntil(const std::function<bool()>& done) {
  while (!done()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void Measure(std::uint64_t tasks, int count) {
  Cluster cluster;
  cluster.StartCoordinator();
  std::string token;
  std::ifstream(cluster.data_dir() + "/token") >> token;
  const auto pid = static_cast<pid_t>((*cluster.client().Info()).pid);
  const auto start = std::chrono::steady_clock::now();
  LightWorkers workers(cluster.address(), token, count);
  WaitUntil([&] { return workers.totals().welcome == count; });
  const double joined = Seconds(start);

  constexpr std::chrono::seconds kIdle{10};
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const double before = ProcessorSeconds(pid);
  std::this_thread::sleep_for(kIdle);
  const double idle = (ProcessorSeconds(pid) - before) / static_cast<double>(kIdle.count());

  workers.LetTasksEnd();
  client::JobSpec spec;
  spec.work = client::Command{.arguments = {"true"}, .directory = "/"};
  spec.array = client::Array{.start = 0, .step = 1, .count = tasks};
  const auto submitted = std::chrono::steady_clock::now();
  const auto job = cluster.client().Submit(spec);
  if (!job.ok() || !cluster.client().Wait(job->job).ok()) {
    std::fprintf(stderr, "the job failed\n");
    return;
  }
  std::printf("%5d workers: joined in %.2f s, idle %.1f%% of a core, %.0f tasks/s\n", count, joined,
              idle * 100, static_cast<double>(tasks) / Seconds(submitted));
  std::fflush(stdout);
}

}  // namespace
}  // namespace haul::chaos

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::err);
  const std::uint64_t tasks = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  std::vector<int> counts;
  for (int i = 2; i < argc; ++i) counts.push_back(std::atoi(argv[i]));
  if (counts.empty()) counts = {1, 1000};
  for (const int count : counts) haul::chaos::Measure(tasks, count);
}
