#include <unistd.h>

#include <memory>

#include "cli/follow_job.h"
#include "cli/globals.h"
#include "cli/job_options.h"
#include "cli/status.h"

namespace haul::cli {

void AddRun(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand("run",
                                         "Run a command for every input, print what the tasks "
                                         "write: run [OPTIONS] -- CMD [ARG…] [::: V…]");
  const auto options = std::make_shared<JobOptions>();
  const auto keep_order = std::make_shared<bool>(false);
  AddJobOptions(*command, *options);
  AddCommandOptions(*command, *options);
  command->add_flag("-k,--keep-order", *keep_order, "Print outputs in the order of the inputs");
  command->callback([&globals, options, keep_order] {
    globals.action = [&globals, options, keep_order] {
      absl::StatusOr<PreparedJob> job =
          PrepareCommand(*options, globals.tail, isatty(STDIN_FILENO) != 0);
      if (!job.ok()) return Fail(job.status());
      const auto client = Connect(globals);
      if (!client.ok()) return Fail(client.status());
      return SubmitAndFollow(globals, **client, *job, *keep_order);
    };
  });
}

}  // namespace haul::cli
