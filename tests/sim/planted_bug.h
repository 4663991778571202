// Faults of the world that no correct world has, planted to show that the checkers see them. None
// of them is in the code under test.
#pragma once

#include <cstdint>

namespace haul::sim {

enum class PlantedBug : std::uint8_t {
  kNone,
  kEffectsBeforeCommit,     // the loop does not wait for the store
  kStaleOutcomesRewritten,  // outcomes of superseded assignments come under the ids of live ones
  kForgetfulHello,          // a returning worker does not list what it runs
  kMembershipNotStored,     // workers' membership does not come back after a restart
  kWidthIgnored,            // a worker runs whatever it has
  kHandBackSwallowed,       // a worker forgets what it was asked for without saying so
};

}  // namespace haul::sim
