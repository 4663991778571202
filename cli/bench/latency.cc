// One task after the other, and many callers with one task each.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "cli/bench/example_functions.h"
#include "cli/bench/floors/floors.h"
#include "cli/bench/part.h"
#include "haul/executor.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

constexpr int kCallers = 64;
// Of jobs that were acknowledged; a million of them at some thousand a second.
constexpr std::chrono::seconds kEndLimit{600};

Measure CallMicroseconds(bool durable, double share) {
  return [=](const BenchContext& context) -> Result<double> {
    std::vector<double> took_us;
    try {
      Executor executor(context.client(), {.volatile_job = !durable});
      executor.Submit(kNoop).Get();
      for (std::uint64_t i = 0; i < context.sizes.calls; ++i) {
        const Stopwatch stopwatch;
        executor.Submit(kNoop).Get();
        took_us.push_back(stopwatch.seconds() * 1e6);
      }
    } catch (const std::exception& error) {
      return Status(ErrorKind::kFailed, error.what());
    }
    return Percentile(std::move(took_us), share);
  };
}

Measure BareMicroseconds(bool durable, double share) {
  return [=](const BenchContext& context) -> Result<double> {
    auto took_us = BareCalls(context.sizes.calls, durable);
    if (!took_us.ok()) return took_us.status();
    return Percentile(*std::move(took_us), share);
  };
}

// Jobs of one task a second, each acknowledged before its caller submits the next.
Result<double> JobsPerSecond(const BenchContext& context) {
  const client::JobSpec spec = NoopJob(1, /*volatile_job=*/false);
  const std::uint64_t jobs = context.sizes.calls * 10;
  const auto before = context.client().Info();
  if (!before.ok()) return before.status();
  std::atomic<std::uint64_t> next = 0;
  std::mutex mutex;
  Status failure;
  const Stopwatch stopwatch;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      while (next.fetch_add(1) < jobs) {
        const auto submitted = context.client().Submit(spec);
        if (submitted.ok()) continue;
        const std::lock_guard lock(mutex);
        failure = submitted.status();
        next = jobs;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  const double seconds = stopwatch.seconds();
  if (!failure.ok()) return failure;
  // What is acknowledged is not done, and would disturb what is measured next.
  const Status ended = AwaitThat("its jobs had ended", kEndLimit, [&]() -> Result<bool> {
    const auto now = context.client().Info();
    if (!now.ok()) return now.status();
    return now->jobs_active <= before->jobs_active;
  });
  if (!ended.ok()) return ended;
  return static_cast<double>(jobs) / seconds;
}

}  // namespace

std::vector<BenchPart> LatencyParts() {
  std::vector<BenchPart> parts;
  const auto add = [&parts](const char* name, bool durable, double share, double to_reach) {
    parts.push_back(
        {.name = name,
         .unit = "us",
         .to_reach = to_reach,
         .less_is_better = true,
         .any_cluster = true,
         .measure = CallMicroseconds(durable, share),
         .against = {{"bare sockets", BareMicroseconds(durable, share), std::nullopt}}});
  };
  add("call_volatile_p50", false, 0.5, 250);
  add("call_volatile_p99", false, 0.99, 900);
  add("call_durable_p50", true, 0.5, 1000);
  add("call_durable_p99", true, 0.99, 4000);
  parts.push_back({.name = "callers",
                   .unit = "jobs/s",
                   .to_reach = 10e3,
                   .any_cluster = true,
                   .measure = JobsPerSecond,
                   .against = {{"commits one by one",
                                [](const BenchContext& context) {
                                  return BareCommits(context.sizes.calls * 10);
                                },
                                std::nullopt}}});
  return parts;
}

}  // namespace haul::cli
