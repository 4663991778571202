// Outcomes of one assignment on their way, gathered into few.
#pragma once

#include <cstddef>
#include <vector>

#include "common/outcome.h"

namespace haul {

// Results of merged outcomes stay below this; a larger single result stands alone.
constexpr std::size_t kMergedResultBytes = 1u << 20;

// Appends an outcome, or makes it part of one of the last few where nothing is lost by it: tasks
// that adjoin and succeeded alike. Not so what was reported with detail.
void MergeInto(std::vector<Outcome>& outcomes, Outcome&& outcome, bool mergeable);

}  // namespace haul
