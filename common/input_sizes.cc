#include "common/input_sizes.h"

#include <algorithm>
#include <limits>

namespace haul {

void InputSizes::Append(std::uint64_t count, std::uint64_t bytes) {
  if (count == 0) return;
  Run next{.count = count, .bytes = bytes, .end = count};
  if (!runs_.empty()) {
    Run& last = runs_.back();
    next.end += last.end;
    if (last.bytes + bytes <= kRunBytes || last.mean_bytes() == next.mean_bytes()) {
      last = {.count = last.count + count, .bytes = last.bytes + bytes, .end = next.end};
      return;
    }
  }
  runs_.push_back(next);
}

std::uint64_t InputSizes::TasksWithin(TaskIndex first, std::uint64_t byte_limit) const {
  auto run = std::upper_bound(runs_.begin(), runs_.end(), first,
                              [](TaskIndex task, const Run& r) { return task < r.end; });
  TaskIndex next = first;
  for (std::uint64_t left = byte_limit; run != runs_.end(); ++run) {
    const std::uint64_t mean_bytes = run->mean_bytes();
    const std::uint64_t count = run->end - next;
    if (mean_bytes > 0 && left / mean_bytes < count) {
      return std::max<std::uint64_t>(1, next - first + left / mean_bytes);
    }
    left -= count * mean_bytes;
    next = run->end;
  }
  return std::numeric_limits<std::uint64_t>::max();
}

}  // namespace haul
