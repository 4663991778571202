#include "common/function_text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>

#include "absl/numeric/int128.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/absl_view.h"

namespace haul {
namespace {

using Kind = FunctionType::Kind;

void AppendLittleEndian(std::uint64_t value, std::uint32_t bytes, std::string* out) {
  for (std::uint32_t i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t UnsignedLimit(std::uint32_t bytes) {
  return std::numeric_limits<std::uint64_t>::max() >> (64 - 8 * bytes);
}
std::int64_t SignedLimit(std::uint32_t bytes) {
  return static_cast<std::int64_t>(UnsignedLimit(bytes) >> 1);
}

std::string RangeText(const FunctionType& type) {
  if (type.kind == Kind::kUnsigned) return absl::StrCat("0 to ", UnsignedLimit(type.bytes));
  return absl::StrCat(-SignedLimit(type.bytes) - 1, " to ", SignedLimit(type.bytes));
}

bool InRange(const FunctionType& type, std::int64_t value) {
  if (type.kind == Kind::kUnsigned) {
    return value >= 0 && static_cast<std::uint64_t>(value) <= UnsignedLimit(type.bytes);
  }
  return value <= SignedLimit(type.bytes) && value >= -SignedLimit(type.bytes) - 1;
}

template <typename T>
std::errc ReadNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error != std::errc()) return error;
  return end == text.data() + text.size() ? std::errc() : std::errc::invalid_argument;
}

absl::Status EncodeInteger(const FunctionType& type, std::string_view text, std::string* out) {
  std::uint64_t bits = 0;
  std::errc error{};
  bool fits = false;
  if (type.kind == Kind::kUnsigned) {
    error = ReadNumber(text, &bits);
    fits = bits <= UnsignedLimit(type.bytes);
    // A number all the same, and the message should speak of its range.
    std::int64_t negative = 0;
    if (error == std::errc::invalid_argument && text.starts_with('-') &&
        ReadNumber(text, &negative) != std::errc::invalid_argument) {
      error = std::errc::result_out_of_range;
    }
  } else {
    std::int64_t value = 0;
    error = ReadNumber(text, &value);
    fits = InRange(type, value);
    bits = static_cast<std::uint64_t>(value);
  }
  if (error == std::errc::invalid_argument) return absl::InvalidArgumentError("not a whole number");
  if (error != std::errc() || !fits) {
    return absl::InvalidArgumentError(absl::StrCat("out of range: ", RangeText(type)));
  }
  AppendLittleEndian(bits, type.bytes, out);
  return absl::OkStatus();
}

absl::Status EncodeFloat(const FunctionType& type, std::string_view text, std::string* out) {
  const auto encode = [&]<typename T, typename Bits>(T value, Bits) {
    const std::errc error = ReadNumber(text, &value);
    if (error == std::errc::invalid_argument) return absl::InvalidArgumentError("not a number");
    if (error != std::errc())
      return absl::InvalidArgumentError(absl::StrCat("out of range of ", type.name));
    AppendLittleEndian(std::bit_cast<Bits>(value), type.bytes, out);
    return absl::OkStatus();
  };
  return type.bytes == 4 ? encode(float{}, std::uint32_t{}) : encode(double{}, std::uint64_t{});
}

absl::Status AppendCounted(std::string_view bytes, std::string* out) {
  if (bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes, at most 2^32 - 1 go"));
  }
  AppendLittleEndian(bytes.size(), 4, out);
  out->append(bytes);
  return absl::OkStatus();
}

absl::Status EncodeHex(std::string_view text, std::string* out) {
  const auto is_hex = [](unsigned char c) { return absl::ascii_isxdigit(c); };
  if (text.size() % 2 != 0 || !std::all_of(text.begin(), text.end(), is_hex)) {
    return absl::InvalidArgumentError("bytes are written as two hexadecimal digits each");
  }
  return AppendCounted(absl::HexStringToBytes(AbslView(text)), out);
}

// Reads values out of one text that holds several.
class TextParser {
 public:
  TextParser(std::string_view text, std::string* out) : text_(text), out_(out) {}

  // A value, up to the text's end or the , ] or ) behind it.
  absl::Status Value(const FunctionType& type) {
    SkipSpace();
    switch (type.kind) {
      case Kind::kVector:
        return Elements('[', ']', type);
      case Kind::kTuple:
        return Elements('(', ')', type);
      case Kind::kOptional:
        return Optional(type);
      case Kind::kString: {
        absl::StatusOr<std::string> value = String();
        return value.ok() ? AppendCounted(*value, out_) : value.status();
      }
      case Kind::kVoid:
      case Kind::kBool:
      case Kind::kSigned:
      case Kind::kUnsigned:
      case Kind::kFloat:
      case Kind::kBytes:
      case Kind::kOther:
        return Scalar(type, Word());
    }
    return absl::InternalError("unknown type");
  }

