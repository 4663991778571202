#include "common/packed_bytes.h"

#include <gtest/gtest.h>

namespace haul {
namespace {

TEST(PackedBytesTest, EqualSizesNeedNoOffsets) {
  PackedBytes pack;
  pack.Append("aa");
  pack.Append("bb");
  EXPECT_EQ(pack.uniform_size(), 2u);
  EXPECT_TRUE(pack.end_offsets().empty());
  pack.Append("c");
  EXPECT_EQ(pack.uniform_size(), 0u);
  ASSERT_EQ(pack.count(), 3u);
  EXPECT_EQ(pack[1], "bb");
  EXPECT_EQ(pack[2], "c");
}

TEST(PackedBytesTest, ManyEmptyValuesTakeNoRoom) {
  PackedBytes pack;
  ASSERT_TRUE(PackedBytes::FromParts(1'000'000, 0, {}, "", &pack));
  EXPECT_EQ(pack[999'999], "");
  pack.Append("x");
  EXPECT_EQ(pack[1'000'000], "x");
}

TEST(PackedBytesTest, SliceKeepsValues) {
  PackedBytes pack;
  for (const char* value : {"a", "bcd", "", "ef"}) pack.Append(value);
  const PackedBytes slice = pack.Slice(1, 3);
  ASSERT_EQ(slice.count(), 3u);
  EXPECT_EQ(slice[0], "bcd");
  EXPECT_EQ(slice[1], "");
  EXPECT_EQ(slice[2], "ef");
  PackedBytes joined = pack.Slice(0, 1);
  joined.Append(slice);
  EXPECT_EQ(joined, pack);
}

TEST(PackedBytesTest, PartsThatDoNotFitAreRefused) {
  PackedBytes pack;
  EXPECT_FALSE(PackedBytes::FromParts(2, 3, {}, "12345", &pack));
  EXPECT_FALSE(PackedBytes::FromParts(~0ull, 2, {}, "12", &pack));
  EXPECT_FALSE(PackedBytes::FromParts(2, 0, {3, 2}, "12", &pack));
  EXPECT_FALSE(PackedBytes::FromParts(2, 0, {1}, "1", &pack));
  EXPECT_FALSE(PackedBytes::FromParts(1, 0, {1}, "12", &pack));
  EXPECT_FALSE(PackedBytes::FromParts(1, 2, {2}, "12", &pack));
  EXPECT_TRUE(PackedBytes::FromParts(2, 0, {1, 2}, "12", &pack));
}

}  // namespace
}  // namespace haul
