// A set of task indices, kept as disjoint, non-adjoining ranges: its cost is the number of ranges,
// not of tasks. Not thread-safe; a plain value.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "absl/container/btree_map.h"
#include "common/ids.h"

namespace haul {

class IntervalSet {
 public:
  IntervalSet() = default;
  explicit IntervalSet(TaskRange range) { Add(range); }

  // Indices that are in the set already stay; returns how many are new.
  std::uint64_t Add(TaskRange range);
  void Add(const IntervalSet& other);
  // Returns how many were there.
  std::uint64_t Remove(TaskRange range);
  void Remove(const IntervalSet& other);

  bool empty() const { return intervals_.empty(); }
  std::uint64_t size() const { return size_; }  // indices
  std::size_t interval_count() const { return intervals_.size(); }
  bool Contains(TaskIndex index) const { return ContainsAll({index, 1}); }
  bool ContainsAll(TaskRange range) const;  // true for an empty range
  bool Intersects(TaskRange range) const;

  // The first range, cut to at most `limit` indices; empty if the set is.
  TaskRange First(std::uint64_t limit) const;
  // Likewise the last one, cut from its end.
  TaskRange Last(std::uint64_t limit) const;

  IntervalSet Intersection(TaskRange range) const;
  IntervalSet Intersection(const IntervalSet& other) const;

  std::vector<TaskRange> ranges() const;
  friend bool operator==(const IntervalSet& a, const IntervalSet& b) {
    return a.intervals_ == b.intervals_;
  }

 private:
  using Map = absl::btree_map<TaskIndex, TaskIndex>;  // first -> end
  // The interval that holds or follows `index`.
  Map::const_iterator At(TaskIndex index) const;

  Map intervals_;
  std::uint64_t size_ = 0;
};

std::ostream& operator<<(std::ostream& out, const IntervalSet& set);

}  // namespace haul
