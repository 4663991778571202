// The members of a struct, without a macro for each; for haul/codec.h. Standard C++20 alone.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace haul::internal {

template <typename... T>
struct Types {};

template <typename T>
inline constexpr bool kIsArray = false;
template <typename T, std::size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;

// What is taken apart into its members.
template <typename T>
concept Aggregate = std::is_class_v<T> && std::is_aggregate_v<T> && !kIsArray<T>;

// Convert to every type, and to every base class of T.
template <std::size_t>
struct ToAnything {
  template <typename U>
  operator U() const;  // NOLINT(google-explicit-constructor)
};
template <typename U, typename T>
concept BaseOf = std::is_base_of_v<U, T> && !std::is_same_v<U, T>;
template <typename T>
struct ToBaseOf {
  template <BaseOf<T> U>
  operator U() const;  // NOLINT(google-explicit-constructor)
};

inline constexpr std::size_t kMostMembers = 16;

// As many {} as T can be made of: each makes one member, whatever that is. 17: or more.
template <typename T>
constexpr std::size_t CountMembers() {
  if constexpr (requires {
                  T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                }) {
    return 17;
  } else if constexpr (requires {
                         T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                       }) {
    return 16;
  } else if constexpr (requires {
                         T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
                       }) {
    return 15;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 14;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 13;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 12;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 11;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 10;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 9;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}, {}}; }) {
    return 8;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}, {}}; }) {
    return 7;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}, {}}; }) {
    return 6;
  } else if constexpr (requires { T{{}, {}, {}, {}, {}}; }) {
    return 5;
  } else if constexpr (requires { T{{}, {}, {}, {}}; }) {
    return 4;
  } else if constexpr (requires { T{{}, {}, {}}; }) {
    return 3;
  } else if constexpr (requires { T{{}, {}}; }) {
    return 2;
  } else if constexpr (requires { T{{}}; }) {
    return 1;
  } else {
    return 0;
  }
}

// Calls `visit` with all members. They are handed on while they are bound: a copy in a tuple of
// references would be needless.
template <typename T, typename Visit>
constexpr decltype(auto) VisitMembers(const T& value, Visit&& visit) {
  constexpr std::size_t kCount = CountMembers<T>();
  if constexpr (kCount == 0) {
    return visit();
  } else if constexpr (kCount == 1) {
    const auto& [a] = value;
    return visit(a);
  } else if constexpr (kCount == 2) {
    const auto& [a, b] = value;
    return visit(a, b);
  } else if constexpr (kCount == 3) {
    const auto& [a, b, c] = value;
    return visit(a, b, c);
  } else if constexpr (kCount == 4) {
    const auto& [a, b, c, d] = value;
    return visit(a, b, c, d);
  } else if constexpr (kCount == 5) {
    const auto& [a, b, c, d, e] = value;
    return visit(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    const auto& [a, b, c, d, e, f] = value;
    return visit(a, b, c, d, e, f);
  } else if constexpr (kCount == 7) {
    const auto& [a, b, c, d, e, f, g] = value;
    return visit(a, b, c, d, e, f, g);
  } else if constexpr (kCount == 8) {
    const auto& [a, b, c, d, e, f, g, h] = value;
    return visit(a, b, c, d, e, f, g, h);
  } else if constexpr (kCount == 9) {
    const auto& [a, b, c, d, e, f, g, h, i] = value;
    return visit(a, b, c, d, e, f, g, h, i);
  } else if constexpr (kCount == 10) {
    const auto& [a, b, c, d, e, f, g, h, i, j] = value;
    return visit(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (kCount == 11) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (kCount == 12) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (kCount == 13) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (kCount == 14) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, n);
  } else if constexpr (kCount == 15) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o);
  } else if constexpr (kCount == 16) {
    const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value;
    return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  }
}

template <typename T, std::size_t... I>
constexpr bool HasMembers(std::index_sequence<I...>) {
  return requires { T{ToAnything<I>()...}; };
}
// Not so where the count ended at a member that {} does not make.
template <typename T>
constexpr bool CountIsRight() {
  constexpr std::size_t kCount = CountMembers<T>();
  if (HasMembers<T>(std::make_index_sequence<kCount + 1>())) return false;
  return kCount > 0 || std::is_empty_v<T>;
}

struct ListTypes {
  template <typename... T>
  constexpr Types<T...> operator()(const T&...) const {
    return {};
  }
};

template <typename T>
constexpr auto ListMembers() {
  constexpr bool kHasBase = requires { T{ToBaseOf<T>()}; };
  static_assert(!kHasBase, "a struct with a base class needs a haul::Codec of its own");
  constexpr bool kFits = CountMembers<T>() <= kMostMembers;
  static_assert(kFits, "a struct of more than 16 members needs a haul::Codec of its own");
  constexpr bool kIsCounted = !kFits || CountIsRight<T>();
  static_assert(kIsCounted,
                "a struct with a C array (make it a std::array), or with a member that {} does not "
                "make, needs a haul::Codec of its own");
  if constexpr (!kHasBase && kFits && kIsCounted) {
    return decltype(VisitMembers(std::declval<const T&>(), ListTypes()))();
  } else {
    return Types<>();
  }
}
// Types<…> of the members.
template <typename T>
using MembersOf = decltype(ListMembers<T>());

}  // namespace haul::internal
