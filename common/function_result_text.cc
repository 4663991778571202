#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "common/function_text.h"

namespace haul {
namespace {

using Kind = FunctionType::Kind;

// Reads bytes from their beginning; appends what they say to a text.
class ResultDecoder {
 public:
  explicit ResultDecoder(std::string_view bytes) : bytes_(bytes) {}

  // False: too few bytes, or a flag that is none.
  bool Value(const FunctionType& type, bool nested, std::string* out) {
    std::uint64_t bits = 0;
    switch (type.kind) {
      case Kind::kVoid:
        return true;
      case Kind::kBool:
        if (!Number(1, &bits) || bits > 1) return false;
        absl::StrAppend(out, bits == 1 ? "true" : "false");
        return true;
      case Kind::kUnsigned:
        if (!Number(type.bytes, &bits)) return false;
        absl::StrAppend(out, bits);
        return true;
      case Kind::kSigned: {
        if (!Number(type.bytes, &bits)) return false;
        const unsigned shift = 64 - 8 * type.bytes;
        absl::StrAppend(out, static_cast<std::int64_t>(bits << shift) >> shift);
        return true;
      }
      case Kind::kFloat:
        return Float(type, out);
      case Kind::kString:
      case Kind::kBytes:
        return Blob(type, nested, out);
      case Kind::kVector:
        return Number(4, &bits) && Sequence(type, bits, "[]", out);
      case Kind::kOptional:
        if (!Number(1, &bits) || bits > 1) return false;
        if (bits == 1) return Value(type.members[0], true, out);
        absl::StrAppend(out, "none");
        return true;
      case Kind::kTuple:
        return Sequence(type, type.members.size(), "()", out);
      case Kind::kOther:
        return false;
    }
    return false;
  }
  bool AtEnd() const { return bytes_.empty(); }

 private:
  bool Number(std::uint32_t size, std::uint64_t* value) {
    if (bytes_.size() < size) return false;
    for (std::uint32_t i = 0; i < size; ++i) {
      *value |= std::uint64_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    }
    bytes_.remove_prefix(size);
    return true;
  }

  bool Float(const FunctionType& type, std::string* out) {
    std::uint64_t bits = 0;
    if (!Number(type.bytes, &bits)) return false;
    std::array<char, 64> text{};
    char* const end = text.data() + text.size();
    // The shortest text that reads back as the same value.
    const auto written = type.bytes == 4
                             ? std::to_chars(text.data(), end,
                                             std::bit_cast<float>(static_cast<std::uint32_t>(bits)))
                             : std::to_chars(text.data(), end, std::bit_cast<double>(bits));
    out->append(text.data(), written.ptr);
    return true;
  }

  bool Blob(const FunctionType& type, bool nested, std::string* out) {
    std::uint64_t size = 0;
    if (!Number(4, &size) || bytes_.size() < size) return false;
    const std::string_view blob = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    if (type.kind == Kind::kBytes) {
      out->append(absl::BytesToHexString(AbslView(blob)));
    } else if (nested) {
      Quote(blob, out);
    } else {
      out->append(blob);
    }
    return true;
  }

  static void Quote(std::string_view text, std::string* out) {
    static constexpr std::string_view kFrom = "\"\\\b\f\n\r\t";
    static constexpr std::string_view kTo = "\"\\bfnrt";
    out->push_back('"');
    for (const char c : text) {
      if (const std::size_t i = kFrom.find(c); i != std::string_view::npos) {
        out->push_back('\\');
        out->push_back(kTo[i]);
      } else if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
        absl::StrAppend(out, "\\u", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad4));
      } else {
        out->push_back(c);
      }
    }
    out->push_back('"');
  }

  bool Sequence(const FunctionType& type, std::uint64_t count, std::string_view brackets,
                std::string* out) {
    out->push_back(brackets[0]);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i > 0) out->append(", ");
      if (!Value(type.kind == Kind::kVector ? type.members[0] : type.members[i], true, out))
        return false;
    }
    out->push_back(brackets[1]);
    return true;
  }

  std::string_view bytes_;
};

bool HasOther(const FunctionType& type) {
  return type.kind == Kind::kOther ||
         std::any_of(type.members.begin(), type.members.end(), HasOther);
}

}  // namespace

absl::StatusOr<std::string> ResultText(std::string_view function,
                                       const FunctionSignature& signature, std::string_view bytes) {
  if (HasOther(signature.result)) {
    return absl::InvalidArgumentError(absl::StrCat(AbslView(function), ": results of type ",
                                                   signature.result.name, " have no text form"));
  }
  std::string text;
  ResultDecoder decoder(bytes);
  if (!decoder.Value(signature.result, false, &text) || !decoder.AtEnd()) {
    return absl::InvalidArgumentError(absl::StrCat(AbslView(function), ": ", bytes.size(),
                                                   " bytes are no result of type ",
                                                   signature.result.name));
  }
  return text;
}

}  // namespace haul
