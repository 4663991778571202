// What every store refuses, because only a defect elsewhere can have written it. INTERNAL errors.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

absl::Status CheckInputs(const AppendInputs& write);
absl::Status CheckOutcome(const AddOutcome& write);

absl::Status UnknownJob(JobId job);
absl::Status UnknownWorker(WorkerId worker);
absl::Status SecondOutcome(JobId job, TaskRange tasks, TaskRange earlier);
absl::Status InputGap(InputSetId set, TaskIndex first, TaskIndex expected);

// Bounds of what a sound file holds. Epochs stand above the counter in assignment ids, which SQLite
// keeps as signed numbers.
inline constexpr std::uint64_t kMostEpochs = 1ull << (63 - AssignmentId::kCounterBits);
// Far beyond any limit that a coordinator is started with; sums of it do not wrap around.
inline constexpr std::uint64_t kMostTasks = 1ull << 40;

// Of a task that is not run again.
constexpr bool IsFinal(TaskStatus status) {
  return status >= TaskStatus::kSucceeded && status <= TaskStatus::kLost;
}

// first + count, without wrapping around.
constexpr TaskIndex EndOf(TaskRange range) {
  return range.count > ~0ull - range.first ? ~0ull : range.end();
}
constexpr bool Touches(TaskRange a, TaskRange b) {
  return a.first < EndOf(b) && b.first < EndOf(a);
}

}  // namespace haul::coordinator
