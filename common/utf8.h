// Text from outside that must be, or must become, UTF-8. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace haul {

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);
// Likewise, and without control characters.
bool IsPrintableUtf8(std::string_view text);
// The text, with each byte that is no part of UTF-8 as \xNN.
std::string ToUtf8(std::string_view text);

// As much of the beginning as fits so many bytes, without half a character at the end.
std::string_view CutUtf8(std::string_view text, std::size_t most_bytes);

}  // namespace haul
