// Time as the pure rooms see it: an argument. The shells read the clocks once a turn.
#pragma once

#include <cstdint>

namespace haul {

// Deadlines use the monotonic clock; wall clock is for people.
struct Now {
  std::int64_t monotonic_us = 0;
  std::int64_t unix_us = 0;
};

// Reads both clocks. Any thread.
Now ReadClocks();

}  // namespace haul
