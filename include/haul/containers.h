// Codecs of maps, sets and variants, apart from haul/codec.h because their standard headers take a
// third as long again to compile. Standard C++20 alone; docs/codec.md has the format.
//
//   map<K,V>   std::map, std::unordered_map   whichever each side likes better
//   set<T>     std::set, std::unordered_set
//   var<A,B>   std::variant
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "haul/codec.h"

namespace haul {
namespace internal {

// The bytes of the elements of a map or set, by those of their keys: equal values have equal bytes,
// whatever order they are kept in.
class SortedElements {
 public:
  explicit SortedElements(std::size_t count) { elements_.reserve(count); }

  template <typename K>
  void AddKey(const K& key) {
    const std::size_t begin = scratch_.bytes().size();
    Codec<K>::Encode(key, scratch_);
    const std::size_t end = scratch_.bytes().size();
    elements_.push_back({begin, end, end});
  }
  template <typename V>
  void AddValue(const V& value) {
    Codec<V>::Encode(value, scratch_);
    elements_.back().end = scratch_.bytes().size();
  }
  void AppendTo(Writer& writer) {
    const std::string_view bytes = scratch_.bytes();
    std::sort(elements_.begin(), elements_.end(), [&](const Element& a, const Element& b) {
      return bytes.substr(a.begin, a.key_end - a.begin) <
             bytes.substr(b.begin, b.key_end - b.begin);
    });
    writer.AppendCount(elements_.size());
    for (const Element& element : elements_) {
      EncodeElement(writer, [&] {
        writer.Append(bytes.data() + element.begin, element.end - element.begin);
      });
    }
  }

 private:
  struct Element {
    std::size_t begin;
    std::size_t key_end;
    std::size_t end;
  };
  Writer scratch_;
  std::vector<Element> elements_;
};

template <typename Map>
struct MapCodec {
  using K = typename Map::key_type;
  using V = typename Map::mapped_type;
  static_assert(!std::is_floating_point_v<K>, "a NaN as a key is never found again");
  using Parts = Types<K, V>;
  static std::string Name() { return "map<" + JoinNames<K, V>() + ">"; }
  static void Encode(const Map& value, Writer& writer) {
    SortedElements elements(value.size());
    for (const auto& [key, mapped] : value) {
      elements.AddKey<K>(key);
      elements.AddValue<V>(mapped);
    }
    elements.AppendTo(writer);
  }
  static Map Decode(Reader& reader) {
    Map value;
    for (std::uint32_t left = reader.TakeCount(); left > 0; --left) {
      DecodeElement(reader, [&] {
        K key = Codec<K>::Decode(reader);
        if (!value.try_emplace(std::move(key), Codec<V>::Decode(reader)).second) {
          throw DecodeError("a map has a key twice");
        }
      });
    }
    return value;
  }
};

template <typename Set>
struct SetCodec {
  using T = typename Set::key_type;
  static_assert(!std::is_floating_point_v<T>, "a NaN as an element is never found again");
  using Parts = Types<T>;
  static std::string Name() { return "set<" + Codec<T>::Name() + ">"; }
  static void Encode(const Set& value, Writer& writer) {
    SortedElements elements(value.size());
    for (const T& element : value) elements.AddKey<T>(element);
    elements.AppendTo(writer);
  }
  static Set Decode(Reader& reader) {
    Set value;
    for (std::uint32_t left = reader.TakeCount(); left > 0; --left) {
      DecodeElement(reader, [&] {
        if (!value.insert(Codec<T>::Decode(reader)).second) {
          throw DecodeError("a set has an element twice");
        }
      });
    }
    return value;
  }
};

}  // namespace internal

template <typename K, typename V, typename Less>
struct Codec<std::map<K, V, Less>> : internal::MapCodec<std::map<K, V, Less>> {};
template <typename K, typename V, typename Hash, typename Equal>
struct Codec<std::unordered_map<K, V, Hash, Equal>>
    : internal::MapCodec<std::unordered_map<K, V, Hash, Equal>> {};
template <typename T, typename Less>
struct Codec<std::set<T, Less>> : internal::SetCodec<std::set<T, Less>> {};
template <typename T, typename Hash, typename Equal>
struct Codec<std::unordered_set<T, Hash, Equal>>
    : internal::SetCodec<std::unordered_set<T, Hash, Equal>> {};

template <typename... T>
struct Codec<std::variant<T...>> {
  using Value = std::variant<T...>;
  using Parts = internal::Types<T...>;
  static_assert(sizeof...(T) <= 256, "which alternative it is, is one byte");
  static std::string Name() { return "var<" + internal::JoinNames<T...>() + ">"; }
  static void Encode(const Value& value, Writer& writer) {
    if (value.valueless_by_exception()) throw std::invalid_argument("a variant without a value");
    writer.AppendUnsigned(static_cast<std::uint8_t>(value.index()));
    std::visit([&]<typename A>(const A& alternative) { Codec<A>::Encode(alternative, writer); },
               value);
  }
  static Value Decode(Reader& reader) {
    return DecodeAlternative<0>(reader.TakeUnsigned<std::uint8_t>(), reader);
  }

 private:
  template <std::size_t I>
  static Value DecodeAlternative(std::size_t index, Reader& reader) {
    if constexpr (I == sizeof...(T)) {
      throw DecodeError("a variant has no alternative " + std::to_string(index));
    } else {
      if (index != I) return DecodeAlternative<I + 1>(index, reader);
      using A = std::variant_alternative_t<I, Value>;
      return Value(std::in_place_index<I>, Codec<A>::Decode(reader));
    }
  }
};

}  // namespace haul
