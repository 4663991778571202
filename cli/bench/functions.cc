// Functions by the million: array jobs, inputs and results of their own, futures.
#include <exception>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/bench/example_functions.h"
#include "cli/bench/floors/floors.h"
#include "cli/bench/part.h"
#include "haul/executor.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

constexpr std::uint64_t kAddend = 1;

Result<double> MeasureArray(const BenchContext& context) {
  const std::uint64_t tasks = context.sizes.tasks;
  const auto seconds = TimeJob(context.client(), NoopJob(tasks, context.sizes.volatile_jobs));
  if (!seconds.ok()) return seconds.status();
  return static_cast<double>(tasks) / *seconds;
}

// Inputs of 16 bytes, results of 8; from submit until the last result was read back.
Result<double> MeasureValues(const BenchContext& context) {
  client::JobSpec spec;
  spec.work = client::FunctionCall{.name = kAdd.name(), .signature = decltype(kAdd)::Signature()};
  spec.volatile_job = context.sizes.volatile_jobs;
  MadeSource inputs(context.sizes.values,
                    [](std::uint64_t i) { return decltype(kAdd)::EncodeArguments(i, kAddend); });
  const Stopwatch stopwatch;
  const auto submitted = context.client().Submit(spec, inputs);
  if (!submitted.ok()) return submitted.status();
  std::uint64_t read = 0;
  std::uint64_t wrong = 0;
  const Status followed =
      context.client().Follow(submitted->job, {}, [&](client::FollowUpdate& update) {
        for (const client::Outcome& outcome : update.outcomes) {
          for (std::uint64_t i = 0; i < outcome.count; ++i) {
            const auto sum = decltype(kAdd)::DecodeResult(outcome.results[i]);
            wrong += sum == outcome.first + i + kAddend ? 0 : 1;
          }
          read += outcome.count;
        }
        return true;
      });
  if (!followed.ok()) return followed;
  if (read != context.sizes.values || wrong != 0) {
    return Status(ErrorKind::kFailed,
                  absl::StrCat(read, " results of ", context.sizes.values, ", wrong: ", wrong));
  }
  return static_cast<double>(context.sizes.values) / stopwatch.seconds();
}

Result<double> MeasureFutures(const BenchContext& context) {
  const Stopwatch stopwatch;
  try {
    Executor executor(context.client(), {.volatile_job = context.sizes.volatile_jobs});
    std::vector<Future<std::uint64_t>> futures;
    futures.reserve(context.sizes.values);
    for (std::uint64_t i = 0; i < context.sizes.values; ++i) {
      futures.push_back(executor.Submit(kAdd, i, kAddend));
    }
    for (std::uint64_t i = 0; i < context.sizes.values; ++i) {
      if (futures[i].Get() != i + kAddend) {
        return Status(ErrorKind::kFailed, absl::StrCat("call ", i, " has a wrong result"));
      }
    }
  } catch (const std::exception& error) {
    return Status(ErrorKind::kFailed, error.what());
  }
  return static_cast<double>(context.sizes.values) / stopwatch.seconds();
}

}  // namespace

std::vector<BenchPart> FunctionParts() {
  const auto bare = [](std::size_t input_bytes, std::size_t result_bytes) {
    const auto measure = [=](const BenchContext& context) {
      return BarePool(input_bytes > 0 ? context.sizes.values : context.sizes.tasks, input_bytes,
                      result_bytes, context.sizes.threads);
    };
    return Yardstick{.name = "a bare pool", .measure = measure, .to_reach = 0.5, .durable = true};
  };
  return {{.name = "functions",
           .unit = "tasks/s",
           .to_reach = 8e6,
           .any_cluster = true,
           .measure = MeasureArray,
           .against = {bare(0, 0)}},
          {.name = "values",
           .unit = "tasks/s",
           .to_reach = 4e6,
           .any_cluster = true,
           .measure = MeasureValues,
           .against = {bare(16, 8)}},
          {.name = "futures",
           .unit = "tasks/s",
           .to_reach = 500e3,
           .any_cluster = true,
           .measure = MeasureFutures}};
}

}  // namespace haul::cli
