// `haul worker`: start one here; list, show, drain and stop those of the cluster.
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/format.h"
#include "cli/globals.h"
#include "cli/status.h"
#include "cli/worker_command.h"
#include "cli/worker_start.h"
#include "common/units.h"

namespace haul::cli {
namespace {

int ListWorkers(const Globals& globals) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto workers = (*client)->Workers();
  if (!workers.ok()) return Fail(workers.status());
  Table table({"WORKER", "NAME", "HOST", "STATE", "CPUS", "RESERVED", "TASKS", "ENDED", "JOINED"});
  for (const client::WorkerStatus& worker : *workers) {
    if (globals.json()) {
      PrintJson(ToJson(worker));
      continue;
    }
    table.Add({std::to_string(worker.id), Printable(worker.name), Printable(worker.host),
               std::string(client::Name(worker.state)), FormatCpus(worker.cpus_milli),
               FormatCpus(worker.cpus_milli_reserved), std::to_string(worker.tasks_assigned),
               std::to_string(worker.tasks_ended), LocalTime(worker.joined_unix_us)});
  }
  if (!globals.json()) table.Print();
  return kExitSuccess;
}

void PrintDetails(const client::WorkerStatus& worker) {
  const auto line = [](const char* key, const std::string& value) {
    std::printf("%-14s %s\n", key, value.c_str());
  };
  line("worker", std::to_string(worker.id));
  line("name", Printable(worker.name));
  line("host", Printable(worker.host));
  line("pid", std::to_string(worker.pid));
  line("state", std::string(client::Name(worker.state)));
  line("version", Printable(worker.version));
  line("cpus",
       FormatCpus(worker.cpus_milli) + ", reserved " + FormatCpus(worker.cpus_milli_reserved));
  line("processes", std::to_string(worker.processes));
  line("threads", std::to_string(worker.threads));
  line("tasks assigned", std::to_string(worker.tasks_assigned));
  line("tasks ended", std::to_string(worker.tasks_ended));
  line("joined", LocalTime(worker.joined_unix_us));
  line("last heard", LocalTime(worker.last_heard_unix_us));
  for (const client::FunctionInfo& function : worker.functions) {
    line("function", Printable(function.name) + " " + Printable(function.signature) + " (" +
                         Printable(function.library) + ")");
  }
  for (const client::WorkerAssignment& assignment : worker.assignments) {
    line("assignment", "job " + std::to_string(assignment.job.value) + ": " +
                           std::to_string(assignment.remaining) + " tasks from " +
                           std::to_string(assignment.first) + ", " +
                           std::to_string(assignment.width) + " at once");
  }
}

using WorkerCall =
    std::function<client::Result<client::WorkerStatus>(Client& client, const std::string& worker)>;

// Makes the call and shows the worker as it then is.
int CallWorker(const Globals& globals, const std::string& worker, const WorkerCall& call) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto status = call(**client, worker);
  if (!status.ok()) return Fail(status.status());
  if (globals.json()) {
    PrintJson(ToJson(*status));
  } else {
    PrintDetails(*status);
  }
  return kExitSuccess;
}

int DrainWorker(const Globals& globals, const std::string& worker, const std::string& deadline) {
  const absl::StatusOr<std::uint64_t> deadline_ms = ParseDeadlineMs("--deadline", deadline);
  if (!deadline_ms.ok()) return Fail(deadline_ms.status());
  return CallWorker(globals, worker, [&](Client& client, const std::string& one) {
    return client.Drain(one, *deadline_ms);
  });
}

}  // namespace

void AddWorker(CLI::App& app, Globals& globals) {
  CLI::App* worker = app.add_subcommand("worker", "Workers: start, list, show, drain, stop");
  worker->require_subcommand(1);
  AddWorkerStart(*worker, globals);

  CLI::App* list = worker->add_subcommand("list", "The workers of the cluster");
  list->callback([&globals] { globals.action = [&globals] { return ListWorkers(globals); }; });

  const auto name = std::make_shared<std::string>();
  const auto add = [&](const char* command, const char* what, const WorkerCall& call) {
    CLI::App* one = worker->add_subcommand(command, what);
    one->add_option("worker", *name, "Its name or id")->required();
    one->callback([=, &globals] {
      globals.action = [=, &globals] { return CallWorker(globals, *name, call); };
    });
  };
  add("show", "All about one worker, and what it holds", &Client::Worker);
  const auto deadline = std::make_shared<std::string>();
  CLI::App* drain =
      worker->add_subcommand("drain",
                             "Let it finish what it runs, give it nothing new, and let it "
                             "leave");
  drain->add_option("worker", *name, "Its name or id")->required();
  drain->add_option("--deadline", *deadline,
                    "After this what still runs goes elsewhere uncharged: 30s, 15m (default: "
                    "never)");
  drain->callback([=, &globals] {
    globals.action = [=, &globals] { return DrainWorker(globals, *name, *deadline); };
  });
  add("stop", "End what it runs, run that elsewhere uncharged, and let it leave",
      &Client::StopWorker);
}

}  // namespace haul::cli
