// The part of `haul worker` that starts one: `start`, which people call, and `run` and
// `report-death`, which the guardian calls. Main thread.
#pragma once

#include "cli/globals.h"

namespace haul::cli {

void AddWorkerStart(CLI::App& worker, Globals& globals);

}  // namespace haul::cli
