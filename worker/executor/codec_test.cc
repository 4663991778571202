// Values as bytes, kind by kind as docs/codec.md has them, and bytes that are no value.
#include "haul/codec.h"

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "common/function_signature.h"
#include "gmock/gmock.h"
#include "haul/containers.h"
#include "haul/function.h"

namespace codec_test {

enum class Colour : std::uint8_t { kRed = 1, kBlue = 2 };
enum class Level : std::int32_t { kLow = -1 };

struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
};
struct Point {
  std::int16_t x = 0;
  std::int16_t y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Shape {
  Colour colour = Colour::kRed;
  std::vector<Point> corners;
  std::optional<std::string> name;
  Empty nothing;
  friend bool operator==(const Shape&, const Shape&) = default;
};
struct Sixteen {
  bool a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p;
  friend bool operator==(const Sixteen&, const Sixteen&) = default;
};
struct Wrapper {
  std::optional<std::array<Point, 1>> inner;
  friend bool operator==(const Wrapper&, const Wrapper&) = default;
};
struct Forest;
struct Tree {
  std::int32_t value = 0;
  std::vector<Forest> children;
};
struct Forest {
  std::optional<std::tuple<std::vector<Tree>>> trees;
};
// A type of the program's own, in spite of being a plain struct that contains itself.
struct List {
  std::uint8_t value = 0;
  std::vector<List> rest;
  friend bool operator==(const List&, const List&) = default;
};
struct Lists {
  List list;
  friend bool operator==(const Lists&, const Lists&) = default;
};

}  // namespace codec_test

template <>
struct haul::Codec<codec_test::List> {
  static std::string Name() { return "list"; }
  static void Encode(const codec_test::List& value, Writer& writer) {
    for (const codec_test::List* node = &value;; node = &node->rest[0]) {
      writer.AppendUnsigned(node->value);
      Codec<bool>::Encode(node->rest.empty(), writer);
      if (node->rest.empty()) return;
    }
  }
  static codec_test::List Decode(Reader& reader) {
    std::vector<std::uint8_t> values;
    do {
      values.push_back(reader.TakeUnsigned<std::uint8_t>());
    } while (!reader.TakeFlag());
    codec_test::List list;
    for (auto value = values.rbegin(); value != values.rend(); ++value) {
      std::vector<codec_test::List> rest;
      if (value != values.rbegin()) rest.push_back(std::move(list));
      list = {*value, std::move(rest)};
    }
    return list;
  }
};

