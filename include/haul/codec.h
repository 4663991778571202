// Values as bytes, and what signatures call their types: how arguments and results travel. Standard
// C++20 alone; nothing to link. docs/codec.md has the format, byte by byte.
//
//   bool, i8 … u64, f32, f64   bool, integers but char, float, double; enumerations as integers
//   str, bytes                 std::string, std::vector<std::byte>
//   vec<T>, arr<T,N>, opt<T>   std::vector, std::array, std::optional
//   tuple<A,B>                 std::tuple, std::pair
//   struct<A,B>                a plain struct of 1 to 16 members, without a word from you
//   none                       std::monostate and other structs without members
//   map, set, var              maps, sets and variants: include haul/containers.h
//   pb<a.b.C>                  messages of Protocol Buffers: include haul/protobuf.h
// A type of your own that is none of these, or that contains itself, specialises Codec.
//
// What no value has as its bytes is refused: the task fails with a message that names function and
// argument. Whatever the bytes are, time and memory are bounded by their number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "haul/codec_aggregate.h"

namespace haul {

// Bytes that do not describe a value of the wanted type.
class DecodeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Collects the bytes of values.
class Writer {
 public:
  void Append(const void* data, std::size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
  }
  template <typename T>
  void AppendUnsigned(T value) {
    static_assert(std::is_unsigned_v<T>);
    unsigned char little_endian[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      little_endian[i] = static_cast<unsigned char>(value >> (8 * i));
    }
    Append(little_endian, sizeof(T));
  }
  // Throws std::length_error above 4 GiB.
  void AppendCount(std::size_t count) {
    if (count > std::numeric_limits<std::uint32_t>::max()) {
      throw std::length_error("a value of " + std::to_string(count) +
                              " elements; the limit is 2^32 - 1");
    }
    AppendUnsigned(static_cast<std::uint32_t>(count));
  }
  const std::string& bytes() const { return bytes_; }
  std::string Release() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Takes values off bytes that must outlive it. Throws DecodeError where they are too few.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  std::size_t remaining() const { return bytes_.size(); }
  std::string_view Take(std::size_t size) {
    if (size > bytes_.size()) {
      throw DecodeError("needs " + std::to_string(size) + " bytes where " +
                        std::to_string(bytes_.size()) + " are left");
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  template <typename T>
  T TakeUnsigned() {
    static_assert(std::is_unsigned_v<T>);
    const std::string_view taken = Take(sizeof(T));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(taken[i])} << (8 * i);
    }
    return static_cast<T>(value);
  }
  // How many elements follow. Each has at least one byte, so that a count is not believed before
  // the bytes are seen.
  std::uint32_t TakeCount() {
    const auto count = TakeUnsigned<std::uint32_t>();
    if (count > bytes_.size()) {
      throw DecodeError("counts " + std::to_string(count) + " elements where " +
                        std::to_string(bytes_.size()) + " bytes are left");
    }
    return count;
  }
  bool TakeFlag() {
    const auto byte = TakeUnsigned<std::uint8_t>();
    if (byte > 1) throw DecodeError("a flag is " + std::to_string(byte) + ", must be 0 or 1");
    return byte == 1;
  }
  void ExpectEnd() const {
    if (!bytes_.empty()) {
      throw DecodeError(std::to_string(bytes_.size()) + " bytes follow the last value");
    }
  }

