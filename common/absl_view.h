// Debian's Abseil has a string_view of its own; it converts to std::string_view, not from it.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace haul {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace haul
