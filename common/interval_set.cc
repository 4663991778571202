#include "common/interval_set.h"

#include <algorithm>
#include <iterator>

#include "common/planted_bug.h"

namespace haul {

IntervalSet::Map::const_iterator IntervalSet::At(TaskIndex index) const {
  auto it = intervals_.upper_bound(index);
  if (it != intervals_.begin() && std::prev(it)->second > index) --it;
  return it;
}

std::uint64_t IntervalSet::Add(TaskRange range) {
  if (range.count == 0) return 0;
  TaskIndex first = range.first;
  TaskIndex end = range.end();
  std::uint64_t swallowed = 0;
  auto it = intervals_.upper_bound(first);
  if (it != intervals_.begin() && std::prev(it)->second >= first) --it;
  while (it != intervals_.end() && it->first <= end) {
    first = std::min(first, it->first);
    end = std::max(end, it->second);
    swallowed += it->second - it->first;
    it = intervals_.erase(it);
  }
  intervals_.emplace(first, end);
  const std::uint64_t added = (end - first) - swallowed;
  size_ += added;
  return added;
}

void IntervalSet::Add(const IntervalSet& other) {
  for (const auto& [first, end] : other.intervals_) Add({first, end - first});
}

std::uint64_t IntervalSet::Remove(TaskRange range) {
  if (range.count == 0) return 0;
  const TaskIndex end = range.end();
  std::uint64_t removed = 0;
  auto it = intervals_.upper_bound(range.first);
  if (it != intervals_.begin() && std::prev(it)->second > range.first) --it;
  while (it != intervals_.end() && it->first < end) {
    const TaskIndex it_first = it->first;
    const TaskIndex it_end = it->second;
    it = intervals_.erase(it);
    removed += std::min(end, it_end) - std::max(range.first, it_first);
    if (it_first < range.first) intervals_.emplace(it_first, range.first);
    if (it_end > end) {
      intervals_.emplace(Planted(PlantedBug::kIntervalOffByOne) ? end - 1 : end, it_end);
      break;
    }
    it = intervals_.lower_bound(range.first);
  }
  size_ -= removed;
  return removed;
}

void IntervalSet::Remove(const IntervalSet& other) {
  for (const auto& [first, end] : other.intervals_) Remove({first, end - first});
}

bool IntervalSet::ContainsAll(TaskRange range) const {
  if (range.count == 0) return true;
  const auto it = At(range.first);
  return it != intervals_.end() && it->first <= range.first && it->second >= range.end();
}

bool IntervalSet::Intersects(TaskRange range) const {
  if (range.count == 0) return false;
  const auto it = At(range.first);
  return it != intervals_.end() && it->first < range.end();
}

TaskRange IntervalSet::First(std::uint64_t limit) const {
  if (empty()) return {};
  const auto it = intervals_.begin();
  return {it->first, std::min(limit, it->second - it->first)};
}

TaskRange IntervalSet::Last(std::uint64_t limit) const {
  if (empty()) return {};
  const auto it = std::prev(intervals_.end());
  const std::uint64_t count = std::min(limit, it->second - it->first);
  return {it->second - count, count};
}

IntervalSet IntervalSet::Intersection(TaskRange range) const {
  IntervalSet result;
  for (auto it = At(range.first); it != intervals_.end() && it->first < range.end(); ++it) {
    const TaskIndex first = std::max(it->first, range.first);
    result.Add({first, std::min(it->second, range.end()) - first});
  }
  return result;
}

IntervalSet IntervalSet::Intersection(const IntervalSet& other) const {
  IntervalSet result;
  for (const auto& [first, end] : other.intervals_) {
    result.Add(Intersection(TaskRange{first, end - first}));
  }
  return result;
}

std::vector<TaskRange> IntervalSet::ranges() const {
  std::vector<TaskRange> result;
  result.reserve(intervals_.size());
  for (const auto& [first, end] : intervals_) result.push_back({first, end - first});
  return result;
}

std::ostream& operator<<(std::ostream& out, const IntervalSet& set) {
  out << "{";
  const char* separator = "";
  for (const TaskRange& range : set.ranges()) {
    out << separator << range;
    separator = ", ";
  }
  return out << "}";
}

}  // namespace haul
