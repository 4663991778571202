#include "worker/core/owed_outcomes.h"

#include <utility>

#include "common/check.h"

namespace haul::worker {

void OwedOutcomes::Add(AssignmentId assignment, JobId job, TaskRange tasks,
                       std::size_t byte_count) {
  Unsealed& unsealed = unsealed_[assignment];
  unsealed.job = job;
  unsealed.items.push_back({tasks, byte_count});
  byte_count_ += byte_count;
}

std::vector<std::uint64_t> OwedOutcomes::TakeUnsent(std::size_t byte_limit,
                                                    std::size_t* bytes_taken) {
  std::vector<std::uint64_t> taken;
  for (auto it = batches_.lower_bound(next_unsent_); it != batches_.end(); ++it) {
    if (!taken.empty() && *bytes_taken + it->second.byte_count > byte_limit) return taken;
    *bytes_taken += it->second.byte_count;
    taken.push_back(it->first);
    next_unsent_ = it->first + 1;
  }
  next_unsent_ = next_sequence_;
  return taken;
}

OwedOutcomes::Sealed OwedOutcomes::Seal(std::size_t byte_limit) {
  HAUL_CHECK(!unsealed_.empty());
  const auto it = unsealed_.begin();
  Batch batch{.assignment = it->first, .job = it->second.job, .tasks = {}};
  std::deque<Item>& items = it->second.items;
  while (!items.empty()) {
    const Item& item = items.front();
    if (batch.outcome_count > 0 && batch.byte_count + item.byte_count > byte_limit) break;
    batch.byte_count += item.byte_count;
    ++batch.outcome_count;
    if (!batch.tasks.empty() && batch.tasks.back().end() == item.tasks.first) {
      batch.tasks.back().count += item.tasks.count;
    } else {
      batch.tasks.push_back(item.tasks);
    }
    items.pop_front();
  }
  if (items.empty()) unsealed_.erase(it);
  const std::uint64_t sequence = next_sequence_++;
  batches_.emplace(sequence, batch);
  return {sequence, std::move(batch)};
}

std::vector<OwedOutcomes::Batch> OwedOutcomes::DurableThrough(std::uint64_t sequence) {
  std::vector<Batch> durable;
  while (!batches_.empty() && batches_.begin()->first <= sequence) {
    Batch& batch = batches_.begin()->second;
    byte_count_ -= batch.byte_count;
    if (!batch.is_void) durable.push_back(std::move(batch));
    batches_.erase(batches_.begin());
  }
  return durable;
}

std::vector<std::uint64_t> OwedOutcomes::Drop(AssignmentId assignment) {
  if (const auto it = unsealed_.find(assignment); it != unsealed_.end()) {
    for (const Item& item : it->second.items) byte_count_ -= item.byte_count;
    unsealed_.erase(it);
  }
  std::vector<std::uint64_t> voided;
  for (auto& [sequence, batch] : batches_) {
    if (batch.assignment != assignment || batch.is_void) continue;
    byte_count_ -= batch.byte_count;
    batch.byte_count = 0;
    batch.tasks.clear();
    batch.is_void = true;
    voided.push_back(sequence);
  }
  return voided;
}

IntervalSet OwedOutcomes::TasksOf(AssignmentId assignment) const {
  IntervalSet tasks;
  if (const auto it = unsealed_.find(assignment); it != unsealed_.end()) {
    for (const Item& item : it->second.items) tasks.Add(item.tasks);
  }
  for (const auto& [sequence, batch] : batches_) {
    if (batch.assignment != assignment) continue;
    for (const TaskRange& range : batch.tasks) tasks.Add(range);
  }
  return tasks;
}

}  // namespace haul::worker