 private:
  std::string_view bytes_;
};

// How values of a type travel. Specialise it for a type of your own, in a header that both sides
// include:
//
//   template <>
//   struct haul::Codec<Point> {
//     // As signatures call it: letters, digits, _ and .
//     static std::string Name() { return "point"; }
//     static void Encode(const Point& value, Writer& writer) { … }
//     // Throws DecodeError.
//     static Point Decode(Reader& reader) { … }
//   };
template <typename T>
struct Codec {
  static_assert(sizeof(T) == 0,
                "haul::Codec has no specialisation for this type; those of maps, sets and variants "
                "are in haul/containers.h, that of protobuf messages in haul/protobuf.h");
};

namespace internal {

template <typename T>
concept Integer = std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
                  !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> &&
                  !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t> && sizeof(T) <= 8;

template <typename T>
concept Float = std::is_same_v<T, float> || std::is_same_v<T, double>;

// "a,b,c" of the types' names.
template <typename... T>
std::string JoinNames() {
  std::string names;
  ((names += names.empty() ? "" : ",", names += Codec<T>::Name()), ...);
  return names;
}

// Encodes one element of a container, or decodes it: it has at least one byte (see TakeCount).
template <typename Encode>
void EncodeElement(Writer& writer, const Encode& encode) {
  const std::size_t before = writer.bytes().size();
  encode();
  if (writer.bytes().size() == before) {
    throw std::invalid_argument("an element of a container has no bytes");
  }
}
template <typename Decode>
void DecodeElement(const Reader& reader, const Decode& decode) {
  const std::size_t before = reader.remaining();
  decode();
  if (reader.remaining() == before) throw DecodeError("an element of a container has no bytes");
}

// Whether T is among the types that it is made of, at whatever depth. `Parts` of a Codec says what
// these are; a type without is taken as a whole.
template <typename T, typename... Outer>
constexpr bool ContainsItself() {
  if constexpr ((std::is_same_v<T, Outer> || ...)) {
    return true;
  } else if constexpr (requires { typename Codec<T>::Parts; }) {
    return []<typename... Part>(Types<Part...>*) {
      return (ContainsItself<Part, T, Outer...>() || ...);
    }(static_cast<typename Codec<T>::Parts*>(nullptr));
  } else {
    return false;
  }
}
template <typename T>
constexpr void CheckFinite() {
  static_assert(!ContainsItself<T>(),
                "a struct that contains itself, such as a tree, needs a haul::Codec of its own");
}

// Members of tuples and pairs, in order: a braced list is evaluated from left to right.
template <typename Tuple, typename... T>
struct TupleCodec {
  static_assert(sizeof...(T) > 0, "a tuple without members has no bytes");
  using Parts = Types<T...>;
  static std::string Name() { return "tuple<" + JoinNames<T...>() + ">"; }
  static void Encode(const Tuple& value, Writer& writer) {
    std::apply([&](const T&... member) { (Codec<T>::Encode(member, writer), ...); }, value);
  }
  static Tuple Decode(Reader& reader) { return Tuple{Codec<T>::Decode(reader)...}; }
};

// Members of a struct, in the order of their declaration.
template <typename Struct, typename Members>
struct StructCodec;
template <typename Struct, typename... T>
struct StructCodec<Struct, Types<T...>> {
  static_assert(!(std::is_array_v<T> || ...), "a member is a C array: make it a std::array");
  using Parts = Types<T...>;
  static std::string Name() {
    CheckFinite<Struct>();
    return sizeof...(T) == 0 ? "none" : "struct<" + JoinNames<T...>() + ">";
  }
  static void Encode(const Struct& value, Writer& writer) {
    CheckFinite<Struct>();
    VisitMembers(value, [&](const T&... member) { (Codec<T>::Encode(member, writer), ...); });
  }
  static Struct Decode(Reader& reader) {
    CheckFinite<Struct>();
    return Struct{Codec<T>::Decode(reader)...};
  }
};

}  // namespace internal

template <>
struct Codec<void> {
  static std::string Name() { return "void"; }
};

template <>
struct Codec<bool> {
  static std::string Name() { return "bool"; }
  static void Encode(bool value, Writer& writer) {
    writer.AppendUnsigned(static_cast<std::uint8_t>(value ? 1 : 0));
  }
  static bool Decode(Reader& reader) { return reader.TakeFlag(); }
};

template <typename T>
requires internal::Integer<T>
struct Codec<T> {
  using Unsigned = std::make_unsigned_t<T>;
  static std::string Name() {
    return (std::is_signed_v<T> ? "i" : "u") + std::to_string(8 * sizeof(T));
  }
  static void Encode(T value, Writer& writer) {
    writer.AppendUnsigned(static_cast<Unsigned>(value));
  }
  static T Decode(Reader& reader) { return static_cast<T>(reader.TakeUnsigned<Unsigned>()); }
};

template <typename T>
requires internal::Float<T>
struct Codec<T> {
  static_assert(std::numeric_limits<T>::is_iec559);
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  static std::string Name() { return sizeof(T) == 4 ? "f32" : "f64"; }
  static void Encode(T value, Writer& writer) {
    Bits bits;
    std::memcpy(&bits, &value, sizeof(bits));
    writer.AppendUnsigned(bits);
  }
  static T Decode(Reader& reader) {
    const Bits bits = reader.TakeUnsigned<Bits>();
    T value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }
};

template <>
struct Codec<std::string> {
  static std::string Name() { return "str"; }
  static void Encode(std::string_view value, Writer& writer) {
    writer.AppendCount(value.size());
    writer.Append(value.data(), value.size());
  }
  static std::string Decode(Reader& reader) {
    return std::string(reader.Take(reader.TakeUnsigned<std::uint32_t>()));
  }
};

template <>
struct Codec<std::vector<std::byte>> {
  static std::string Name() { return "bytes"; }
  static void Encode(const std::vector<std::byte>& value, Writer& writer) {
    writer.AppendCount(value.size());
    writer.Append(value.data(), value.size());
  }
  static std::vector<std::byte> Decode(Reader& reader) {
    const std::string_view taken = reader.Take(reader.TakeUnsigned<std::uint32_t>());
    const auto* begin = reinterpret_cast<const std::byte*>(taken.data());
    return std::vector<std::byte>(begin, begin + taken.size());
  }
};

template <typename T>
requires std::is_enum_v<T>
struct Codec<T> {
  using Underlying = std::underlying_type_t<T>;
  static_assert(
      requires { T{Underlying{}}; },
      "not every number is a value of this enumeration: give it a type, as in "
      "enum Colour : int");
  static std::string Name() { return Codec<Underlying>::Name(); }
  static void Encode(T value, Writer& writer) {
    Codec<Underlying>::Encode(static_cast<Underlying>(value), writer);
  }
  static T Decode(Reader& reader) { return static_cast<T>(Codec<Underlying>::Decode(reader)); }
};

template <typename T>
struct Codec<std::vector<T>> {
  using Parts = internal::Types<T>;
  static std::string Name() { return "vec<" + Codec<T>::Name() + ">"; }
  static void Encode(const std::vector<T>& value, Writer& writer) {
    writer.AppendCount(value.size());
    for (const T& element : value) {
      internal::EncodeElement(writer, [&] { Codec<T>::Encode(element, writer); });
    }
  }
  static std::vector<T> Decode(Reader& reader) {
    const std::uint32_t count = reader.TakeCount();
    std::vector<T> value;
    // Not more memory than there are bytes, before the elements are seen.
    const std::size_t most = reader.remaining() / sizeof(T);
    value.reserve(count < most ? count : most);
    for (std::uint32_t i = 0; i < count; ++i) {
      internal::DecodeElement(reader, [&] { value.push_back(Codec<T>::Decode(reader)); });
    }
    return value;
  }
};

template <typename T, std::size_t N>
struct Codec<std::array<T, N>> {
  using Parts = internal::Types<T>;
  static std::string Name() { return "arr<" + Codec<T>::Name() + "," + std::to_string(N) + ">"; }
  static void Encode(const std::array<T, N>& value, Writer& writer) {
    for (const T& element : value) Codec<T>::Encode(element, writer);
  }
  static std::array<T, N> Decode(Reader& reader) {
    static_assert(std::is_default_constructible_v<T>,
                  "the elements of an array are made first, and decoded then");
    std::array<T, N> value{};
    for (T& element : value) element = Codec<T>::Decode(reader);
    return value;
  }
};

template <typename T>
struct Codec<std::optional<T>> {
  using Parts = internal::Types<T>;
  static std::string Name() { return "opt<" + Codec<T>::Name() + ">"; }
  static void Encode(const std::optional<T>& value, Writer& writer) {
    Codec<bool>::Encode(value.has_value(), writer);
    if (value.has_value()) Codec<T>::Encode(*value, writer);
  }
  static std::optional<T> Decode(Reader& reader) {
    if (!reader.TakeFlag()) return std::nullopt;
    return Codec<T>::Decode(reader);
  }
};

template <typename... T>
struct Codec<std::tuple<T...>> : internal::TupleCodec<std::tuple<T...>, T...> {};
template <typename A, typename B>
struct Codec<std::pair<A, B>> : internal::TupleCodec<std::pair<A, B>, A, B> {};

template <typename T>
requires internal::Aggregate<T>
struct Codec<T> : internal::StructCodec<T, internal::MembersOf<T>> {
};

}  // namespace haul
