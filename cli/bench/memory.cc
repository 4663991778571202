// How much the coordinator grows by what is queued.
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "cli/bench/part.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

using Submit = std::function<Result<client::Submitted>(Client&, const BenchSizes&)>;

// In MiB, of a fresh coordinator without workers.
Measure Growth(const Submit& submit) {
  return [submit](const BenchContext& context) -> Result<double> {
    auto cluster = BenchCluster::Start(/*workers=*/0, context.sizes.threads, {});
    if (!cluster.ok()) return cluster.status();
    Client& client = (*cluster)->client();
    const auto idle = client.Info();
    if (!idle.ok()) return idle.status();
    const auto submitted = submit(client, context.sizes);
    if (!submitted.ok()) return submitted.status();
    const auto job = client.GetJob(submitted->job);
    if (!job.ok()) return job.status();
    const auto loaded = client.Info();
    if (!loaded.ok()) return loaded.status();
    if (loaded->tasks_ready != job->task_count) {
      return Status(ErrorKind::kFailed, "the tasks do not wait as they should");
    }
    constexpr double kMiB = 1 << 20;
    return (static_cast<double>(loaded->resident_bytes) -
            static_cast<double>(idle->resident_bytes)) /
           kMiB;
  };
}

Result<client::Submitted> SubmitArray(Client& client, const BenchSizes& sizes) {
  return client.Submit(CommandJob({"/bin/true"}, sizes.tasks, sizes.volatile_jobs));
}

Result<client::Submitted> SubmitInputs(Client& client, const BenchSizes& sizes) {
  client::JobSpec spec = CommandJob({"/bin/true", "{}"}, 1, sizes.volatile_jobs);
  spec.array.reset();
  MadeSource inputs(sizes.values, [](std::uint64_t i) { return absl::StrFormat("%032d", i); });
  return client.Submit(spec, inputs);
}

}  // namespace

std::vector<BenchPart> MemoryParts() {
  return {{.name = "queued_tasks",
           .unit = "MiB",
           .to_reach = 20,
           .less_is_better = true,
           .workers = std::nullopt,
           .measure = Growth(SubmitArray)},
          {.name = "queued_inputs",
           .unit = "MiB",
           .to_reach = 60,
           .less_is_better = true,
           .workers = std::nullopt,
           .measure = Growth(SubmitInputs)}};
}

}  // namespace haul::cli
