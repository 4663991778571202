#include "common/merge_outcomes.h"

#include <algorithm>
#include <utility>

namespace haul {
namespace {

// Threads hand over chunks of one run out of order, but not by much.
constexpr std::size_t kNeighboursSought = 8;

bool IsPlainSuccess(const Outcome& outcome) {
  return outcome.status == TaskStatus::kSucceeded && outcome.message.empty() &&
         outcome.output_file.empty();
}

// Whether `before` and `after` are one run of tasks.
bool Adjoin(const Outcome& before, const Outcome& after) {
  return before.tasks.end() == after.tasks.first && before.attempt == after.attempt &&
         before.pid == after.pid && (before.results.count() == 0) == (after.results.count() == 0) &&
         before.results.byte_count() + after.results.byte_count() <= kMergedResultBytes;
}

// `after` becomes part of `before`.
void Join(Outcome& before, const Outcome& after) {
  before.tasks.count += after.tasks.count;
  if (before.results.count() > 0) before.results.Append(after.results);
  before.started_unix_us = std::min(before.started_unix_us, after.started_unix_us);
  before.finished_unix_us = std::max(before.finished_unix_us, after.finished_unix_us);
  before.busy_ns += after.busy_ns;
}

}  // namespace

void MergeInto(std::vector<Outcome>& outcomes, Outcome&& outcome, bool mergeable) {
  if (mergeable && IsPlainSuccess(outcome)) {
    const std::size_t sought = std::min(outcomes.size(), kNeighboursSought);
    for (std::size_t back = 1; back <= sought; ++back) {
      Outcome& neighbour = outcomes[outcomes.size() - back];
      if (!IsPlainSuccess(neighbour)) continue;
      if (Adjoin(neighbour, outcome)) return Join(neighbour, outcome);
      if (Adjoin(outcome, neighbour)) {
        std::swap(neighbour, outcome);
        return Join(neighbour, outcome);
      }
    }
  }
  outcomes.push_back(std::move(outcome));
}

}  // namespace haul
