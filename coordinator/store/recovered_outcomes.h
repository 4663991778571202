// Outcome ranges on their way back to the core, joined where they adjoin: recovery then costs as
// much as there are runs of equal status.
#pragma once

#include <algorithm>
#include <vector>

#include "coordinator/store/store.h"

namespace haul::coordinator {

class RecoveredOutcomes {
 public:
  explicit RecoveredOutcomes(std::vector<DurableRecord>& records) : records_(records) {}

  // In index order within a job. What a damaged file says wraps around stays apart, for
  // CheckRecovered to find. Of what was joined, what differed is none, and the time is the
  // latest.
  void Add(OutcomeRecorded next) {
    OutcomeRecorded* last =
        records_.empty() ? nullptr : std::get_if<OutcomeRecorded>(&records_.back());
    const bool wraps = last != nullptr && last->tasks.count + next.tasks.count <= last->tasks.count;
    if (last == nullptr || last->job != next.job || last->tasks.end() != next.tasks.first ||
        last->status != next.status || wraps) {
      records_.emplace_back(std::move(next));
      return;
    }
    last->tasks.count += next.tasks.count;
    if (last->cause != next.cause) last->cause = Cause::kNone;
    if (last->worker != next.worker) last->worker = {};
    last->unix_us = std::max(last->unix_us, next.unix_us);
  }

 private:
  std::vector<DurableRecord>& records_;
};

}  // namespace haul::coordinator
