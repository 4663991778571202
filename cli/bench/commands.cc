// Commands, and how well slots are used by commands and functions that only wait.
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "cli/bench/example_functions.h"
#include "cli/bench/floors/floors.h"
#include "cli/bench/part.h"
#include "cli/child.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

const std::vector<std::string> kTrue = {"/bin/true"};
const std::vector<std::string> kShell = {"/bin/sh", "-c", ":"};
const std::vector<std::string> kWait = {"/bin/sleep", "0.1"};
constexpr double kWaitSeconds = 0.1;
constexpr std::uint64_t kSleepMs = 10;
constexpr int kSleepingThreads = 64;

Measure CommandsPerSecond(const std::vector<std::string>& arguments) {
  return [arguments](const BenchContext& context) -> Result<double> {
    const std::uint64_t count = context.sizes.commands;
    const auto seconds =
        TimeJob(context.client(), CommandJob(arguments, count, context.sizes.volatile_jobs));
    if (!seconds.ok()) return seconds.status();
    return static_cast<double>(count) / *seconds;
  };
}

Measure BarePerSecond(const std::vector<std::string>& arguments) {
  return [arguments](const BenchContext& context) {
    return BareCommands(arguments, context.sizes.commands, context.sizes.threads);
  };
}

// As many by xargs, which captures nothing.
Result<double> XargsPerSecond(const BenchContext& context) {
  const std::string script = absl::StrFormat("seq %d | xargs -P%d -n1 /bin/true",
                                             context.sizes.commands, context.sizes.threads);
  const Stopwatch stopwatch;
  absl::StatusOr<Child> child = StartChild({"/bin/sh", "-c", script}, /*read_output=*/false);
  if (!child.ok()) return ToClientStatus(child.status());
  if (WaitForChild(*child) != 0) return Status(ErrorKind::kFailed, "xargs failed");
  return static_cast<double>(context.sizes.commands) / stopwatch.seconds();
}

// A hundredth as many that wait, in whole rounds, at least one: 2.5 s on two slots.
std::uint64_t Waits(const BenchSizes& sizes) {
  const auto threads = static_cast<std::uint64_t>(sizes.threads);
  const std::uint64_t rounds = (sizes.commands / 100 + threads - 1) / threads;
  return std::max<std::uint64_t>(rounds, 1) * threads;
}

// The share of the slots' time in which a command waited.
double Efficiency(const BenchSizes& sizes, double seconds) {
  return static_cast<double>(Waits(sizes)) * kWaitSeconds / sizes.threads / seconds;
}

Result<double> CommandEfficiency(const BenchContext& context) {
  const auto seconds = TimeJob(
      context.client(), CommandJob(kWait, Waits(context.sizes), context.sizes.volatile_jobs));
  if (!seconds.ok()) return seconds.status();
  return Efficiency(context.sizes, *seconds);
}

Result<double> BareEfficiency(const BenchContext& context) {
  const auto rate = BareCommands(kWait, Waits(context.sizes), context.sizes.threads);
  if (!rate.ok()) return rate.status();
  return Efficiency(context.sizes, static_cast<double>(Waits(context.sizes)) / *rate);
}

// A tenth as many rounds of them as there are calls.
std::uint64_t Sleeps(const BenchSizes& sizes) { return sizes.calls / 10 * kSleepingThreads; }

// What of the time the slots waited when so many functions a second did.
double SleepEfficiency(double per_second) {
  return per_second * kSleepMs / 1000 / kSleepingThreads;
}

Result<double> FunctionEfficiency(const BenchContext& context) {
  const std::uint64_t count = Sleeps(context.sizes);
  client::JobSpec spec;
  spec.work =
      client::FunctionCall{.name = kSleep.name(), .signature = decltype(kSleep)::Signature()};
  spec.volatile_job = context.sizes.volatile_jobs;
  MadeSource inputs(count,
                    [](std::uint64_t) { return decltype(kSleep)::EncodeArguments(kSleepMs); });
  const auto seconds = TimeJob(context.client(), spec, inputs);
  if (!seconds.ok()) return seconds.status();
  return SleepEfficiency(static_cast<double>(count) / *seconds);
}

Result<double> BareSleepEfficiency(const BenchContext& context) {
  const auto rate =
      BareSleeps(Sleeps(context.sizes), std::chrono::milliseconds(kSleepMs), kSleepingThreads);
  if (!rate.ok()) return rate.status();
  return SleepEfficiency(*rate);
}

}  // namespace

std::vector<BenchPart> CommandParts() {
  return {{.name = "commands",
           .unit = "tasks/s",
           .any_cluster = true,
           .measure = CommandsPerSecond(kTrue),
           .against = {{"bare vfork", BarePerSecond(kTrue), 0.9}, {"xargs", XargsPerSecond, 1.8}}},
          {.name = "shells",
           .unit = "tasks/s",
           .any_cluster = true,
           .measure = CommandsPerSecond(kShell),
           .against = {{"bare vfork", BarePerSecond(kShell), 0.9}}},
          {.name = "waiting_commands",
           .unit = "of the time",
           .to_reach = 0.99,
           .measure = CommandEfficiency,
           .against = {{"bare vfork", BareEfficiency, std::nullopt}}},
          {.name = "waiting_functions",
           .unit = "of the time",
           .to_reach = 0.97,
           .threads = kSleepingThreads,
           .measure = FunctionEfficiency,
           .against = {{"bare threads", BareSleepEfficiency, std::nullopt}}}};
}

}  // namespace haul::cli
