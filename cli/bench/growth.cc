// Whether cost grows with what there is to do and with nothing else: shorter and longer jobs, and
// many at once, against one job of --tasks.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "cli/bench/example_functions.h"
#include "cli/bench/part.h"
#include "cli/format.h"
#include "cli/interrupt.h"
#include "cli/status.h"
#include "common/check.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Result;
using client::Status;

constexpr double kFlat = 0.8;

// Callers that submit at the same time, and so share commits.
constexpr int kSubmitters = 64;
constexpr std::uint64_t kHoldMs = 1;
constexpr std::chrono::seconds kHoldLimit{60};

// Tasks a second of one job, from its submit on.
Result<double> RunJob(const BenchContext& context, std::uint64_t tasks) {
  const auto seconds = TimeJob(context.client(), NoopJob(tasks, context.sizes.volatile_jobs));
  if (!seconds.ok()) return seconds.status();
  return static_cast<double>(tasks) / *seconds;
}

// Keeps every slot busy, before all others, until Release. Ctrl-C ends it too: a cluster of our own
// ends with us, another's would be busy for long.
class Holder {
 public:
  explicit Holder(const BenchContext& context)
      : client_(context.client()), own_cluster_(context.cluster != nullptr) {}
  Status Hold() {
    client::JobSpec spec;
    spec.work =
        client::FunctionCall{.name = kSleep.name(), .signature = decltype(kSleep)::Signature()};
    spec.volatile_job = true;
    spec.priority = 1;
    MadeSource naps(kNaps,
                    [](std::uint64_t) { return decltype(kSleep)::EncodeArguments(kHoldMs); });
    const auto submitted = client_.Submit(spec, naps);
    if (!submitted.ok()) return submitted.status();
    job_ = submitted->job;
    if (!own_cluster_) {
      interrupts_.emplace();
      on_interrupt_.emplace(interrupts_->token(), [this] {
        (void)client_.Cancel(job_);
        std::_Exit(kExitInterrupted);
      });
    }
    Status held = AwaitThat("a worker took tasks", kHoldLimit, [this]() -> Result<bool> {
      const auto status = client_.GetJob(job_);
      if (!status.ok()) return status.status();
      if (status->ended()) return NotHeld(*status);
      return status->assigned > 0;
    });
    if (!held.ok()) (void)client_.Cancel(job_);
    return held;
  }
  // The time from which on the slots were free.
  Result<std::int64_t> Release() {
    const auto asked = client_.Cancel(job_);
    if (!asked.ok()) return asked.status();
    const auto ended = client_.Wait(job_);
    if (!ended.ok()) return ended.status();
    if (ended->state != client::JobState::kCancelled) return NotHeld(*ended);
    return ended->ended_unix_us;
  }

 private:
  // A minute of them on 64 slots.
  static constexpr std::uint64_t kNaps = 4'000'000;

  static Status NotHeld(const client::JobStatus& job) {
    return Status(ErrorKind::kFailed,
                  "what was to keep the slots busy ended too soon: " + DescribeCounts(job));
  }

  Client& client_;
  const bool own_cluster_;
  client::JobId job_;
  std::optional<Interrupts> interrupts_;
  std::optional<std::stop_callback<std::function<void()>>> on_interrupt_;
};

Result<std::vector<client::JobId>> SubmitAtOnce(const BenchContext& context, std::uint64_t jobs,
                                                std::uint64_t tasks_of_each) {
  const client::JobSpec spec = NoopJob(tasks_of_each, context.sizes.volatile_jobs);
  std::vector<client::JobId> ids(jobs);
  std::atomic<std::uint64_t> next = 0;
  std::mutex mutex;
  Status failure;
  std::vector<std::thread> callers;
  for (int i = 0; i < kSubmitters; ++i) {
    callers.emplace_back([&] {
      for (std::uint64_t job = 0; (job = next.fetch_add(1)) < jobs;) {
        const auto submitted = context.client().Submit(spec);
        const std::lock_guard lock(mutex);
        if (submitted.ok()) {
          ids[job] = submitted->job;
        } else {
          failure = submitted.status();
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  if (!failure.ok()) return failure;
  return ids;
}

// Tasks a second of `jobs` jobs, together of so many tasks, from when all of them are there.
Result<double> RunJobs(const BenchContext& context, std::uint64_t jobs, std::uint64_t tasks) {
  HAUL_CHECK(jobs > 0);
  Holder holder(context);
  if (Status held = holder.Hold(); !held.ok()) return held;
  const auto ids = SubmitAtOnce(context, jobs, tasks / jobs);
  const Result<std::int64_t> start_us = holder.Release();
  if (!ids.ok()) return ids.status();
  if (!start_us.ok()) return start_us.status();
  std::int64_t end_us = 0;
  for (const client::JobId id : *ids) {
    const auto ended = context.client().Wait(id);
    if (!ended.ok()) return ended.status();
    if (ended->state != client::JobState::kSucceeded) {
      return Status(ErrorKind::kFailed, DescribeCounts(*ended));
    }
    end_us = std::max(end_us, ended->ended_unix_us);
  }
  if (end_us <= *start_us) return Status(ErrorKind::kFailed, "the jobs ended before they began");
  const std::uint64_t ran = tasks / jobs * jobs;
  return static_cast<double>(ran) * 1e6 / static_cast<double>(end_us - *start_us);
}

BenchPart Part(const std::string& name, const std::string& against, const Measure& measure,
               const Measure& one_job) {
  return {
      .name = name,
      .unit = "tasks/s",
      .any_cluster = true,
      .measure = measure,
      .against = {{.name = against, .measure = one_job, .to_reach = kFlat, .any_cluster = true}}};
}

// So many times the tasks.
BenchPart Longer(const std::string& name, double times) {
  const auto run = [](double share) {
    return [share](const BenchContext& context) {
      const double tasks = static_cast<double>(context.sizes.tasks) * share;
      return RunJob(context, static_cast<std::uint64_t>(tasks));
    };
  };
  return Part(name, "one job of --tasks", run(times), run(1));
}

BenchPart AtOnce(const std::string& name, std::uint64_t jobs) {
  const auto run = [](std::uint64_t at_once) {
    return [at_once](const BenchContext& context) {
      return RunJobs(context, at_once, context.sizes.tasks);
    };
  };
  return Part(name, "one job", run(jobs), run(1));
}

}  // namespace

std::vector<BenchPart> GrowthParts() {
  return {Longer("tasks_hundredth", 0.01), Longer("tasks_tenth", 0.1), Longer("tasks_tenfold", 10),
          AtOnce("jobs_10", 10),           AtOnce("jobs_100", 100),    AtOnce("jobs_1000", 1000)};
}

}  // namespace haul::cli
