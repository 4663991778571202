#include <unistd.h>

#include <memory>

#include "cli/follow_job.h"
#include "cli/globals.h"
#include "cli/job_options.h"
#include "cli/status.h"

namespace haul::cli {

void AddSubmit(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand(
      "submit",
      "Like run, but print the job's id and return: submit [OPTIONS] -- CMD [ARG…] [::: V…]");
  const auto options = std::make_shared<JobOptions>();
  AddJobOptions(*command, *options);
  AddCommandOptions(*command, *options);
  command->callback([&globals, options] {
    globals.action = [&globals, options] {
      absl::StatusOr<PreparedJob> job =
          PrepareCommand(*options, globals.tail, isatty(STDIN_FILENO) != 0);
      if (!job.ok()) return Fail(job.status());
      const auto client = Connect(globals);
      if (!client.ok()) return Fail(client.status());
      return SubmitOnly(globals, **client, *job);
    };
  });
}

}  // namespace haul::cli
