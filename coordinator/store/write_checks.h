// What every store refuses, because only a defect elsewhere can have written it. INTERNAL errors.
#pragma once

#include "absl/status/status.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

absl::Status CheckInputs(const AppendInputs& write);
absl::Status CheckOutcome(const AddOutcome& write);

absl::Status UnknownJob(JobId job);
absl::Status UnknownWorker(WorkerId worker);
absl::Status SecondOutcome(JobId job, TaskRange tasks, TaskRange earlier);
absl::Status InputGap(InputSetId set, TaskIndex first, TaskIndex expected);

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
