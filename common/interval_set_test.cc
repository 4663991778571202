#include "common/interval_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace haul {
namespace {

TEST(IntervalSetTest, AdjoiningRangesBecomeOne) {
  IntervalSet set;
  EXPECT_EQ(set.Add({0, 10}), 10u);
  EXPECT_EQ(set.Add({20, 10}), 10u);
  EXPECT_EQ(set.Add({10, 10}), 10u);
  EXPECT_EQ(set.ranges(), (std::vector<TaskRange>{{0, 30}}));
  EXPECT_EQ(set.Add({5, 30}), 5u);
  EXPECT_EQ(set.size(), 35u);
}

TEST(IntervalSetTest, RemovingFromTheMiddleSplits) {
  IntervalSet set(TaskRange{0, 100});
  EXPECT_EQ(set.Remove({40, 20}), 20u);
  EXPECT_EQ(set.ranges(), (std::vector<TaskRange>{{0, 40}, {60, 40}}));
  EXPECT_EQ(set.Remove({30, 40}), 20u);
  EXPECT_EQ(set.First(7), (TaskRange{0, 7}));
  EXPECT_EQ(set.Last(7), (TaskRange{93, 7}));
}

// Against std::set, which is slow and obviously right.
TEST(IntervalSetTest, BehavesLikeASetOfIndices) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    IntervalSet set;
    std::set<TaskIndex> model;
    for (int step = 0; step < 200; ++step) {
      const TaskRange range{random() % 100, random() % 12};
      const bool contains_all = [&] {
        for (TaskIndex i = range.first; i < range.end(); ++i) {
          if (!model.contains(i)) return false;
        }
        return true;
      }();
      EXPECT_EQ(set.ContainsAll(range), contains_all);
      const std::size_t before = model.size();
      std::uint64_t changed = 0;
      if (random() % 2 == 0) {
        changed = set.Add(range);
        for (TaskIndex i = range.first; i < range.end(); ++i) model.insert(i);
        EXPECT_EQ(changed, model.size() - before);
      } else {
        EXPECT_EQ(set.Intersection(range).size(), [&] {
          std::uint64_t n = 0;
          for (TaskIndex i = range.first; i < range.end(); ++i) n += model.count(i);
          return n;
        }());
        changed = set.Remove(range);
        for (TaskIndex i = range.first; i < range.end(); ++i) model.erase(i);
        EXPECT_EQ(changed, before - model.size());
      }
      ASSERT_EQ(set.size(), model.size());
      std::set<TaskIndex> listed;
      for (const TaskRange& r : set.ranges()) {
        ASSERT_GT(r.count, 0u);
        for (TaskIndex i = r.first; i < r.end(); ++i) listed.insert(i);
      }
      ASSERT_EQ(listed, model);
    }
  }
}

}  // namespace
}  // namespace haul
