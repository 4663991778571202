// The typed header, from the bytes of its values to a task that runs in a pool.
#include "haul/function.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "common/function_text.h"
#include "gmock/gmock.h"
#include "worker/executor/pool_test_harness.h"

namespace test {
struct Point {
  std::int32_t x = 0;
  std::int32_t y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
}  // namespace test

template <>
struct haul::Codec<test::Point> {
  static std::string Name() { return "point"; }
  static void Encode(const test::Point& value, Writer& writer) {
    Codec<std::int32_t>::Encode(value.x, writer);
    Codec<std::int32_t>::Encode(value.y, writer);
  }
  static test::Point Decode(Reader& reader) {
    const auto x = Codec<std::int32_t>::Decode(reader);
    return {x, Codec<std::int32_t>::Decode(reader)};
  }
};

namespace haul::executor {
namespace {

using test::Point;
using ::testing::HasSubstr;

template <typename T>
std::string Bytes(const T& value) {
  Writer writer;
  Codec<T>::Encode(value, writer);
  return writer.bytes();
}

template <typename T>
void ExpectBytes(const T& value, const std::string& bytes) {
  EXPECT_EQ(Bytes(value), bytes);
  Reader reader(bytes);
  EXPECT_EQ(Codec<T>::Decode(reader), value);
  reader.ExpectEnd();
  // Whatever is cut off is missed.
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Reader cut(std::string_view(bytes).substr(0, size));
    EXPECT_THROW(Codec<T>::Decode(cut), DecodeError) << size;
  }
}

std::string Of(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

TEST(FunctionTest, ValuesHaveTheDocumentedBytes) {
  ExpectBytes(true, Of({1}));
  ExpectBytes<std::int8_t>(-2, Of({0xfe}));
  ExpectBytes<std::uint16_t>(0x1234, Of({0x34, 0x12}));
  ExpectBytes<std::int32_t>(std::numeric_limits<std::int32_t>::min(), Of({0, 0, 0, 0x80}));
  ExpectBytes<std::uint64_t>(0x0102030405060708, Of({8, 7, 6, 5, 4, 3, 2, 1}));
  ExpectBytes(1.0f, Of({0, 0, 0x80, 0x3f}));
  ExpectBytes(-2.0, Of({0, 0, 0, 0, 0, 0, 0, 0xc0}));
  ExpectBytes<std::string>("ab", Of({2, 0, 0, 0, 'a', 'b'}));
  ExpectBytes(std::vector<std::byte>{std::byte{7}}, Of({1, 0, 0, 0, 7}));
  ExpectBytes(std::vector<std::uint16_t>{1, 2}, Of({2, 0, 0, 0, 1, 0, 2, 0}));
  ExpectBytes(std::vector<bool>{true, false}, Of({2, 0, 0, 0, 1, 0}));
  ExpectBytes(std::optional<std::uint8_t>(), Of({0}));
  ExpectBytes(std::optional<std::uint8_t>(9), Of({1, 9}));
  ExpectBytes(std::tuple<std::uint8_t, std::string>(1, "x"), Of({1, 1, 0, 0, 0, 'x'}));
  ExpectBytes(std::pair<bool, std::uint8_t>(false, 3), Of({0, 3}));
  ExpectBytes(Point{1, -1}, Of({1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}));
}

TEST(FunctionTest, BytesThatAreNoValueAreRefused) {
  const std::string two = Of({2});
  Reader flag(two);
  EXPECT_THROW(Codec<bool>::Decode(flag), DecodeError);
  const std::string huge = Of({0xff, 0xff, 0xff, 0xff, 1});
  Reader vector(huge);
  EXPECT_THROW(Codec<std::vector<std::uint8_t>>::Decode(vector), DecodeError);
  EXPECT_THROW(Function<std::uint8_t()>::DecodeResult("ab"), DecodeError);
  EXPECT_THROW(Function<void()>::DecodeResult("a"), DecodeError);
  EXPECT_EQ(Function<std::uint8_t()>::DecodeResult("a"), 'a');
}

TEST(FunctionTest, SignaturesNameTheTypes) {
  EXPECT_EQ((Function<std::uint64_t(std::uint64_t, std::uint64_t)>::Signature()), "u64(u64,u64)");
  EXPECT_EQ(Function<void()>::Signature(), "void()");
  EXPECT_EQ((Function<std::tuple<float, double>(
                 bool, long, long long, std::vector<std::vector<std::string>>,
                 std::optional<std::vector<std::byte>>, Point)>::Signature()),
            "tuple<f32,f64>(bool,i64,i64,vec<vec<str>>,opt<bytes>,point)");
}

inline constexpr Function<std::uint64_t(std::uint64_t, std::uint8_t)> kAdd{"add.v1"};
inline constexpr Function<void(std::string)> kThrow{"throw.v1"};
inline constexpr Function<void(std::string)> kTell{"tell.v1"};
inline constexpr Function<std::int32_t(Point)> kSum{"sum.v1"};
inline constexpr Function<std::string()> kWhere{"where.v1"};

HAUL_SERVE(kAdd, [](Context&, std::uint64_t a, std::uint8_t b) { return a + b; });
HAUL_SERVE(kThrow, [](Context&, const std::string& what) {
  if (what == "int") throw 42;
  throw std::runtime_error(what);
});
HAUL_SERVE(kTell, [](Context& context, const std::string& text) { context.Log(text); });
HAUL_SERVE(kSum, [](Context&, Point point) { return point.x + point.y; });
HAUL_SERVE(kWhere, [](Context& context) {
  return std::to_string(context.job_id()) + " " + std::to_string(context.task_index()) + " " +
         std::to_string(context.attempt()) + " " + std::to_string(context.fencing_token()) +
         (context.stop_token().stop_requested() || context.stop_requested() ? " stopped" : "");
});

// The outcome of task 5 of assignment 3 with these argument bytes.
Outcome OutcomeOf(const char* function, const std::string& arguments) {
  FunctionTable table;
  EXPECT_TRUE(table.Add(haul_library_v1(), "this test").ok());
  TestFunctions functions;
  const haul_function entry = table.Find(function)->entry;
  functions.Serve(function, entry.signature,
                  [entry](const haul_call& call) { return entry.invoke(entry.target, &call); });
  PoolHarness harness(std::move(functions));
  v1::Run run = PoolHarness::MakeRun(3, function, {5, 1}, 1);
  PackedBytes inputs;
  inputs.Append(arguments);
  run.clear_array();
  wire::ToWire(inputs, run.mutable_inputs());
  harness.pool().Run(run);
  harness.WaitUntilIdle();
  return harness.outcomes(3).at(0);
}

TEST(FunctionTest, ServedFunctionsAreCalledWithTheirArguments) {
  const Outcome sum = OutcomeOf("add.v1", kAdd.EncodeArguments(1000, 7));
  ASSERT_EQ(sum.status, TaskStatus::kSucceeded) << sum.message;
  EXPECT_EQ(kAdd.DecodeResult(sum.results[0]), 1007u);
  EXPECT_EQ(kSum.DecodeResult(OutcomeOf("sum.v1", kSum.EncodeArguments({40, 2})).results[0]), 42);
  EXPECT_EQ(kWhere.DecodeResult(OutcomeOf("where.v1", "").results[0]), "7 5 1 3");
}

TEST(FunctionTest, WhatATaskLogsIsLinesWithItsIds) {
  testing::internal::CaptureStderr();
  OutcomeOf("tell.v1", kTell.EncodeArguments("half done\n\nbell \a"));
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "job 7, task 5, attempt 1: half done\njob 7, task 5, attempt 1: bell \\007\n");
}

TEST(FunctionTest, WhateverIsThrownIsTheFailureOfTheTask) {
  const Outcome thrown = OutcomeOf("throw.v1", kThrow.EncodeArguments("no luck"));
  EXPECT_EQ(thrown.status, TaskStatus::kFailed);
  EXPECT_EQ(thrown.cause, Cause::kFunctionError);
  EXPECT_EQ(thrown.message, "no luck");
  EXPECT_THAT(OutcomeOf("throw.v1", kThrow.EncodeArguments("int")).message,
              HasSubstr("no std::exception"));
}

TEST(FunctionTest, ArgumentsThatDoNotFitNameFunctionAndArgument) {
  const Outcome missing = OutcomeOf("add.v1", std::string(8, '\0'));
  EXPECT_EQ(missing.cause, Cause::kFunctionError);
  EXPECT_EQ(missing.message, "add.v1: argument 2 of u64(u64,u8): needs 1 bytes where 0 are left");
  EXPECT_THAT(OutcomeOf("add.v1", std::string(10, '\0')).message,
              HasSubstr("1 bytes follow the last value"));
}

}  // namespace
}  // namespace haul::executor
