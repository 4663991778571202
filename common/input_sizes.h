// How large the inputs of a job are, along its tasks: what a worker is given is bounded by what is
// there, not by the job's mean, wherever in the job the large ones stand. Kept by runs of tasks
// that count as even, of which there are few: one for a job whose inputs are. A plain value.
#pragma once

#include <cstdint>
#include <vector>

#include "common/ids.h"

namespace haul {

class InputSizes {
 public:
  // The next `count` tasks have so many bytes together.
  void Append(std::uint64_t count, std::uint64_t bytes);
  // How many tasks from `first` on may have so many bytes together; at least 1, and no limit where
  // all of them may. Off by a run at either end: by kRunBytes, or by what one Append had.
  std::uint64_t TasksWithin(TaskIndex first, std::uint64_t byte_limit) const;

  static constexpr std::uint64_t kRunBytes = 1 << 20;

 private:
  struct Run {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
    TaskIndex end = 0;

    std::uint64_t mean_bytes() const { return (bytes + count - 1) / count; }
  };
  std::vector<Run> runs_;
};

}  // namespace haul
