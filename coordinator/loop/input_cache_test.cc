#include "coordinator/loop/input_cache.h"

#include <gtest/gtest.h>

#include <string>

namespace haul::coordinator {
namespace {

PackedBytes Values(int first, int count) {
  PackedBytes values;
  for (int i = first; i < first + count; ++i) values.Append(std::to_string(i));
  return values;
}

TEST(InputCacheTest, FindsARangeOverSeveralChunks) {
  InputCache cache(1 << 20);
  cache.Add(InputSetId(1), 0, Values(0, 10));
  cache.Add(InputSetId(1), 10, Values(10, 10));
  cache.Add(InputSetId(2), 0, Values(100, 10));
  const auto found = cache.Find(InputSetId(1), {7, 6});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, Values(7, 6));
  EXPECT_FALSE(cache.Find(InputSetId(1), {15, 6}).has_value());
  cache.Drop(InputSetId(1));
  EXPECT_FALSE(cache.Find(InputSetId(1), {0, 1}).has_value());
  EXPECT_TRUE(cache.Find(InputSetId(2), {0, 1}).has_value());
}

TEST(InputCacheTest, ForgetsTheOldestWhenFull) {
  InputCache cache(1000);
  for (int chunk = 0; chunk < 100; ++chunk) {
    cache.Add(InputSetId(1), static_cast<TaskIndex>(chunk) * 10, Values(chunk * 10, 10));
  }
  EXPECT_FALSE(cache.Find(InputSetId(1), {0, 1}).has_value());
  EXPECT_TRUE(cache.Find(InputSetId(1), {990, 10}).has_value());
}

TEST(InputCacheTest, WhatWasDroppedMakesRoomAndIsForgottenNoMore) {
  InputCache cache(1000);
  for (int set = 1; set <= 100; ++set) {
    const InputSetId id(static_cast<std::uint64_t>(set));
    cache.Add(id, 0, Values(0, 10));
    cache.Add(id, 10, Values(10, 10));
    EXPECT_TRUE(cache.Find(id, {0, 20}).has_value());
    EXPECT_TRUE(set == 1 || cache.Find(InputSetId(1), {0, 20}).has_value()) << "it was not in need";
    if (set > 1) cache.Drop(id);
  }
  cache.Drop(InputSetId(1));
  cache.Add(InputSetId(1), 0, Values(50, 10));
  EXPECT_EQ(cache.Find(InputSetId(1), {0, 10}), Values(50, 10));
}

}  // namespace
}  // namespace haul::coordinator
