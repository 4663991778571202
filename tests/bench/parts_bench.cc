// What the parts cost that every task passes through, without wires and disks:
//   haul_parts_bench [--benchmark_filter=REGEX]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/interval_set.h"
#include "common/packed_bytes.h"
#include "common/wire/convert.h"
#include "tests/bench/core_world.h"

namespace haul {
namespace {

void CountItems(benchmark::State& bench, std::uint64_t per_iteration) {
  bench.SetItemsProcessed(static_cast<std::int64_t>(per_iteration) *
                          static_cast<std::int64_t>(bench.iterations()));
}

// ---- interval sets ----

// Runs of so many tasks leave a job's ready ones in order and are done in another.
void BM_IntervalSetPassesRuns(benchmark::State& bench) {
  constexpr std::uint64_t kTasks = 1'000'000;
  const auto run = static_cast<std::uint64_t>(bench.range(0));
  while (bench.KeepRunning()) {
    IntervalSet ready({0, kTasks});
    IntervalSet done;
    std::deque<TaskRange> running;
    while (!ready.empty() || !running.empty()) {
      if (!ready.empty() && running.size() < 16) {
        const TaskRange next = ready.First(run);
        ready.Remove(next);
        // The newest ends first, now and then: the worst order that a few workers make.
        if (running.size() % 3 == 2) {
          running.push_front(next);
        } else {
          running.push_back(next);
        }
        continue;
      }
      done.Add(running.front());
      running.pop_front();
    }
    HAUL_CHECK(done.size() == kTasks && done.interval_count() == 1);
  }
  CountItems(bench, kTasks);
}
BENCHMARK(BM_IntervalSetPassesRuns)->Arg(1)->Arg(1000)->Unit(benchmark::kMillisecond);

// ---- outcomes ----

Outcome Results(std::uint64_t count, std::size_t bytes) {
  Outcome outcome;
  outcome.tasks = {0, count};
  for (std::uint64_t i = 0; i < count; ++i) outcome.results.Append(std::string(bytes, 'r'));
  return outcome;
}

void BM_OutcomeOverTheWire(benchmark::State& bench) {
  const auto tasks = static_cast<std::uint64_t>(bench.range(0));
  const Outcome outcome = Results(tasks, 8);
  while (bench.KeepRunning()) {
    v1::Outcome sent;
    wire::ToWire(outcome, &sent);
    v1::Outcome arrived;
    HAUL_CHECK(arrived.ParseFromString(sent.SerializeAsString()));
    auto read = wire::FromWire(std::move(arrived));
    HAUL_CHECK(read.ok() && read->tasks.count == tasks);
    benchmark::DoNotOptimize(read);
  }
  CountItems(bench, tasks);
}
BENCHMARK(BM_OutcomeOverTheWire)->Arg(1)->Arg(1024)->Arg(16384);

// ---- the coordinator's core ----

void BM_CoreRunsAJob(benchmark::State& bench) {
  const auto workers = static_cast<std::uint64_t>(bench.range(0));
  const auto task_ns = static_cast<std::uint64_t>(bench.range(1));
  const std::uint64_t tasks =
      std::min<std::uint64_t>(1'000'000, workers * 10'000'000'000 / task_ns);
  std::uint64_t messages = 0;
  while (bench.KeepRunning()) {
    CoreWorld world(workers);
    world.Run(tasks, task_ns);
    messages += world.messages();
  }
  CountItems(bench, tasks);
  bench.counters["messages"] =
      benchmark::Counter(static_cast<double>(messages), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_CoreRunsAJob)
    ->ArgNames({"workers", "task_ns"})
    ->Args({1, 100})
    ->Args({1, 1'000'000})
    ->Args({100, 100})
    ->Args({100, 1'000'000})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace haul
