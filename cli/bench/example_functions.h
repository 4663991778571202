// The functions of the examples' library that are measured with, as a caller declares them.
#pragma once

#include <cstdint>
#include <string>

#include "haul/function.h"

namespace haul::cli {

inline constexpr Function<void()> kNoop{"noop.v1"};
inline constexpr Function<std::uint64_t(std::uint64_t, std::uint64_t)> kAdd{"add.v1"};
inline constexpr Function<void(std::uint64_t)> kSleep{"sleep.v1"};
inline constexpr Function<std::string(std::string)> kEcho{"echo.v1"};

}  // namespace haul::cli
