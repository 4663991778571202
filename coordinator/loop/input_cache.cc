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
  const Key key{set, first};
  if (cost > byte_limit_ || !chunks_.emplace(key, std::move(values)).second) return;
  bytes_ += cost;
  oldest_first_.push_back(key);
  while (bytes_ > byte_limit_) {
    const auto oldest = chunks_.find(oldest_first_.front());
    oldest_first_.pop_front();
    if (oldest == chunks_.end()) continue;
    bytes_ -= Cost(oldest->second);
    chunks_.erase(oldest);
  }
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
    const TaskIndex end = first + chunk->second.count();
    if (first > next || end <= next) return std::nullopt;
    const std::uint64_t count = std::min(end, tasks.end()) - next;
    result.Append(chunk->second.Slice(next - first, count));
    next += count;
    ++chunk;
  }
  return result;
}

void InputCache::Drop(InputSetId set) {
  auto chunk = chunks_.lower_bound({set, 0});
  while (chunk != chunks_.end() && chunk->first.first == set) {
    bytes_ -= Cost(chunk->second);
    chunk = chunks_.erase(chunk);
  }
  std::erase_if(oldest_first_, [set](const Key& key) { return key.first == set; });
}

}  // namespace haul::coordinator
