#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/format.h"
#include "cli/globals.h"
#include "cli/status.h"
#include "common/version.h"

namespace haul::cli {

void AddVersion(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand("version", "Print the version of this program");
  command->callback([&globals] {
    globals.action = [&globals] {
      if (globals.json()) {
        PrintJson({{"object", "version"}, {"version", kVersion}});
      } else {
        std::printf("haul %s\n", std::string(kVersion).c_str());
      }
      return kExitSuccess;
    };
  });
}

}  // namespace haul::cli
