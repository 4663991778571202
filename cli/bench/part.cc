#include "cli/bench/part.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/bench/example_functions.h"
#include "cli/format.h"

namespace haul::cli {

using client::ErrorKind;
using client::Result;
using client::Status;

namespace {

Result<double> TimeSubmitted(Client& client, const Stopwatch& stopwatch,
                             const Result<client::Submitted>& submitted) {
  if (!submitted.ok()) return submitted.status();
  const auto ended = client.Wait(submitted->job);
  if (!ended.ok()) return ended.status();
  const double seconds = stopwatch.seconds();
  if (ended->state != client::JobState::kSucceeded) {
    return Status(ErrorKind::kFailed, "a measured job went wrong: " + DescribeCounts(*ended));
  }
  return seconds;
}

}  // namespace

void LeaveOutWhatDiffers(BenchPart& part, const BenchSizes& sizes, bool own_cluster) {
  if (!own_cluster) part.to_reach.reset();
  std::erase_if(part.against, [&](const Yardstick& yardstick) {
    return (!own_cluster && !yardstick.any_cluster) || (sizes.volatile_jobs && yardstick.durable);
  });
}

Result<double> TimeJob(Client& client, const client::JobSpec& spec) {
  const Stopwatch stopwatch;
  return TimeSubmitted(client, stopwatch, client.Submit(spec));
}

Result<double> TimeJob(Client& client, const client::JobSpec& spec, client::InputSource& inputs) {
  const Stopwatch stopwatch;
  return TimeSubmitted(client, stopwatch, client.Submit(spec, inputs));
}

Status AwaitThat(const std::string& what, std::chrono::seconds limit,
                 const std::function<Result<bool>()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    const Result<bool> held = holds();
    if (!held.ok()) return held.status();
    if (*held) return Status();
    if (std::chrono::steady_clock::now() > deadline) {
      return Status(ErrorKind::kFailed, absl::StrCat(limit.count(), " s passed before ", what));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

client::JobSpec NoopJob(std::uint64_t tasks, bool volatile_job) {
  client::JobSpec spec;
  spec.work = client::FunctionCall{.name = kNoop.name(), .signature = decltype(kNoop)::Signature()};
  spec.array = client::Array{.start = 0, .step = 1, .count = tasks};
  spec.volatile_job = volatile_job;
  return spec;
}

client::JobSpec CommandJob(std::vector<std::string> arguments, std::uint64_t tasks,
                           bool volatile_job) {
  client::JobSpec spec;
  spec.work = client::Command{.arguments = std::move(arguments), .directory = "/"};
  spec.array = client::Array{.start = 0, .step = 1, .count = tasks};
  spec.volatile_job = volatile_job;
  return spec;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace haul::cli
