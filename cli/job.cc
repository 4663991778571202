// `haul job`: what there is to know of jobs, and what can be done with them.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/job_tasks.h"
#include "cli/status.h"
#include "common/units.h"

namespace haul::cli {
namespace {

void PrintDetails(const client::JobStatus& job) {
  const auto line = [](const char* key, const std::string& value) {
    std::printf("%-13s %s\n", key, value.c_str());
  };
  line("job", std::to_string(job.id.value));
  if (!job.spec.name.empty()) line("name", Printable(job.spec.name));
  line("state", std::string(client::Name(job.state)) +
                    (job.cancel_requested && !job.ended() ? " (cancel requested)" : ""));
  const auto* function = std::get_if<client::FunctionCall>(&job.spec.work);
  line(function == nullptr ? "command" : "function", Printable(job.description));
  if (function != nullptr) line("signature", Printable(function->signature));
  line("tasks", DescribeCounts(job));
  if (job.retried > 0) line("retried", std::to_string(job.retried));
  if (!job.ended()) {
    line("with workers", std::to_string(job.assigned));
    if (!job.waiting_reason.empty()) line("waiting", Printable(job.waiting_reason));
    for (const client::RunningTask& running : job.progress) {
      line("progress", absl::StrFormat("task %d: %.1f%%", running.task, running.permille / 10.0));
    }
  }
  line("owner", Printable(job.owner));
  line("cpus", FormatCpus(job.spec.cpus_milli) + " a task");
  if (job.spec.priority != 0) line("priority", std::to_string(job.spec.priority));
  if (job.spec.max_running != 0) line("max running", std::to_string(job.spec.max_running));
  if (job.spec.max_attempts > 1) line("attempts", std::to_string(job.spec.max_attempts));
  if (job.spec.open) line("open", "it takes more tasks");
  if (job.spec.at_most_once) line("starts", "at most once");
  if (job.spec.parent.has_value()) {
    line("parent", absl::StrCat("task ", job.spec.parent->task, " of job ",
                                job.spec.parent->job.value, "; it ends with it"));
  }
  if (job.spec.volatile_job) line("volatile", "yes");
  line("accepted", LocalTime(job.accepted_unix_us));
  line("ended", LocalTime(job.ended_unix_us));
}

void Show(const Globals& globals, const client::JobStatus& job) {
  if (globals.json()) {
    PrintJson(ToJson(job));
  } else {
    PrintDetails(job);
  }
}

int ListJobs(const Globals& globals, std::uint32_t limit, bool active_only) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Table table({"JOB", "NAME", "STATE", "TASKS", "DONE", "FAILED", "ACCEPTED", "WORK"});
  std::optional<client::JobId> before;
  // The coordinator gives at most this many at once.
  constexpr std::uint32_t kPage = 1000;
  while (limit > 0) {
    const auto jobs = (*client)->ListJobs(std::min(limit, kPage), active_only, before);
    if (!jobs.ok()) return Fail(jobs.status());
    for (const client::JobStatus& job : *jobs) {
      if (globals.json()) {
        PrintJson(ToJson(job));
        continue;
      }
      constexpr std::size_t kWorkBytes = 40;
      table.Add({std::to_string(job.id.value), Printable(job.spec.name),
                 std::string(client::Name(job.state)), std::to_string(job.task_count),
                 std::to_string(job.done()), std::to_string(job.failed + job.cancelled + job.lost),
                 LocalTime(job.accepted_unix_us), Shorten(job.description, kWorkBytes)});
    }
    if (jobs->size() < std::min(limit, kPage)) break;
    limit -= static_cast<std::uint32_t>(jobs->size());
    before = jobs->back().id;
  }
  if (!globals.json()) table.Print();
  return kExitSuccess;
}

int ShowJob(const Globals& globals, const std::string& job) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto status = (*client)->GetJob(client::JobRef::Parse(job));
  if (!status.ok()) return Fail(status.status());
  Show(globals, *status);
  return kExitSuccess;
}

int WaitForJob(const Globals& globals, const std::string& job, const std::string& timeout) {
  std::optional<std::chrono::milliseconds> limit;
  if (!timeout.empty()) {
    const absl::StatusOr<std::uint64_t> timeout_ms = ParseDurationMs(timeout);
    if (!timeout_ms.ok()) {
      return Fail(kExitUsage, "--timeout: " + std::string(timeout_ms.status().message()));
    }
    limit = std::chrono::milliseconds(*timeout_ms);
  }
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto status = (*client)->Wait(client::JobRef::Parse(job), limit);
  if (!status.ok()) return Fail(status.status());
  if (globals.json()) {
    PrintJson(ToJson(*status));
  } else {
    std::printf("job %llu %s: %s\n", static_cast<unsigned long long>(status->id.value),
                std::string(client::Name(status->state)).c_str(), DescribeCounts(*status).c_str());
  }
  if (!status->ended()) return Fail(kExitTaskFailed, "the job has not ended within " + timeout);
  return ExitStatus(*status);
}

