#include "worker/executor/library.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace haul::executor {
namespace {

using ::testing::HasSubstr;

std::string LibraryPath(const std::string& name) {
  const char* directory = std::getenv("HAUL_TEST_LIB_DIR");
  EXPECT_NE(directory, nullptr);
  return std::string(directory == nullptr ? "." : directory) + "/lib" + name + ".so";
}

std::string Refusal(FunctionTable& table, const std::string& path) {
  const absl::Status status = table.Load(path);
  EXPECT_FALSE(status.ok());
  return std::string(status.message());
}

haul_function Entry(const char* name, const char* signature) {
  return {name, signature, nullptr,
          [](const void*, const haul_call*) -> std::int32_t { return 0; }};
}

std::string RefusalOf(const std::vector<haul_function>& functions) {
  const haul_library library{HAUL_INTERFACE_VERSION, sizeof(haul_function), functions.size(),
                             functions.data()};
  FunctionTable table;
  const absl::Status status = table.Add(&library, "libtest.so");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("libtest.so: "));
  return std::string(status.message());
}

TEST(LibraryTest, LibrariesAreLoadedSideBySide) {
  FunctionTable table;
  ASSERT_TRUE(table.Load(LibraryPath("examples")).ok());
  ASSERT_TRUE(table.Load(LibraryPath("haul_test_second")).ok());
  ASSERT_NE(table.Find("count_primes.v1"), nullptr);
  EXPECT_EQ(table.Find("count_primes.v1")->signature_text, "u64(u64,u64)");
  EXPECT_EQ(table.Find("count_primes.v1")->library, "libexamples.so");
  ASSERT_NE(table.Find("second.v1"), nullptr);
  EXPECT_EQ(table.Find("second.v1")->library, "libhaul_test_second.so");
  EXPECT_EQ(table.Find("third.v1"), nullptr);
}

TEST(LibraryTest, WhatIsNoLibraryOfFunctionsIsRefused) {
  FunctionTable table;
  EXPECT_THAT(Refusal(table, "/nowhere/libnone.so"), HasSubstr("it cannot be loaded: "));
  EXPECT_THAT(Refusal(table, "library_of_this_name"), HasSubstr("it cannot be loaded: "));
  EXPECT_THAT(Refusal(table, "/proc/self/exe"), HasSubstr("it cannot be loaded: "));
  EXPECT_THAT(Refusal(table, "/etc/passwd"), HasSubstr("it cannot be loaded: "));
  EXPECT_THAT(Refusal(table, LibraryPath("haul_test_no_symbol")),
              HasSubstr("does not export haul_library_v1"));
  EXPECT_TRUE(table.functions().empty());
}

TEST(LibraryTest, AnotherVersionOfTheInterfaceIsRefused) {
  FunctionTable table;
  EXPECT_THAT(
      Refusal(table, LibraryPath("haul_test_version")),
      HasSubstr(
          "libhaul_test_version.so: it has version 2 of the interface, this executor needs 1"));
}

TEST(LibraryTest, ANameIsServedOnce) {
  FunctionTable table;
  ASSERT_TRUE(table.Load(LibraryPath("examples")).ok());
  EXPECT_THAT(Refusal(table, LibraryPath("examples")), HasSubstr("and so does libexamples.so"));
  EXPECT_THAT(RefusalOf({Entry("a.v1", "void()"), Entry("a.v1", "u8()")}),
              HasSubstr("it serves a.v1"));
}

TEST(LibraryTest, MalformedEntriesAreRefused) {
  EXPECT_THAT(RefusalOf({}), HasSubstr("serves no function"));
  EXPECT_THAT(RefusalOf({Entry("", "void()")}), HasSubstr("name of 0 bytes"));
  EXPECT_THAT(RefusalOf({Entry(std::string(257, 'x').c_str(), "void()")}),
              HasSubstr("name of 257 bytes"));
  EXPECT_THAT(RefusalOf({Entry("a\nb", "void()")}), HasSubstr("not printable UTF-8"));
  EXPECT_THAT(RefusalOf({Entry("a", "void(")}), HasSubstr("a: signature \"void(\""));
  EXPECT_THAT(RefusalOf({Entry(nullptr, "void()")}), HasSubstr("no name, signature or function"));
  FunctionTable table;
  EXPECT_FALSE(table.Add(nullptr, "libtest.so").ok());
  const haul_function entry = Entry("a", "void()");
  const haul_library small{HAUL_INTERFACE_VERSION, 8, 1, &entry};
  EXPECT_FALSE(table.Add(&small, "libtest.so").ok());
}

}  // namespace
}  // namespace haul::executor
