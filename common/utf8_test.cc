#include "common/utf8.h"

#include "gtest/gtest.h"

namespace haul {
namespace {

TEST(Utf8Test, MalformedSequencesAreNoUtf8) {
  EXPECT_TRUE(IsUtf8("plain, z\xc3\xa4hle, \xe2\x82\xac, \xf0\x9f\x9a\x82, \n"));
  for (const char* text : {"\xff", "\xc0\xaf", "\x80", "\xe2\x82", "\xed\xa0\x80", "\xe0\x80\x80",
                           "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, ControlCharactersAreNotPrintable) {
  EXPECT_TRUE(IsPrintableUtf8("\xc2\xa0 \xe2\x82\xac"));
  for (const char* text : {"a\nb", "\x7f", "\xc2\x85", "\x1b[0m", "\xff"}) {
    EXPECT_FALSE(IsPrintableUtf8(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, WhatIsNotUtf8IsEscaped) {
  EXPECT_EQ(ToUtf8("a\xff\xe2\x82\xac\xe2"), "a\\xff\xe2\x82\xac\\xe2");
  EXPECT_TRUE(IsUtf8(ToUtf8(std::string("\x00\x80\xf4\x90", 4))));
}

TEST(Utf8Test, ACutFallsBetweenCharacters) {
  EXPECT_EQ(CutUtf8("plain", 5), "plain");
  EXPECT_EQ(CutUtf8("plain", 4), "plai");
  EXPECT_EQ(CutUtf8("plain", 0), "");
  EXPECT_EQ(CutUtf8("a\xf0\x9f\x9a\x82z", 4), "a");
  EXPECT_EQ(CutUtf8("a\xf0\x9f\x9a\x82z", 5), "a\xf0\x9f\x9a\x82");
  EXPECT_EQ(CutUtf8("\x80\x80\x80", 2), "") << "no character begins there";
}

}  // namespace
}  // namespace haul
