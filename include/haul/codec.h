// Values as bytes, and what signatures call their types: how arguments and results travel. Standard
// C++20 alone; nothing to link.
//
// Bytes of a value (Codec<T>), and what the signature calls its type:
//   bool             bool      one byte, 0 or 1
//   integers         i8 … u64  two's complement, least significant byte first; by size and sign,
//                              so that long and long long are both i64; char is no integer here
//   float, double    f32 f64   the IEEE 754 bits as u32, u64
//   std::string      str       u32 n, then n bytes, whichever they are
//   vector<byte>     bytes     u32 n, then n bytes
//   vector<T>        vec<T>    u32 n, then n values
//   optional<T>      opt<T>    one byte, 0 or 1; after a 1 the value
//   tuple, pair      tuple<…>  the members, one after the other (at least one)
//   void             void      nothing; as a result only
// Arguments are their values one after the other. What is too short, too long, or holds a byte that
// is neither 0 nor 1 where it must be is refused, and the task fails with a message naming function
// and argument.
#pragma once

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
  static_assert(sizeof(T) == 0, "haul::Codec has no specialisation for this type");
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

// Members of tuples and pairs, in order: a braced list is evaluated from left to right.
template <typename Tuple, typename... T>
struct TupleCodec {
  static_assert(sizeof...(T) > 0, "a tuple without members has no bytes");
  static std::string Name() { return "tuple<" + JoinNames<T...>() + ">"; }
  static void Encode(const Tuple& value, Writer& writer) {
    std::apply([&](const T&... member) { (Codec<T>::Encode(member, writer), ...); }, value);
  }
  static Tuple Decode(Reader& reader) { return Tuple{Codec<T>::Decode(reader)...}; }
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
struct Codec<std::vector<T>> {
  static std::string Name() { return "vec<" + Codec<T>::Name() + ">"; }
  static void Encode(const std::vector<T>& value, Writer& writer) {
    writer.AppendCount(value.size());
    for (const T& element : value) Codec<T>::Encode(element, writer);
  }
  static std::vector<T> Decode(Reader& reader) {
    const auto count = reader.TakeUnsigned<std::uint32_t>();
    std::vector<T> value;
    // The count is not to be believed before the bytes are seen.
    value.reserve(count < reader.remaining() ? count : reader.remaining());
    for (std::uint32_t i = 0; i < count; ++i) value.push_back(Codec<T>::Decode(reader));
    return value;
  }
};

template <typename T>
struct Codec<std::optional<T>> {
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

}  // namespace haul
