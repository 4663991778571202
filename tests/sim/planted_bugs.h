// Shows that the simulation's checkers can fail: each deliberate defect (common/planted_bug.h) is
// switched on in a process of its own, which runs seeds until a promise is seen broken.
#pragma once

#include <string>
#include <string_view>

#include "common/planted_bug.h"

namespace haul::sim {

// kNone for a name that there is not.
PlantedBug PlantedBugOfName(std::string_view name);
// Exit status: 0 where it was found within 240 s of processor time. Prints by what.
int FindPlantedBug(PlantedBug bug);
// All of them, as a table and with their number at its end.
int FindAllPlantedBugs();

// The commit of the tree that this was built from, as git names it now.
std::string CommitOfTheTree();

}  // namespace haul::sim