namespace haul {
namespace {

using codec_test::Colour;
using codec_test::Empty;
using codec_test::Level;
using codec_test::Point;
using codec_test::Shape;
using codec_test::Sixteen;
using codec_test::Wrapper;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string Of(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

template <typename T>
std::string Bytes(const T& value) {
  Writer writer;
  Codec<T>::Encode(value, writer);
  return writer.Release();
}

template <typename T>
T Value(std::string_view bytes) {
  Reader reader(bytes);
  T value = Codec<T>::Decode(reader);
  reader.ExpectEnd();
  return value;
}

// These are its bytes; whatever is cut off is missed, and what is added is too much.
template <typename T>
void Expect(const T& value, const std::string& name, std::initializer_list<int> golden) {
  EXPECT_EQ(Codec<T>::Name(), name);
  const std::string bytes = Of(golden);
  EXPECT_EQ(Bytes(value), bytes) << name;
  EXPECT_EQ(Value<T>(bytes), value) << name;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(Value<T>(std::string_view(bytes).substr(0, size)), DecodeError) << name << size;
  }
  EXPECT_THROW(Value<T>(bytes + '\0'), DecodeError) << name;
}

template <typename T>
void ExpectRefused(std::initializer_list<int> bytes, const char* why) {
  EXPECT_THAT([&] { Value<T>(Of(bytes)); }, ThrowsMessage<DecodeError>(HasSubstr(why)))
      << Codec<T>::Name();
}

TEST(CodecTest, NumbersAreLittleEndian) {
  Expect(true, "bool", {1});
  Expect<std::int8_t>(-2, "i8", {0xfe});
  Expect<std::uint8_t>(200, "u8", {200});
  Expect<std::int16_t>(-2, "i16", {0xfe, 0xff});
  Expect<std::uint16_t>(0x1234, "u16", {0x34, 0x12});
  Expect(std::numeric_limits<std::int32_t>::min(), "i32", {0, 0, 0, 0x80});
  Expect<std::uint32_t>(0x01020304, "u32", {4, 3, 2, 1});
  Expect(std::numeric_limits<std::int64_t>::max(), "i64",
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f});
  Expect<std::uint64_t>(0x0102030405060708, "u64", {8, 7, 6, 5, 4, 3, 2, 1});
  Expect(1.0f, "f32", {0, 0, 0x80, 0x3f});
  Expect(-2.0, "f64", {0, 0, 0, 0, 0, 0, 0, 0xc0});
  Expect(Colour::kBlue, "u8", {2});
  Expect(Level::kLow, "i32", {0xff, 0xff, 0xff, 0xff});
  // An enumeration may hold what it has no name for.
  EXPECT_EQ(static_cast<int>(Value<Colour>(Of({77}))), 77);
}

TEST(CodecTest, SequencesHaveACount) {
  Expect<std::string>("ab", "str", {2, 0, 0, 0, 'a', 'b'});
  Expect(std::vector<std::byte>{std::byte{7}}, "bytes", {1, 0, 0, 0, 7});
  Expect(std::vector<std::uint16_t>{1, 2}, "vec<u16>", {2, 0, 0, 0, 1, 0, 2, 0});
  Expect(std::vector<bool>{true, false}, "vec<bool>", {2, 0, 0, 0, 1, 0});
  Expect(std::vector<std::vector<std::string>>{{}, {"x"}}, "vec<vec<str>>",
         {2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 'x'});
  // Of an array the signature knows it.
  Expect(std::array<std::uint16_t, 2>{1, 2}, "arr<u16,2>", {1, 0, 2, 0});
  Expect(std::array<bool, 0>{}, "arr<bool,0>", {});
}

TEST(CodecTest, ChoicesSayWhich) {
  Expect(std::optional<std::uint8_t>(), "opt<u8>", {0});
  Expect(std::optional<std::uint8_t>(9), "opt<u8>", {1, 9});
  using Choice = std::variant<std::monostate, std::uint16_t, std::string>;
  Expect(Choice(), "var<none,u16,str>", {0});
  Expect(Choice(std::uint16_t{258}), "var<none,u16,str>", {1, 2, 1});
  Expect(Choice("x"), "var<none,u16,str>", {2, 1, 0, 0, 0, 'x'});
  using Twice = std::variant<bool, bool>;
  Expect(Twice(std::in_place_index<1>, true), "var<bool,bool>", {1, 1});
}

TEST(CodecTest, MembersFollowOneAnother) {
  Expect(std::tuple<std::uint8_t, std::string>(1, "x"), "tuple<u8,str>", {1, 1, 0, 0, 0, 'x'});
  Expect(std::pair<bool, std::uint8_t>(false, 3), "tuple<bool,u8>", {0, 3});
  Expect(std::monostate(), "none", {});
  Expect(Empty(), "none", {});
  Expect(Point{1, -1}, "struct<i16,i16>", {1, 0, 0xff, 0xff});
  Expect(Shape{Colour::kBlue, {{1, 2}}, "s", {}}, "struct<u8,vec<struct<i16,i16>>,opt<str>,none>",
         {2, 1, 0, 0, 0, 1, 0, 2, 0, 1, 1, 0, 0, 0, 's'});
  Expect(Wrapper{{{{{3, 4}}}}}, "struct<opt<arr<struct<i16,i16>,1>>>", {1, 3, 0, 4, 0});
  Expect(Sixteen{.b = true, .p = true},
         "struct<bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool,bool>",
         {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

TEST(CodecTest, MapsAndSetsAreInTheOrderOfTheirKeysBytes) {
  const std::initializer_list<int> bytes = {3, 0, 0, 0, 1,   0, 0, 0, 'b', 1,  //
                                            1, 0, 0, 0, 'c', 0, 2, 0, 0,   0, 'a', 'a', 1};
  Expect(std::map<std::string, bool>{{"aa", true}, {"b", true}, {"c", false}}, "map<str,bool>",
         bytes);
  Expect(std::unordered_map<std::string, bool>{{"aa", true}, {"b", true}, {"c", false}},
         "map<str,bool>", bytes);
  // 256 before 1: their first bytes are 0 and 1.
  Expect(std::set<std::uint16_t>{1, 256}, "set<u16>", {2, 0, 0, 0, 0, 1, 1, 0});
  Expect(std::unordered_set<std::uint16_t>{256, 1}, "set<u16>", {2, 0, 0, 0, 0, 1, 1, 0});
  Expect(std::set<std::uint16_t, std::greater<>>{1, 256}, "set<u16>", {2, 0, 0, 0, 0, 1, 1, 0});
  Expect(std::map<std::uint8_t, Empty>{{9, {}}}, "map<u8,none>", {1, 0, 0, 0, 9});
}

TEST(CodecTest, EqualMapsHaveEqualBytes) {
  std::unordered_map<std::uint32_t, std::string> up;
  std::unordered_map<std::uint32_t, std::string> down;
  down.rehash(1000);
  for (std::uint32_t i = 0; i < 300; ++i) up.emplace(i * 7919, std::to_string(i));
  for (std::uint32_t i = 300; i-- > 0;) down.emplace(i * 7919, std::to_string(i));
  EXPECT_EQ(Bytes(up), Bytes(down));
  EXPECT_EQ(Bytes(up), Bytes(std::map<std::uint32_t, std::string>(up.begin(), up.end())));
}

TEST(CodecTest, MapsAndSetsAreReadInAnyOrder) {
  EXPECT_EQ((Value<std::set<std::uint8_t>>(Of({2, 0, 0, 0, 9, 3}))),
            (std::set<std::uint8_t>{3, 9}));
  EXPECT_EQ((Value<std::map<std::uint8_t, bool>>(Of({2, 0, 0, 0, 9, 1, 3, 0}))),
            (std::map<std::uint8_t, bool>{{3, false}, {9, true}}));
}

TEST(CodecTest, WhatIsNoValueIsRefused) {
  ExpectRefused<bool>({2}, "a flag is 2");
  ExpectRefused<std::optional<std::uint8_t>>({3, 1}, "a flag is 3");
  ExpectRefused<std::variant<bool, std::uint8_t>>({2, 0}, "no alternative 2");
  ExpectRefused<std::set<std::uint8_t>>({2, 0, 0, 0, 3, 3}, "an element twice");
  ExpectRefused<std::unordered_set<std::uint8_t>>({2, 0, 0, 0, 3, 3}, "an element twice");
  ExpectRefused<std::map<std::uint8_t, bool>>({2, 0, 0, 0, 3, 0, 3, 1}, "a key twice");
  ExpectRefused<std::unordered_map<std::uint8_t, bool>>({2, 0, 0, 0, 3, 0, 3, 0}, "a key twice");
  ExpectRefused<Shape>({1, 0, 0, 0, 0, 7}, "a flag is 7");
}

// Neither memory nor time for it: the limits of the tests would show.
TEST(CodecTest, ACountIsNotBelievedBeforeTheBytesAreSeen) {
  const auto expect_refused = []<typename T>(T*) {
    ExpectRefused<T>({0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0, 1}, "");
    ExpectRefused<T>({0xff, 0xff, 0xff, 0xff}, "are left");
  };
  expect_refused(static_cast<std::string*>(nullptr));
  expect_refused(static_cast<std::vector<std::byte>*>(nullptr));
  expect_refused(static_cast<std::vector<bool>*>(nullptr));
  expect_refused(static_cast<std::vector<Shape>*>(nullptr));
  expect_refused(static_cast<std::vector<Empty>*>(nullptr));
  expect_refused(static_cast<std::vector<std::array<Empty, 1000>>*>(nullptr));
  expect_refused(static_cast<std::set<std::string>*>(nullptr));
  expect_refused(static_cast<std::map<bool, Shape>*>(nullptr));
  expect_refused(static_cast<std::unordered_map<std::string, Shape>*>(nullptr));
}

// They could be as many as the count says, whatever the bytes: nested, a short message would take
// hours.
TEST(CodecTest, ElementsWithoutBytesAreRefusedOnBothSides) {
  ExpectRefused<std::vector<Empty>>({1, 0, 0, 0, 0}, "an element of a container has no bytes");
  ExpectRefused<std::set<std::monostate>>({1, 0, 0, 0, 0}, "no bytes");
  std::string nested = Of({0, 0, 4, 0});
  for (int i = 0; i < 0x40000; ++i) nested += Of({0, 0, 1, 0});
  EXPECT_THROW((Value<std::vector<std::vector<Empty>>>(nested)), DecodeError);

  Expect(std::vector<Empty>(), "vec<none>", {0, 0, 0, 0});
  EXPECT_THROW(Bytes(std::vector<Empty>(1)), std::invalid_argument);
  EXPECT_THROW((Bytes(std::map<std::monostate, Empty>{{{}, {}}})), std::invalid_argument);
  Expect(std::vector<std::optional<Empty>>(1), "vec<opt<none>>", {1, 0, 0, 0, 0});
}

// Their size in memory times the count is more than there is: it is to grow with what is decoded.
TEST(CodecTest, MemoryGrowsWithTheBytes) {
  using Large = std::array<std::uint64_t, 100'000>;
  ExpectRefused<std::vector<std::optional<Large>>>({8, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, "needs");
  std::string many = Of({0, 0, 16, 0}) + std::string(std::size_t{1} << 20, '\x01');
  EXPECT_THROW(Value<std::vector<std::optional<Large>>>(many), DecodeError);
}

TEST(CodecTest, ATypeOfTheProgramsOwnIsTakenAsAWhole) {
  Expect(codec_test::Lists{{1, {{2, {}}}}}, "struct<list>", {1, 0, 2, 1});
  static_assert(!internal::ContainsItself<codec_test::Lists>());
}

// Their Name() would have no end; it says so when it is compiled.
TEST(CodecTest, AStructThatContainsItselfIsNoticed) {
  static_assert(internal::ContainsItself<codec_test::Tree>());
  static_assert(internal::ContainsItself<codec_test::Forest>());
  static_assert(!internal::ContainsItself<Shape>());
  static_assert(!internal::ContainsItself<std::map<Point, std::variant<Shape, Point>>>());
}

TEST(CodecTest, SignaturesOfAllKindsAreRead) {
  using All = Function<Shape(std::map<Point, std::variant<std::monostate, Wrapper>>,
                             std::unordered_set<std::string>, codec_test::Lists, Colour)>;
  EXPECT_EQ(All::Signature(),
            "struct<u8,vec<struct<i16,i16>>,opt<str>,none>(map<struct<i16,i16>,var<none,"
            "struct<opt<arr<struct<i16,i16>,1>>>>>,set<str>,struct<list>,u8)");
  EXPECT_TRUE(ParseFunctionSignature(All::Signature()).ok());
}

}  // namespace
}  // namespace haul
