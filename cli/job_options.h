// The options that `haul run`, `submit` and `call` have in common, and the job that they describe.
// Main thread.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "haul/client.h"

namespace haul::cli {

// As written.
struct JobOptions {
  std::string name;
  std::int32_t priority = 0;
  std::uint32_t max_running = 0;
  std::string cpus = "1";
  std::string timeout = "0";
  std::string memory;  // empty: no limit
  std::uint32_t retries = 0;
  bool at_most_once = false;
  bool volatile_job = false;
  std::string request_id;
  std::vector<std::string> input_files;
  std::string array;
  // Commands only.
  std::vector<std::string> environment;
  std::string directory;
  std::string stdin_file;
  // Functions only.
  bool detail = false;
  std::string isolation = "thread";
  std::uint32_t tasks_per_process = 0;
};

void AddJobOptions(CLI::App& app, JobOptions& options);
void AddCommandOptions(CLI::App& app, JobOptions& options);
void AddFunctionOptions(CLI::App& app, JobOptions& options);

struct PreparedJob {
  client::JobSpec spec;
  std::unique_ptr<client::InputSource> inputs;  // none: an array, or a single task
  std::string request_id;
};

// kInvalidArgument names the option and what is wrong with it. `tail` is that of Globals. With a
// placeholder in the command, no source and no array, the values come from standard input, unless
// `stdin_is_terminal`.
absl::StatusOr<PreparedJob> PrepareCommand(const JobOptions& options,
                                           const std::vector<std::string>& tail,
                                           bool stdin_is_terminal);
// Inputs are encoded by the signature; a wrong one is found when it is read.
absl::StatusOr<PreparedJob> PrepareCall(const JobOptions& options,
                                        const client::FunctionInfo& function,
                                        const std::vector<std::string>& tail);

client::Result<client::Submitted> Submit(Client& client, PreparedJob& job);

}  // namespace haul::cli
