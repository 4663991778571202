#include <gtest/gtest.h>

#include "haul/client.h"

namespace haul::client {
namespace {

TEST(TypesTest, AJobIsNamedByIdNameOrLast) {
  EXPECT_EQ(JobRef::Parse("17").id()->value, 17u);
  EXPECT_EQ(*JobRef::Parse("nightly").name(), "nightly");
  EXPECT_EQ(*JobRef::Parse("17a").name(), "17a");
  EXPECT_EQ(JobRef::Parse("last").id(), nullptr);
  EXPECT_EQ(JobRef::Parse("last").name(), nullptr);
}

TEST(TypesTest, ValuesOfOneSizeAndOfMany) {
  Values values;
  ASSERT_TRUE(Values::FromParts(3, 2, {}, "aabbcc", &values));
  EXPECT_EQ(values[2], "cc");
  ASSERT_TRUE(Values::FromParts(3, 0, {1, 1, 4}, "abcd", &values));
  EXPECT_EQ(values[0], "a");
  EXPECT_EQ(values[1], "");
  EXPECT_EQ(values[2], "bcd");
  ASSERT_TRUE(Values::FromParts(3, 0, {}, "", &values));
  EXPECT_EQ(values[2], "");
}

TEST(TypesTest, WhatDoesNotDescribeTheValuesIsRefused) {
  Values values;
  EXPECT_FALSE(Values::FromParts(3, 2, {}, "aabb", &values));
  EXPECT_FALSE(Values::FromParts(2, 0, {3, 2}, "ab", &values));
  EXPECT_FALSE(Values::FromParts(2, 0, {1, 3}, "ab", &values));
  EXPECT_FALSE(Values::FromParts(2, 0, {1}, "a", &values));
  EXPECT_FALSE(Values::FromParts(2, 0, {}, "ab", &values));
}

}  // namespace
}  // namespace haul::client