// Of "failed" tasks there is nothing to cancel, and the parser refuses what is no selector.
absl::StatusOr<std::vector<client::TaskRange>> TasksToCancel(const std::string& text) {
  const absl::StatusOr<Selector> selector = ParseSelector(text);
  if (!selector.ok()) return selector.status();
  if (selector->failed) return absl::InvalidArgumentError("--task: failed tasks have ended");
  std::vector<client::TaskRange> ranges;
  for (const Stride& stride : selector->strides) {
    if (stride.step == 1) {
      ranges.push_back({stride.first, stride.count()});
      continue;
    }
    constexpr std::uint64_t kMost = 65'536;
    if (stride.count() > kMost - std::min(kMost, ranges.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("--task: '", text, "' is more than ", kMost, " ranges"));
    }
    for (std::uint64_t i = 0; i < stride.count(); ++i) {
      ranges.push_back({stride.first + i * stride.step, 1});
    }
  }
  return ranges;
}

int CancelJob(const Globals& globals, const std::string& job, const std::string& tasks) {
  const absl::StatusOr<std::vector<client::TaskRange>> ranges = TasksToCancel(tasks);
  if (!ranges.ok()) return Fail(ranges.status());
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const client::JobRef ref = client::JobRef::Parse(job);
  const auto status =
      ranges->empty() ? (*client)->Cancel(ref) : (*client)->CancelTasks(ref, *ranges);
  if (!status.ok()) return Fail(status.status());
  Show(globals, *status);
  return kExitSuccess;
}

int ForgetJob(const Globals& globals, const std::string& job) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto id = (*client)->Forget(client::JobRef::Parse(job));
  if (!id.ok()) return Fail(id.status());
  if (globals.json()) {
    PrintJson({{"object", "forgotten"}, {"job", id->value}});
  } else {
    std::printf("job %llu is forgotten\n", static_cast<unsigned long long>(id->value));
  }
  return kExitSuccess;
}

CLI::App* AddOne(CLI::App* parent, const char* name, const char* what, std::string& job) {
  CLI::App* command = parent->add_subcommand(name, what);
  command->add_option("job", job, "Its id, its name, or last")->required();
  return command;
}

struct JobArguments {
  std::string job;
  std::string timeout;
  std::uint32_t limit = 100;
  bool active_only = false;
  TasksOptions tasks;
};

void AddTasksCommands(CLI::App* parent, Globals& globals,
                      const std::shared_ptr<JobArguments>& arguments) {
  const auto add = [&](const char* name, const char* what,
                       int (*run)(const Globals&, const std::string&, const TasksOptions&)) {
    CLI::App* command = AddOne(parent, name, what, arguments->job);
    command->add_option("--task", arguments->tasks.selector,
                        "Which: 5, 1-10:2, 1,3,5-8, failed (default all)");
    command->add_flag("-f,--follow", arguments->tasks.follow, "Go on until the job has ended");
    command->callback([=, &globals] {
      globals.action = [=, &globals] { return run(globals, arguments->job, arguments->tasks); };
    });
  };
  add("logs", "What its tasks wrote to stdout and stderr", PrintLogs);
  add("results", "What its functions returned, or its commands wrote to stdout", PrintResults);
  add("tasks", "How its tasks ended, where and when", PrintTasks);
}

}  // namespace

void AddJob(CLI::App& app, Globals& globals) {
  CLI::App* job = app.add_subcommand("job", "Jobs: what they do and what they gave");
  job->require_subcommand(1);
  const auto arguments = std::make_shared<JobArguments>();

  CLI::App* list = job->add_subcommand("list", "The newest jobs");
  list->add_option("--limit", arguments->limit, "How many (default 100)");
  list->add_flag("--active", arguments->active_only, "Only those that have not ended");
  list->callback([=, &globals] {
    globals.action = [=, &globals] {
      return ListJobs(globals, arguments->limit, arguments->active_only);
    };
  });
  CLI::App* show = AddOne(job, "show", "All about one job", arguments->job);
  show->callback([=, &globals] {
    globals.action = [=, &globals] { return ShowJob(globals, arguments->job); };
  });
  CLI::App* wait =
      AddOne(job, "wait", "Wait for its end; the exit status is that of haul run", arguments->job);
  wait->add_option("--timeout", arguments->timeout, "Wait no longer than this");
  wait->callback([=, &globals] {
    globals.action = [=, &globals] {
      return WaitForJob(globals, arguments->job, arguments->timeout);
    };
  });
  CLI::App* cancel = AddOne(job, "cancel", "End it; what runs is stopped", arguments->job);
  cancel->add_option("--task", arguments->tasks.selector,
                     "Only these: 5, 1-10:2, 1,3,5-8 (default all)");
  cancel->callback([=, &globals] {
    globals.action = [=, &globals] {
      return CancelJob(globals, arguments->job, arguments->tasks.selector);
    };
  });
  CLI::App* forget = AddOne(job, "forget", "Remove an ended job with its outputs", arguments->job);
  forget->callback([=, &globals] {
    globals.action = [=, &globals] { return ForgetJob(globals, arguments->job); };
  });
  AddTasksCommands(job, globals, arguments);
}

}  // namespace haul::cli
