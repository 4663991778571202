#include "cli/job_tasks.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/format.h"
#include "cli/status.h"
#include "cli/task_printer.h"
#include "common/units.h"

namespace haul::cli {
namespace {

using client::Outcome;
using client::Status;

// Gives the outcomes that the selector touches to `on_outcome`, in the order of the tasks.
Status ForEachOutcome(Client& client, const client::JobStatus& job, const Selector& selector,
                      bool follow, bool with_payload,
                      const std::function<Status(const Outcome&)>& on_outcome) {
  client::FollowOptions options;
  options.follow = follow;
  options.in_order = true;
  options.with_payload = with_payload;
  options.first = selector.Hull().first;
  options.count = selector.Hull().count;
  options.unsuccessful_only = selector.failed;
  Status printed;
  const Status followed = client.Follow(job.id, options, [&](client::FollowUpdate& update) {
    for (const Outcome& outcome : update.outcomes) {
      printed = on_outcome(outcome);
      if (!printed.ok()) return false;
    }
    printed = FlushOutput();
    return printed.ok();
  });
  return printed.ok() ? followed : printed;
}

// The connection, the job and the selector that all three need.
struct Opened {
  std::unique_ptr<Client> client;
  client::JobStatus job;
  Selector selector;
};

client::Result<Opened> Open(const Globals& globals, const std::string& job,
                            const TasksOptions& options) {
  absl::StatusOr<Selector> selector = ParseSelector(options.selector);
  if (!selector.ok()) return ToClientStatus(selector.status());
  auto client = Connect(globals);
  if (!client.ok()) return client.status();
  auto status = (*client)->GetJob(client::JobRef::Parse(job));
  if (!status.ok()) return status.status();
  return Opened{*std::move(client), *std::move(status), *std::move(selector)};
}

int PrintOutputs(const Globals& globals, const std::string& job, const TasksOptions& options,
                 bool with_stderr) {
  const auto opened = Open(globals, job, options);
  if (!opened.ok()) return Fail(opened.status());
  TaskPrinter printer(
      *opened->client, opened->job.id, opened->job.spec,
      {.json = globals.json(), .with_stderr = with_stderr, .selector = opened->selector});
  const Status status = ForEachOutcome(
      *opened->client, opened->job, opened->selector, options.follow, /*with_payload=*/true,
      [&printer](const Outcome& outcome) { return printer.Print(outcome); });
  return status.ok() ? kExitSuccess : Fail(status);
}

// The part of an outcome's tasks that a selector chose, as ranges.
std::vector<TaskRange> Chosen(const Outcome& outcome, const Selector& selector) {
  if (selector.strides.empty()) return {{outcome.first, outcome.count}};
  std::vector<TaskRange> ranges;
  for (std::uint64_t task = outcome.first; task < outcome.first + outcome.count; ++task) {
    if (!selector.Contains(task)) continue;
    if (!ranges.empty() && ranges.back().end() == task) {
      ++ranges.back().count;
    } else {
      ranges.push_back({task, 1});
    }
  }
  return ranges;
}

std::vector<std::string> TaskRow(const Outcome& outcome, const TaskRange& range) {
  const std::int64_t run_us = outcome.finished_unix_us - outcome.started_unix_us;
  return {
      range.count == 1 ? std::to_string(range.first)
                       : absl::StrCat(range.first, "-", range.end() - 1),
      std::string(client::Name(outcome.state)),
      outcome.worker_name.empty() ? "-" : Printable(outcome.worker_name),
      outcome.pid == 0 ? "-" : std::to_string(outcome.pid),
      std::to_string(outcome.attempt),
      LocalTime(outcome.started_unix_us),
      outcome.started_unix_us == 0
          ? "-"
          : FormatDurationMs(static_cast<std::uint64_t>(std::max<std::int64_t>(run_us, 0)) / 1000),
      outcome.peak_memory_bytes == 0 ? "-" : FormatBytes(outcome.peak_memory_bytes),
      DescribeFailure(outcome)};
}

}  // namespace

int PrintLogs(const Globals& globals, const std::string& job, const TasksOptions& options) {
  return PrintOutputs(globals, job, options, /*with_stderr=*/true);
}

int PrintResults(const Globals& globals, const std::string& job, const TasksOptions& options) {
  return PrintOutputs(globals, job, options, /*with_stderr=*/false);
}

int PrintTasks(const Globals& globals, const std::string& job, const TasksOptions& options) {
  const auto opened = Open(globals, job, options);
  if (!opened.ok()) return Fail(opened.status());
  // Aligned block by block, so that memory stays bounded however many there are.
  constexpr std::size_t kBlockRows = 1000;
  const auto new_table = [] {
    return Table(
        {"TASK", "STATUS", "WORKER", "PID", "ATTEMPT", "STARTED", "TIME", "MEMORY", "CAUSE"});
  };
  Table table = new_table();
  std::size_t rows = 0;
  const Status status =
      ForEachOutcome(*opened->client, opened->job, opened->selector, options.follow,
                     /*with_payload=*/false, [&](const Outcome& outcome) {
                       for (const TaskRange& range : Chosen(outcome, opened->selector)) {
                         if (globals.json()) {
                           PrintJson(ToJson(opened->job.id, outcome, range.first, range.count));
                           continue;
                         }
                         table.Add(TaskRow(outcome, range));
                         if (++rows % kBlockRows == 0) {
                           table.Print();
                           table = new_table();
                         }
                       }
                       return Status();
                     });
  if (!globals.json() && (rows == 0 || rows % kBlockRows != 0)) table.Print();
  return status.ok() ? kExitSuccess : Fail(status);
}

}  // namespace haul::cli
