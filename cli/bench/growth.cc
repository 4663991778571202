// Whether cost grows with what there is to do and with nothing else: shorter and longer jobs, and
// many at once, against one job of --tasks.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/bench/part.h"
#include "cli/format.h"
#include "common/check.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

constexpr double kFlat = 0.8;

// Tasks a second of `jobs` jobs that are there at the same time, together of so many tasks.
Result<double> RunJobs(const BenchContext& context, std::uint64_t jobs, std::uint64_t tasks) {
  HAUL_CHECK(jobs > 0);
  std::vector<client::JobId> ids;
  const Stopwatch stopwatch;
  for (std::uint64_t i = 0; i < jobs; ++i) {
    const auto submitted =
        context.client().Submit(NoopJob(tasks / jobs, context.sizes.volatile_jobs));
    if (!submitted.ok()) return submitted.status();
    ids.push_back(submitted->job);
  }
  for (const client::JobId id : ids) {
    const auto ended = context.client().Wait(id);
    if (!ended.ok()) return ended.status();
    if (ended->state != client::JobState::kSucceeded) {
      return Status(ErrorKind::kFailed, DescribeCounts(*ended));
    }
  }
  const std::uint64_t ran = tasks / jobs * jobs;
  return static_cast<double>(ran) / stopwatch.seconds();
}

BenchPart Part(const std::string& name, std::uint64_t jobs, double times) {
  const auto run = [](std::uint64_t at_once, double share) {
    return [=](const BenchContext& context) {
      const double tasks = static_cast<double>(context.sizes.tasks) * share;
      return RunJobs(context, at_once, static_cast<std::uint64_t>(tasks));
    };
  };
  return {.name = name,
          .unit = "tasks/s",
          .any_cluster = true,
          .measure = run(jobs, times),
          .against = {{"one job of --tasks", run(1, 1), kFlat}}};
}

}  // namespace

std::vector<BenchPart> GrowthParts() {
  return {Part("tasks_hundredth", 1, 0.01), Part("tasks_tenth", 1, 0.1),
          Part("tasks_tenfold", 1, 10),     Part("jobs_10", 10, 1),
          Part("jobs_100", 100, 1),         Part("jobs_1000", 1000, 1)};
}

}  // namespace haul::cli
