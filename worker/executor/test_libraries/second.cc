// A second library of functions, beside the examples.
#include "haul/function.h"

namespace {

inline constexpr haul::Function<void()> kSecond{"second.v1"};
HAUL_SERVE(kSecond, [](haul::Context&) {});

}  // namespace
