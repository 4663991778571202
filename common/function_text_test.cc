#include "common/function_text.h"

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "haul/function.h"

namespace haul {
namespace {

using ::testing::HasSubstr;

FunctionSignature Signature(std::string_view text) {
  absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature(text);
  EXPECT_TRUE(signature.ok()) << signature.status();
  return signature.ok() ? *std::move(signature) : FunctionSignature{};
}

std::string Encoded(std::string_view signature, std::string_view text) {
  absl::StatusOr<std::string> bytes = EncodeArguments("f.v1", Signature(signature), text);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.value_or("");
}

std::string EncodeError(std::string_view signature, std::string_view text) {
  absl::StatusOr<std::string> bytes = EncodeArguments("f.v1", Signature(signature), text);
  EXPECT_FALSE(bytes.ok());
  return std::string(bytes.status().message());
}

template <typename T>
std::string Text(const T& value) {
  Writer writer;
  Codec<T>::Encode(value, writer);
  absl::StatusOr<std::string> text =
      ResultText("f.v1", Signature(Codec<T>::Name() + "()"), writer.bytes());
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

TEST(FunctionTextTest, TextBecomesTheBytesOfTheTypedHeader) {
  using Numbers = Function<void(std::int8_t, std::uint64_t, bool, double, float)>;
  EXPECT_EQ(Encoded(Numbers::Signature(), "-128,18446744073709551615,true,0.1,-1e10"),
            Numbers::EncodeArguments(-128, ~std::uint64_t{0}, true, 0.1, -1e10f));
  using Nested = Function<void(std::vector<std::string>, std::optional<std::int32_t>,
                               std::tuple<std::uint8_t, std::string>, std::vector<std::byte>)>;
  EXPECT_EQ(Encoded(Nested::Signature(), R"([a, "b, \"c\"" , ""], none, (7, x y), 00ff)"),
            Nested::EncodeArguments({"a", "b, \"c\"", ""}, std::nullopt, {7, "x y"},
                                    {std::byte{0}, std::byte{255}}));
  EXPECT_EQ(
      Encoded("void(vec<u8>,opt<u8>)", "[],5"),
      (Function<void(std::vector<std::uint8_t>, std::optional<std::uint8_t>)>::EncodeArguments({},
                                                                                               5)));
  EXPECT_EQ(Encoded("void()", ""), "");
}

TEST(FunctionTextTest, ASingleStringIsTheWholeText) {
  EXPECT_EQ(Encoded("str(str)", " a, \"b\" "),
            Function<void(std::string)>::EncodeArguments(" a, \"b\" "));
  const FunctionSignature two = Signature("void(str,u8)");
  EXPECT_EQ(*EncodeArguments("f.v1", two, std::vector<std::string>{"a,b", "1"}),
            (Function<void(std::string, std::uint8_t)>::EncodeArguments("a,b", 1)));
}

TEST(FunctionTextTest, ErrorsNameFunctionArgumentAndLimit) {
  EXPECT_EQ(EncodeError("void(u64,u8)", "1,256"),
            "f.v1: argument 2 (u8): \"256\": out of range: 0 to 255");
  EXPECT_EQ(EncodeError("void(i16)", "-32769"),
            "f.v1: argument 1 (i16): \"-32769\": out of range: -32768 to 32767");
  EXPECT_EQ(EncodeError("void(u32)", "-1"),
            "f.v1: argument 1 (u32): \"-1\": out of range: 0 to 4294967295");
  EXPECT_EQ(
      EncodeError("void(i64)", "99999999999999999999"),
      "f.v1: argument 1 (i64): \"99999999999999999999\": out of range: -9223372036854775808 to "
      "9223372036854775807");
  EXPECT_EQ(EncodeError("void(u64)", "12x"), "f.v1: argument 1 (u64): \"12x\": not a whole number");
  EXPECT_EQ(EncodeError("void(u64)", ""), "f.v1: argument 1 (u64): \"\": not a whole number");
  EXPECT_EQ(EncodeError("u64(u64,u64)", "1"), "f.v1 takes 2 arguments (u64, u64), 1 given");
  EXPECT_THAT(EncodeError("u64(u64,u64)", "1,2,3"), HasSubstr("more given"));
  EXPECT_EQ(EncodeError("void()", "1"), "f.v1 takes 0 arguments (), 1 given");
  EXPECT_THAT(EncodeError("void(point)", "1"), HasSubstr("values of type point have no text form"));
  EXPECT_THAT(EncodeError("void(vec<u8>)", "[1, 2"), HasSubstr("expected ,"));
  EXPECT_THAT(EncodeError("void(tuple<u8,u8>)", "(1)"), HasSubstr("expected ,"));
  EXPECT_THAT(EncodeError("void(tuple<u8>)", "(1, 2)"), HasSubstr("expected )"));
  EXPECT_THAT(EncodeError("void(vec<str>)", "[\"a]"), HasSubstr("no end"));
}

TEST(FunctionTextTest, ResultsBecomeText) {
  EXPECT_EQ(Text<std::uint64_t>(5'761'455), "5761455");
  EXPECT_EQ(Text<std::int8_t>(-5), "-5");
  EXPECT_EQ(Text<std::int64_t>(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(Text<double>(0.1), "0.1");
  EXPECT_EQ(Text<float>(0.1f), "0.1");
  EXPECT_EQ(Text<std::string>("a\n\"b\""), "a\n\"b\"");
  EXPECT_EQ(Text(std::vector<std::string>{"a\"\n", "\x01"}), R"(["a\"\n", "\u0001"])");
  EXPECT_EQ(Text(std::vector<std::byte>{std::byte{10}, std::byte{255}}), "0aff");
  EXPECT_EQ(Text(std::tuple<bool, std::optional<std::uint8_t>, std::vector<std::uint16_t>>{
                true, {}, {1, 2}}),
            "(true, none, [1, 2])");
}

TEST(FunctionTextTest, BytesThatAreNoResultAreRefused) {
  EXPECT_THAT(ResultText("f.v1", Signature("u64()"), "1234567").status().message(),
              HasSubstr("f.v1: 7 bytes are no result of type u64"));
  EXPECT_FALSE(ResultText("f.v1", Signature("u8()"), "12").ok());
  EXPECT_FALSE(ResultText("f.v1", Signature("bool()"), "\x02").ok());
  EXPECT_FALSE(ResultText("f.v1", Signature("str()"), std::string("\xff\xff\xff\xff", 4)).ok());
  EXPECT_FALSE(
      ResultText("f.v1", Signature("vec<u64>()"), std::string("\xff\xff\xff\xff", 4)).ok());
  EXPECT_FALSE(ResultText("f.v1", Signature("point()"), "").ok());
  EXPECT_FALSE(ResultText("f.v1", Signature("void()"), "1").ok());
}

TEST(FunctionTextTest, MalformedSignaturesAreRefused) {
  for (const char* text :
       {"", "u64", "u64(", "u64(u64", "u64(u64,)", "u64()x", "u64(void)", "(u64)", "u64 ()",
        "vec()", "vec<u8,u8>()", "tuple<>()", "u64<u8>()", "vec<u8()", "u64(\n)"}) {
    EXPECT_FALSE(ParseFunctionSignature(text).ok()) << text;
  }
  std::string deep;
  for (int i = 0; i < 17; ++i) deep += "vec<";
  deep += "u8" + std::string(17, '>') + "()";
  EXPECT_THAT(ParseFunctionSignature(deep).status().message(), HasSubstr("nested too deeply"));
  EXPECT_FALSE(ParseFunctionSignature(std::string(2000, 'a')).ok());
  // What a later version or a program adds is a type all the same.
  EXPECT_EQ(Signature("map<str,u64>(geo.point_2)").parameters[0].name, "geo.point_2");
}

TEST(FunctionTextTest, NamesArePrintableUtf8) {
  EXPECT_TRUE(CheckFunctionName("count primes.v1").ok());
  EXPECT_TRUE(CheckFunctionName("zähle.v1 \xe2\x82\xac \xf0\x9f\x9a\x82").ok());
  EXPECT_TRUE(CheckFunctionName(std::string(256, 'a')).ok());
  EXPECT_FALSE(CheckFunctionName(std::string(257, 'a')).ok());
  for (const char* name : {"", "a\nb", "\x7f", "\xc2\x85", "\xff", "\xc0\xaf", "\xe2\x82",
                           "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_FALSE(CheckFunctionName(name).ok()) << name;
  }
}

TEST(FunctionTextTest, ArraysGiveOneInteger) {
  const FunctionSignature none = Signature("void()");
  const FunctionSignature u8 = Signature("void(u8)");
  const FunctionSignature i16 = Signature("void(i16)");
  EXPECT_TRUE(CheckArrayCall("f.v1", none, -5, 7, 100'000'000).ok());
  EXPECT_EQ(EncodeArrayValue(none, 5).view(), "");
  EXPECT_TRUE(CheckArrayCall("f.v1", u8, 0, 1, 256).ok());
  EXPECT_THAT(CheckArrayCall("f.v1", u8, 0, 1, 257).message(),
              HasSubstr("f.v1: argument 1 (u8): the array goes to 256, out of range: 0 to 255"));
  EXPECT_FALSE(CheckArrayCall("f.v1", u8, 5, -1, 7).ok());
  EXPECT_TRUE(CheckArrayCall("f.v1", i16, 32767, -1, 65536).ok());
  EXPECT_FALSE(
      CheckArrayCall("f.v1", Signature("void(i64)"), 1, std::numeric_limits<std::int64_t>::max(), 3)
          .ok());
  EXPECT_FALSE(CheckArrayCall("f.v1", Signature("void(u64,u64)"), 0, 1, 1).ok());
  EXPECT_FALSE(CheckArrayCall("f.v1", Signature("void(str)"), 0, 1, 1).ok());
  EXPECT_EQ(EncodeArrayValue(i16, -2).view(), Function<void(std::int16_t)>::EncodeArguments(-2));
}

}  // namespace
}  // namespace haul
