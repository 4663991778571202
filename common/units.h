// How people write durations, sizes, cpus, and choices of tasks; and how they are shown. Pure; any
// thread. A parse error quotes the text and says what would be right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ids.h"

namespace haul {

// "500ms", "15m", "1h30m", "1.5s"; "0". Whole milliseconds, not negative.
absl::StatusOr<std::uint64_t> ParseDurationMs(std::string_view text);
// For people: "850ms", "12.3s", "4m05s", "2h07m".
std::string FormatDurationMs(std::uint64_t duration_ms);

// "512", "64KiB", "10MB": KiB MiB GiB TiB are powers of 1024, kB MB GB TB of 1000.
absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text);
// For people: "512 B", "64.0 KiB".
std::string FormatBytes(std::uint64_t byte_count);

// "4" is 4000, "0.1" is 100; at least 0.001.
absl::StatusOr<std::uint32_t> ParseCpusMilli(std::string_view text);
std::string FormatCpus(std::uint64_t cpus_milli);  // "0.1", "4"

// The tasks first, first + step, … up to `last`.
struct Stride {
  TaskIndex first = 0;
  TaskIndex last = 0;  // included
  std::uint64_t step = 1;

  bool Contains(TaskIndex index) const {
    return index >= first && index <= last && (index - first) % step == 0;
  }
  std::uint64_t count() const { return (last - first) / step + 1; }
  friend bool operator==(const Stride&, const Stride&) = default;
};

// A choice of a job's tasks.
struct Selector {
  bool failed = false;          // those that did not succeed; `strides` is empty
  std::vector<Stride> strides;  // in the order given; none and not `failed`: every task

  bool all() const { return !failed && strides.empty(); }
  bool Contains(TaskIndex index) const;  // true with `failed`: how a task ended is not known here
  // The smallest range that holds every task chosen; count 0 when all are, or with `failed`.
  TaskRange Hull() const;
  friend bool operator==(const Selector&, const Selector&) = default;
};

// "5", "1-10:2", "1,3,5-8", "failed", "all".
absl::StatusOr<Selector> ParseSelector(std::string_view text);

// "0-99:2" or "7", for --array.
absl::StatusOr<Stride> ParseArray(std::string_view text);

// "2026-11-23T08:15:00.123456Z".
std::string FormatRfc3339(std::int64_t unix_us);

}  // namespace haul
