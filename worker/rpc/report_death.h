// The guardian's word to the coordinator that its worker is dead, given by a short-lived process.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace haul::worker {

// Blocks for some seconds at most. `cause` is for people: "killed by signal 9".
absl::Status ReportDeath(const std::string& address, const std::string& token,
                         const std::string& incarnation, const std::string& cause);

}  // namespace haul::worker
