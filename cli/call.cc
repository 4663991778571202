#include <algorithm>
#include <memory>
#include <string>

#include "cli/follow_job.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/job_options.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

client::Result<client::FunctionInfo> FindFunction(Client& client, const std::string& name) {
  const auto functions = client.Functions();
  if (!functions.ok()) return functions.status();
  std::string known;
  for (const client::FunctionInfo& function : *functions) {
    if (function.name == name) return function;
    if (!known.empty()) known += ", ";
    known += Printable(function.name);
  }
  return client::Status(
      client::ErrorKind::kNotFound,
      known.empty()
          ? "no worker serves a function: start one with --functions LIBRARY"
          : "no worker serves the function \"" + Printable(name) + "\"; there are " + known);
}

}  // namespace

void AddCall(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand(
      "call",
      "Call a function for every input, print the results: call [OPTIONS] FUNCTION [::: V…]");
  const auto options = std::make_shared<JobOptions>();
  const auto name = std::make_shared<std::string>();
  const auto no_order = std::make_shared<bool>(false);
  const auto detached = std::make_shared<bool>(false);
  command->add_option("function", *name, "Its name, as `haul function list` shows it")->required();
  AddJobOptions(*command, *options);
  AddFunctionOptions(*command, *options);
  CLI::Option* as_completed = command->add_flag("--as-completed", *no_order,
                                                "Print results as tasks end, not in input order");
  command->add_flag("-k,--keep-order")
      ->description("Print results in input order (the default)")
      ->excludes(as_completed);
  command->add_flag("--submit", *detached, "Only submit, and print the job's id");
  command->callback([=, &globals] {
    globals.action = [=, &globals] {
      const auto client = Connect(globals);
      if (!client.ok()) return Fail(client.status());
      const auto function = FindFunction(**client, *name);
      if (!function.ok()) return Fail(function.status());
      absl::StatusOr<PreparedJob> job = PrepareCall(*options, *function, globals.tail);
      if (!job.ok()) return Fail(job.status());
      if (*detached) return SubmitOnly(globals, **client, *job);
      return SubmitAndFollow(globals, **client, *job, !*no_order);
    };
  });
}

}  // namespace haul::cli
