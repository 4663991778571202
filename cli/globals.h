// What all subcommands share: the options that may stand anywhere on the command line, and the
// connection. A subcommand is a function `void AddX(CLI::App& app, Globals& globals)` in a file of
// its own: it declares its options and sets `globals.action` to what shall be done. Main thread.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "haul/client.h"

namespace haul::cli {

struct Globals {
  std::string output = "text";
  ConfigFlags config;
  std::string connect_timeout = "5s";
  std::string reconnect_timeout = "1m";
  std::string log_level = "info";
  std::string log_format = "text";
  // The words from the first "--", ":::" or "::::" on; the options are read without them.
  std::vector<std::string> tail;
  // Set while parsing, by the subcommand that was named; returns the exit status.
  std::function<int()> action;

  bool json() const { return output == "json"; }
};

client::Result<std::unique_ptr<Client>> Connect(const Globals& globals);

void AddUp(CLI::App& app, Globals& globals);
void AddCoordinator(CLI::App& app, Globals& globals);
void AddWorker(CLI::App& app, Globals& globals);
void AddRun(CLI::App& app, Globals& globals);
void AddSubmit(CLI::App& app, Globals& globals);
void AddCall(CLI::App& app, Globals& globals);
void AddJob(CLI::App& app, Globals& globals);
void AddFunction(CLI::App& app, Globals& globals);
void AddBench(CLI::App& app, Globals& globals);
void AddVersion(CLI::App& app, Globals& globals);

}  // namespace haul::cli
