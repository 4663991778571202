// What a person at a shell waits for: `haul up`, `haul submit -a`, `haul job results`.
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/example_functions.h"
#include "cli/bench/part.h"
#include "cli/child.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

std::string Text32(std::uint64_t i) { return absl::StrFormat("%032d", i); }

// The seconds that `haul WORDS...` takes in this cluster; what it prints goes nowhere.
Result<double> TimeHaul(const BenchCluster& cluster, const std::vector<std::string>& words) {
  std::vector<std::string> arguments = {"/bin/sh",
                                        "-c",
                                        "exec \"$@\" >/dev/null",
                                        "sh",
                                        OwnProgram(),
                                        "--coordinator",
                                        cluster.address(),
                                        "--token-file",
                                        cluster.token_file()};
  arguments.insert(arguments.end(), words.begin(), words.end());
  const Stopwatch stopwatch;
  absl::StatusOr<Child> child = StartChild(arguments, /*read_output=*/false);
  if (!child.ok()) return ToClientStatus(child.status());
  if (const int status = WaitForChild(*child); status != 0) {
    return Status(ErrorKind::kFailed, absl::StrCat("haul ", words[0], " ended with ", status));
  }
  return stopwatch.seconds();
}

// From the start of `haul up` to the first task's result, in milliseconds.
Result<double> StartUp(const BenchContext& context) {
  const Stopwatch stopwatch;
  auto cluster = BenchCluster::Start(/*workers=*/1, context.sizes.threads, {});
  if (!cluster.ok()) return cluster.status();
  const auto seconds =
      TimeJob((*cluster)->client(), CommandJob({"/bin/true"}, 1, context.sizes.volatile_jobs));
  if (!seconds.ok()) return seconds.status();
  return stopwatch.seconds() * 1000;
}

Result<double> PrintResults(const BenchContext& context) {
  client::JobSpec spec;
  spec.work = client::FunctionCall{.name = kEcho.name(), .signature = decltype(kEcho)::Signature()};
  MadeSource inputs(context.sizes.values,
                    [](std::uint64_t i) { return decltype(kEcho)::EncodeArguments(Text32(i)); });
  if (const auto ran = TimeJob(context.client(), spec, inputs); !ran.ok()) return ran.status();
  return TimeHaul(*context.cluster, {"job", "results", "last"});
}

Result<double> SubmitLines(const BenchContext& context) {
  const std::string path = context.cluster->data_directory() + "/lines";
  std::ofstream file(path);
  for (std::uint64_t i = 0; i < context.sizes.values; ++i) file << Text32(i) << '\n';
  file.close();
  if (!file) return Status(ErrorKind::kFailed, path + " cannot be written");
  auto seconds = TimeHaul(*context.cluster, {"submit", "-a", path, "--", "/bin/true", "{}"});
  if (!seconds.ok()) return seconds.status();
  const auto job = context.client().GetJob(client::JobRef::Last());
  if (!job.ok()) return job.status();
  if (job->task_count != context.sizes.values) {
    return Status(ErrorKind::kFailed, absl::StrCat("it submitted ", job->task_count, " tasks"));
  }
  return seconds;
}

}  // namespace

std::vector<BenchPart> ProgramParts() {
  return {{.name = "up_to_first_result",
           .unit = "ms",
           .to_reach = 50,
           .less_is_better = true,
           .workers = std::nullopt,
           .measure = StartUp},
          {.name = "print_results",
           .unit = "s",
           .to_reach = 1.5,
           .less_is_better = true,
           .measure = PrintResults},
          {.name = "submit_lines",
           .unit = "s",
           .to_reach = 1.5,
           .less_is_better = true,
           .workers = 0,
           .measure = SubmitLines}};
}

}  // namespace haul::cli
