#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/format.h"
#include "cli/globals.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

int ListFunctions(const Globals& globals) {
  const auto client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  const auto functions = (*client)->Functions();
  if (!functions.ok()) return Fail(functions.status());
  Table table({"FUNCTION", "SIGNATURE", "LIBRARY", "WORKERS"});
  for (const client::FunctionInfo& function : *functions) {
    if (globals.json()) {
      PrintJson(ToJson(function));
    } else {
      table.Add({Printable(function.name), Printable(function.signature),
                 Printable(function.library), std::to_string(function.workers)});
    }
  }
  if (!globals.json()) table.Print();
  return kExitSuccess;
}

}  // namespace

void AddFunction(CLI::App& app, Globals& globals) {
  CLI::App* function = app.add_subcommand("function", "The functions that workers serve");
  function->require_subcommand(1);
  CLI::App* list = function->add_subcommand("list", "List them with their signatures");
  list->callback([&globals] { globals.action = [&globals] { return ListFunctions(globals); }; });
}

}  // namespace haul::cli
