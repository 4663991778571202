#include "common/utf8.h"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/absl_view.h"

namespace haul {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t length = 1;
};

// The character at the beginning of a text that is not empty.
std::optional<Character> FirstCharacter(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return Character{byte(0), 1};
  if (byte(0) < 0xc2 || byte(0) > 0xf4) return std::nullopt;
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (text.size() < length) return std::nullopt;
  std::uint32_t code = byte(0) & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
    code = (code << 6) | (byte(i) & 0x3fu);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[length] || code > 0x10ffff || surrogate) return std::nullopt;
  return Character{code, length};
}

bool IsControl(std::uint32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::optional<Character> character = FirstCharacter(text);
    if (!character.has_value()) return false;
    text.remove_prefix(character->length);
  }
  return true;
}

bool IsPrintableUtf8(std::string_view text) {
  while (!text.empty()) {
    const std::optional<Character> character = FirstCharacter(text);
    if (!character.has_value() || IsControl(character->code)) return false;
    text.remove_prefix(character->length);
  }
  return true;
}

std::string_view CutUtf8(std::string_view text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  std::size_t size = most_bytes;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

std::string ToUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::optional<Character> character = FirstCharacter(text);
    const std::size_t length = character.has_value() ? character->length : 1;
    if (character.has_value()) {
      result.append(text.substr(0, length));
    } else {
      absl::StrAppend(&result, "\\x",
                      absl::Hex(static_cast<unsigned char>(text[0]), absl::kZeroPad2));
    }
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace haul
