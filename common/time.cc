#include "common/time.h"

#include <chrono>

namespace haul {

Now ReadClocks() {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  return Now{
      .monotonic_us =
          duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(),
      .unix_us =
          duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
}

}  // namespace haul
