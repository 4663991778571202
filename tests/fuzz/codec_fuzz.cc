// The codecs of include/haul: any bytes, as values of composite types. The input is the bytes. What
// is a value becomes bytes that are the same value, as long as those it came from.
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
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

#include "common/check.h"
#include "google/protobuf/descriptor.pb.h"
#include "haul/codec.h"
#include "haul/containers.h"
#include "haul/protobuf.h"

namespace haul::fuzz {
namespace {

enum class Colour : std::uint8_t { kRed, kBlue };
struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
};
struct Point {
  std::int16_t x = 0;
  std::int16_t y = 0;
  friend auto operator<=>(const Point&, const Point&) = default;
};
struct Shape {
  Colour colour = Colour::kRed;
  std::vector<Point> corners;
  std::optional<std::string> name;
  std::variant<std::monostate, Empty, Point, std::string> extra;
  std::array<bool, 2> sides{};
  friend bool operator==(const Shape&, const Shape&) = default;
};

template <typename T>
std::string Encoded(const T& value) {
  Writer writer;
  Codec<T>::Encode(value, writer);
  return writer.Release();
}

template <typename T>
std::optional<T> Decoded(std::string_view bytes) {
  try {
    Reader reader(bytes);
    std::optional<T> value(Codec<T>::Decode(reader));
    reader.ExpectEnd();
    return value;
  } catch (const DecodeError& error) {
    HAUL_CHECK(std::string_view(error.what()).size() > 0);
    return std::nullopt;
  }
}

// The bytes of what they are, if they are a value.
template <typename T>
std::optional<std::string> Check(std::string_view bytes) {
  const std::optional<T> value = Decoded<T>(bytes);
  if (!value.has_value()) return std::nullopt;
  std::string encoded = Encoded(*value);
  HAUL_CHECK(encoded.size() == bytes.size());
  const std::optional<T> again = Decoded<T>(encoded);
  HAUL_CHECK(again.has_value() && *again == *value);
  HAUL_CHECK(Encoded(*again) == encoded);
  return encoded;
}

// Of types without maps and sets one value has one form.
template <typename T>
void CheckStrict(std::string_view bytes) {
  const auto encoded = Check<T>(bytes);
  HAUL_CHECK(!encoded.has_value() || *encoded == bytes);
}

// Those of one name are the same to the other side.
template <typename A, typename B>
void CheckAlike(std::string_view bytes) {
  HAUL_CHECK(Codec<A>::Name() == Codec<B>::Name());
  HAUL_CHECK(Check<A>(bytes) == Check<B>(bytes));
}

// A message may come in several forms, longer and shorter.
void CheckMessages(std::string_view bytes) {
  using Messages = std::vector<google::protobuf::UninterpretedOption>;
  const std::optional<Messages> messages = Decoded<Messages>(bytes);
  if (!messages.has_value()) return;
  const std::string encoded = Encoded(*messages);
  const std::optional<Messages> again = Decoded<Messages>(encoded);
  HAUL_CHECK(again.has_value() && Encoded(*again) == encoded);
}

void Run(std::string_view bytes) {
  CheckMessages(bytes);
  CheckStrict<Shape>(bytes);
  CheckStrict<std::vector<Shape>>(bytes);
  CheckStrict<std::vector<std::vector<Empty>>>(bytes);
  CheckStrict<std::array<std::optional<Point>, 3>>(bytes);
  CheckStrict<std::variant<std::vector<Colour>, Point, std::optional<std::vector<std::byte>>>>(
      bytes);
  CheckStrict<std::tuple<Empty, std::vector<std::pair<bool, std::uint8_t>>, std::string>>(bytes);
  CheckAlike<std::map<std::uint8_t, Point>, std::unordered_map<std::uint8_t, Point>>(bytes);
  CheckAlike<std::map<std::string, std::vector<Shape>>,
             std::unordered_map<std::string, std::vector<Shape>>>(bytes);
  CheckAlike<std::set<std::string>, std::unordered_set<std::string>>(bytes);
  CheckAlike<std::set<std::int16_t>, std::set<std::int16_t, std::greater<>>>(bytes);
  Check<std::map<Point, std::set<std::uint8_t>>>(bytes);
  Check<std::vector<std::map<std::monostate, Empty>>>(bytes);
}

}  // namespace
}  // namespace haul::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  haul::fuzz::Run(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
