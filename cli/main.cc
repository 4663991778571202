// `haul`: reads the command line and does what the subcommand says.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cli/globals.h"
#include "cli/inputs.h"
#include "cli/interrupt.h"
#include "cli/log.h"
#include "cli/status.h"
#include "common/memory.h"
#include "common/version.h"

namespace haul::cli {
namespace {

void AddGlobalOptions(CLI::App& app, Globals& globals) {
  app.add_option("--output", globals.output, "text, or json: one object a line")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--coordinator", globals.config.coordinator, "HOST:PORT of the coordinator");
  app.add_option("--data-dir", globals.config.data_dir, "The coordinator's data directory");
  app.add_option("--token-file", globals.config.token_file,
                 "The file with the coordinator's token");
  app.add_option("--connect-timeout", globals.connect_timeout,
                 "How long to wait for the coordinator (default 5s)");
  app.add_option("--reconnect-timeout", globals.reconnect_timeout,
                 "How long to try again when it goes away meanwhile (default 1m)");
  app.add_option("--log-level", globals.log_level, "trace, debug, info, warn, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  app.add_option("--log-format", globals.log_format, "text, or json: one object a line")
      ->check(CLI::IsMember({"text", "json"}));
}

void FallThroughEverywhere(CLI::App* app) {
  app->fallthrough();
  if (app->get_parent() != nullptr) {
    app->footer(
        "Every command also takes --data-dir, --coordinator, --token-file, --output and the other "
        "options of `haul --help`.");
  }
  for (CLI::App* command : app->get_subcommands([](CLI::App*) { return true; })) {
    FallThroughEverywhere(command);
  }
}

// Which subcommands take what stands behind "--" and ":::".
bool TakesTail(const CLI::App& app) {
  for (const char* name : {"run", "submit", "call"}) {
    if (app.got_subcommand(name)) return true;
  }
  return false;
}

// What was expected and what was found, on one line.
std::string DescribeUsageError(const CLI::App& app, const CLI::Error& error) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (unknown.empty()) return std::string(error.what()) + ": see haul --help";
  std::string message = "\"" + unknown.front() + "\" is not understood: ";
  if (app.got_subcommand("run") || app.got_subcommand("submit")) {
    return message + "write the command after --, as in -- gzip {}";
  }
  return message + "see haul --help";
}

int Main(int argc, char** argv) {
  ExitOnInterrupt();
  Globals globals;
  CLI::App app("Haul: a distributed queue for commands and C++ functions", "haul");
  app.set_version_flag("--version", "haul " + std::string(kVersion));
  app.require_subcommand(1);
  AddGlobalOptions(app, globals);
  AddUp(app, globals);
  AddCoordinator(app, globals);
  AddWorker(app, globals);
  AddRun(app, globals);
  AddSubmit(app, globals);
  AddCall(app, globals);
  AddJob(app, globals);
  AddFunction(app, globals);
  AddBench(app, globals);
  AddVersion(app, globals);
  FallThroughEverywhere(&app);

  std::vector<std::string> words(argv + 1, argv + argc);
  const auto tail = std::find_if(words.begin(), words.end(), StartsTail);
  globals.tail.assign(tail, words.end());
  words.erase(tail, words.end());
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app.parse(words);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::Error& error) {
    return Fail(kExitUsage, DescribeUsageError(app, error));
  }
  if (!globals.tail.empty() && !TakesTail(app)) {
    return Fail(kExitUsage,
                "\"" + globals.tail.front() + "\" belongs to haul run, submit and call");
  }
  SetUpLog(globals.log_level, globals.log_format);
  const int exit_status = globals.action();
  const client::Status written = FlushOutput();
  return written.ok() ? exit_status : Fail(written);
}

}  // namespace
}  // namespace haul::cli

int main(int argc, char** argv) {
  // Debian's Abseil is built with it: every lock would be checked against all others.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  haul::KeepFreedMemory();
  return haul::cli::Main(argc, argv);
}
