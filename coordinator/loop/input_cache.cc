#include "coordinator/loop/input_cache.h"

#include <algorithm>
#include <iterator>

namespace haul::coordinator {
namespace {

std::size_t Cost(const PackedBytes& values) {
  return values.byte_count() + values.end_offsets().size() * sizeof(std::uint32_t) + 128;
}

}  // namespace

void InputCache::Add(InputSetId set, TaskIndex first, PackedBytes values) {
  const std::size_t cost = Cost(values);
  if (cost > byte_limit_) return;
  const auto [chunk, is_new] = chunks_.try_emplace({set, first});
  if (!is_new) return;
  chunk->second = {std::move(values), ++last_number_};
  oldest_first_.emplace(last_number_, chunk->first);
  bytes_ += cost;
  while (bytes_ > byte_limit_) Erase(chunks_.find(oldest_first_.begin()->second));
}

std::optional<PackedBytes> InputCache::Find(InputSetId set, TaskRange tasks) const {
  PackedBytes result;
  TaskIndex next = tasks.first;
  auto chunk = chunks_.upper_bound({set, next});
  if (chunk == chunks_.begin()) return std::nullopt;
  --chunk;
  while (next < tasks.end()) {
    if (chunk == chunks_.end() || chunk->first.first != set) return std::nullopt;
    const TaskIndex first = chunk->first.second;
    const TaskIndex end = first + chunk->second.values.count();
    if (first > next || end <= next) return std::nullopt;
    const std::uint64_t count = std::min(end, tasks.end()) - next;
    result.Append(chunk->second.values.Slice(next - first, count));
    next += count;
    ++chunk;
  }
  return result;
}

void InputCache::Drop(InputSetId set) {
  auto chunk = chunks_.lower_bound({set, 0});
  while (chunk != chunks_.end() && chunk->first.first == set) {
    chunk = Erase(chunk);
  }
}

InputCache::Chunks::iterator InputCache::Erase(Chunks::iterator chunk) {
  bytes_ -= Cost(chunk->second.values);
  oldest_first_.erase(chunk->second.number);
  return chunks_.erase(chunk);
}

}  // namespace haul::coordinator
