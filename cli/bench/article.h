// `haul bench article`: the article's programs against their ideal times.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/globals.h"

namespace haul::cli {

void AddBenchArticle(CLI::App& bench, Globals& globals);

}  // namespace haul::cli