  bool Take(char c) {
    SkipSpace();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }
  std::size_t position() const { return position_; }

 private:
  void SkipSpace() {
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
  }

  std::string_view Word() {
    const std::size_t end = std::min(text_.find_first_of(",])", position_), text_.size());
    const std::string_view word = text_.substr(position_, end - position_);
    position_ = end;
    return word.substr(0, word.find_last_not_of(' ') + 1);
  }

  absl::Status Scalar(const FunctionType& type, std::string_view word) {
    absl::Status status;
    if (type.kind == Kind::kBool) {
      const bool yes = word == "true" || word == "1";
      if (!yes && word != "false" && word != "0") {
        status = absl::InvalidArgumentError("neither true nor false");
      } else {
        out_->push_back(yes ? 1 : 0);
      }
    } else if (type.kind == Kind::kSigned || type.kind == Kind::kUnsigned) {
      status = EncodeInteger(type, word, out_);
    } else if (type.kind == Kind::kFloat) {
      status = EncodeFloat(type, word, out_);
    } else if (type.kind == Kind::kBytes) {
      status = EncodeHex(word, out_);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("values of type ", type.name, " have no text form"));
    }
    if (status.ok()) return status;
    const std::string shown = absl::Utf8SafeCHexEscape(AbslView(word.substr(0, 64)));
    return absl::InvalidArgumentError(absl::StrCat("\"", shown, "\": ", status.message()));
  }

  absl::StatusOr<std::string> String() {
    if (!Take('"')) return std::string(Word());
    std::string value;
    while (position_ < text_.size()) {
      const char c = text_[position_++];
      if (c == '"') return value;
      if (c != '\\') {
        value.push_back(c);
      } else if (!Escape(&value)) {
        break;
      }
    }
    return absl::InvalidArgumentError("a quoted string is malformed or has no end");
  }

  // What follows a backslash. Of \u only what stands for one byte of ASCII: the rest of UTF-8 is
  // written as it is.
  bool Escape(std::string* value) {
    static constexpr std::string_view kFrom = "\"\\/bfnrt";
    static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    if (position_ == text_.size()) return false;
    const char c = text_[position_++];
    if (const std::size_t i = kFrom.find(c); i != std::string_view::npos) {
      value->push_back(kTo[i]);
      return true;
    }
    unsigned code = 0;
    const std::string_view digits = text_.substr(position_, 4);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (c != 'u' || error != std::errc() || end != digits.data() + 4 || code > 0x7f) return false;
    value->push_back(static_cast<char>(code));
    position_ += 4;
    return true;
  }

  absl::Status Optional(const FunctionType& type) {
    const std::size_t begin = position_;
    if (Word() == "none") {
      out_->push_back(0);
      return absl::OkStatus();
    }
    position_ = begin;
    out_->push_back(1);
    return Value(type.members[0]);
  }

  absl::Status Elements(char begin, char end, const FunctionType& type) {
    if (!Take(begin)) return Expected(begin, type);
    const bool is_vector = type.kind == Kind::kVector;
    const std::size_t count_position = out_->size();
    if (is_vector) out_->append(4, '\0');
    std::uint64_t count = 0;
    if (!is_vector || !Take(end)) {
      while (true) {
        if (!is_vector && count == type.members.size()) return Expected(end, type);
        absl::Status status = Value(is_vector ? type.members[0] : type.members[count]);
        if (!status.ok()) return status;
        ++count;
        if (Take(end)) break;
        if (!Take(',')) return Expected(',', type);
      }
    }
    if (!is_vector && count != type.members.size()) return Expected(',', type);
    if (count > std::numeric_limits<std::uint32_t>::max()) {
      return absl::InvalidArgumentError("a vector of more than 2^32 - 1 elements");
    }
    if (is_vector) {
      std::string encoded_count;
      AppendLittleEndian(count, 4, &encoded_count);
      out_->replace(count_position, 4, encoded_count);
    }
    return absl::OkStatus();
  }

