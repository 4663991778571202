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

}  // namespace article
