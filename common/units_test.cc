#include "common/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace haul {
namespace {

using ::testing::HasSubstr;

TEST(UnitsTest, DurationsAreReadInTheirUnits) {
  EXPECT_EQ(*ParseDurationMs("500ms"), 500u);
  EXPECT_EQ(*ParseDurationMs("15m"), 900'000u);
  EXPECT_EQ(*ParseDurationMs("1h30m"), 5'400'000u);
  EXPECT_EQ(*ParseDurationMs("1.5s"), 1500u);
  EXPECT_EQ(*ParseDurationMs("0"), 0u);
}

TEST(UnitsTest, WhatIsNoDurationIsQuotedWithAnExample) {
  for (const char* text : {"", "5", "-5s", "inf", "10 years", "1us", "s"}) {
    const auto duration = ParseDurationMs(text);
    ASSERT_FALSE(duration.ok()) << text;
    EXPECT_THAT(std::string(duration.status().message()), HasSubstr("write")) << text;
  }
  EXPECT_THAT(std::string(ParseDurationMs("abc").status().message()), HasSubstr("\"abc\""));
}

TEST(UnitsTest, DurationsAreShownShort) {
  EXPECT_EQ(FormatDurationMs(850), "850ms");
  EXPECT_EQ(FormatDurationMs(12'345), "12.3s");
  EXPECT_EQ(FormatDurationMs(59'999), "59.9s");
  EXPECT_EQ(FormatDurationMs(245'000), "4m05s");
  EXPECT_EQ(FormatDurationMs(7'620'000), "2h07m");
}

TEST(UnitsTest, SizesAreReadInTheirUnits) {
  EXPECT_EQ(*ParseBytes("512"), 512u);
  EXPECT_EQ(*ParseBytes("64KiB"), 65'536u);
  EXPECT_EQ(*ParseBytes("10MB"), 10'000'000u);
  EXPECT_EQ(*ParseBytes("2 GiB"), 2ull << 30);
  for (const char* text : {"", "KiB", "1.5GiB", "-1", "1kib", "99999999TiB"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(65'536), "64.0 KiB");
}

TEST(UnitsTest, CpusAreThousandths) {
  EXPECT_EQ(*ParseCpusMilli("0.1"), 100u);
  EXPECT_EQ(*ParseCpusMilli("0.001"), 1u);
  EXPECT_EQ(*ParseCpusMilli("4"), 4000u);
  for (const char* text : {"", "0", "-1", "0.0001", "nan", "four", "1e12"}) {
    EXPECT_FALSE(ParseCpusMilli(text).ok()) << text;
  }
  EXPECT_EQ(FormatCpus(100), "0.1");
  EXPECT_EQ(FormatCpus(4000), "4");
  EXPECT_EQ(FormatCpus(2500), "2.5");
  EXPECT_EQ(FormatCpus(0), "0");
}

TEST(UnitsTest, SelectorsChooseTasks) {
  const Selector selector = *ParseSelector("1,3,5-8,20-30:5");
  for (const TaskIndex index : {1u, 3u, 5u, 8u, 20u, 25u, 30u})
    EXPECT_TRUE(selector.Contains(index));
  for (const TaskIndex index : {0u, 2u, 9u, 21u, 31u}) EXPECT_FALSE(selector.Contains(index));
  EXPECT_EQ(selector.Hull(), (TaskRange{1, 30}));

  EXPECT_TRUE(ParseSelector("failed")->failed);
  EXPECT_TRUE(ParseSelector("all")->all());
  EXPECT_EQ(ParseSelector("all")->Hull().count, 0u);
  for (const char* text :
       {"", "1,", "a", "5-1", "1-10:0", "-3", "5:2", "1-2-3", "18446744073709551616"}) {
    EXPECT_FALSE(ParseSelector(text).ok()) << text;
  }
}

TEST(UnitsTest, ArraysEndAtTheirLastIndex) {
  EXPECT_EQ(*ParseArray("0-99:2"), (Stride{0, 98, 2}));
  EXPECT_EQ(ParseArray("0-99:2")->count(), 50u);
  EXPECT_EQ(ParseArray("0-9999999")->count(), 10'000'000u);
  EXPECT_EQ(ParseArray("7")->count(), 1u);
  EXPECT_FALSE(ParseArray("1,2").ok());
  EXPECT_FALSE(ParseArray("0-18446744073709551615").ok());
}

TEST(UnitsTest, TimesAreRfc3339InUtc) {
  EXPECT_EQ(FormatRfc3339(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(FormatRfc3339(1'795'421'700'123'456), "2026-11-23T08:15:00.123456Z");
}

}  // namespace
}  // namespace haul
