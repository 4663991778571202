// The article's func, as both sides see it: the library that serves it, and the programs that call.
#pragma once

#include <cstdint>
#include <tuple>

#include "haul/function.h"

namespace article {

// (n, milliseconds) -> (n, process, thread, began, ended): it sleeps so long. Times in microseconds
// of the worker's clock.
using Run = std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int64_t, std::int64_t>;
inline constexpr haul::Function<Run(std::int32_t, std::int64_t)> kFunc{"article.func.v1"};

// The same, but it counts the primes below the second argument instead of sleeping.
inline constexpr haul::Function<Run(std::int32_t, std::int64_t)> kCompute{"article.compute.v1"};

// The same as func, but it follows a wild pointer instead of ending.
inline constexpr haul::Function<Run(std::int32_t, std::int64_t)> kCrash{"article.crash.v1"};

}  // namespace article