  absl::Status Expected(char c, const FunctionType& type) const {
    return absl::InvalidArgumentError(absl::StrCat("expected ", std::string(1, c), " of ",
                                                   type.name, " at position ", position_ + 1));
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::string* out_;
};

std::string ParameterList(const FunctionSignature& signature) {
  return absl::StrCat("(",
                      absl::StrJoin(signature.parameters, ", ",
                                    [](std::string* out, const FunctionType& type) {
                                      absl::StrAppend(out, type.name);
                                    }),
                      ")");
}

absl::Status ArgumentError(std::string_view function, std::size_t position,
                           const FunctionType& type, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat(AbslView(function), ": argument ", position + 1, " (", type.name, "): ", why));
}

absl::Status CountError(std::string_view function, const FunctionSignature& signature,
                        std::size_t given) {
  return absl::InvalidArgumentError(absl::StrCat(AbslView(function), " takes ",
                                                 signature.parameters.size(), " arguments ",
                                                 ParameterList(signature), ", ", given, " given"));
}

}  // namespace

absl::StatusOr<std::string> EncodeArguments(std::string_view function,
                                            const FunctionSignature& signature,
                                            absl::Span<const std::string> values) {
  if (values.size() != signature.parameters.size()) {
    return CountError(function, signature, values.size());
  }
  std::string bytes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const FunctionType& type = signature.parameters[i];
    absl::Status status;
    if (type.kind == Kind::kString) {
      status = AppendCounted(values[i], &bytes);
    } else {
      TextParser parser(values[i], &bytes);
      status = parser.Value(type);
      if (status.ok() && !parser.AtEnd()) {
        status = absl::InvalidArgumentError(
            absl::StrCat("unexpected text at position ", parser.position() + 1));
      }
    }
    if (!status.ok()) return ArgumentError(function, i, type, status.message());
  }
  return bytes;
}

absl::StatusOr<std::string> EncodeArguments(std::string_view function,
                                            const FunctionSignature& signature,
                                            std::string_view text) {
  const std::vector<FunctionType>& parameters = signature.parameters;
  if (parameters.empty() && text.find_first_not_of(' ') == std::string_view::npos)
    return std::string();
  if (parameters.size() == 1 && parameters[0].kind == Kind::kString) {
    const std::string whole(text);
    return EncodeArguments(function, signature, absl::MakeConstSpan(&whole, 1));
  }
  if (parameters.empty()) return CountError(function, signature, 1);
  std::string bytes;
  TextParser parser(text, &bytes);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    absl::Status status = parser.Value(parameters[i]);
    if (!status.ok()) return ArgumentError(function, i, parameters[i], status.message());
    const bool last = i + 1 == parameters.size();
    if (last && parser.AtEnd()) break;
    if (!parser.Take(',')) {
      if (parser.AtEnd()) return CountError(function, signature, i + 1);
      return ArgumentError(function, i, parameters[i],
                           absl::StrCat("unexpected text at position ", parser.position() + 1));
    }
    if (last) {
      return absl::InvalidArgumentError(absl::StrCat(AbslView(function), " takes ",
                                                     parameters.size(), " arguments ",
                                                     ParameterList(signature), ", more given"));
    }
  }
  return bytes;
}

absl::Status CheckArrayCall(std::string_view function, const FunctionSignature& signature,
                            std::int64_t start, std::int64_t step, std::uint64_t count) {
  if (signature.parameters.empty() || count == 0) return absl::OkStatus();
  const FunctionType& type = signature.parameters[0];
  const bool integer = type.kind == Kind::kSigned || type.kind == Kind::kUnsigned;
  if (signature.parameters.size() != 1 || !integer) {
    return absl::InvalidArgumentError(
        absl::StrCat(AbslView(function), " takes ", ParameterList(signature),
                     ": an array gives one integer, or nothing to a function without parameters"));
  }
  const absl::int128 last = absl::int128(start) + absl::int128(step) * absl::int128(count - 1);
  for (const absl::int128 value : {absl::int128(start), last}) {
    const bool is_i64 = value >= std::numeric_limits<std::int64_t>::min() &&
                        value <= std::numeric_limits<std::int64_t>::max();
    if (is_i64 && InRange(type, static_cast<std::int64_t>(value))) continue;
    const std::string shown =
        is_i64 ? absl::StrCat(static_cast<std::int64_t>(value)) : std::string("beyond 64 bits");
    return ArgumentError(
        function, 0, type,
        absl::StrCat("the array goes to ", shown, ", out of range: ", RangeText(type)));
  }
  return absl::OkStatus();
}

ArrayArgument EncodeArrayValue(const FunctionSignature& signature, std::int64_t value) {
  ArrayArgument argument;
  if (signature.parameters.empty()) return argument;
  argument.size = signature.parameters[0].bytes;
  for (std::uint32_t i = 0; i < argument.size; ++i) {
    argument.bytes[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
  return argument;
}

}  // namespace haul
