#include "common/function_signature.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "common/utf8.h"

namespace haul {
namespace {

using Kind = FunctionType::Kind;

constexpr int kDepthLimit = 16;

struct NamedType {
  std::string_view name;
  Kind kind;
  std::uint32_t bytes;
};
constexpr NamedType kTypes[] = {
    {"void", Kind::kVoid, 0},    {"bool", Kind::kBool, 1},    {"i8", Kind::kSigned, 1},
    {"i16", Kind::kSigned, 2},   {"i32", Kind::kSigned, 4},   {"i64", Kind::kSigned, 8},
    {"u8", Kind::kUnsigned, 1},  {"u16", Kind::kUnsigned, 2}, {"u32", Kind::kUnsigned, 4},
    {"u64", Kind::kUnsigned, 8}, {"f32", Kind::kFloat, 4},    {"f64", Kind::kFloat, 8},
    {"str", Kind::kString, 0},   {"bytes", Kind::kBytes, 0},  {"vec", Kind::kVector, 0},
    {"opt", Kind::kOptional, 0}, {"tuple", Kind::kTuple, 0},
};

class SignatureParser {
 public:
  explicit SignatureParser(std::string_view text) : text_(text) {}

  absl::StatusOr<FunctionSignature> Parse() {
    FunctionSignature signature;
    std::optional<FunctionType> result = Type(0, true);
    if (!result.has_value()) return Refused();
    signature.result = *std::move(result);
    if (!Take('(')) return Refused("expected (");
    if (!Take(')')) {
      if (!List(0, ')', &signature.parameters)) return Refused();
    }
    if (position_ != text_.size()) return Refused("expected the end");
    return signature;
  }

 private:
  bool Take(char c) {
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  bool Fail(std::string_view why) {
    if (why_.empty()) why_ = why;
    return false;
  }

  absl::Status Refused(std::string_view why = "") {
    Fail(why);
    return absl::InvalidArgumentError(absl::StrCat("signature \"",
                                                   absl::CHexEscape(AbslView(text_)), "\": ", why_,
                                                   " at position ", position_ + 1));
  }

  // Types up to `end`, which is taken.
  bool List(int depth, char end, std::vector<FunctionType>* types) {
    while (true) {
      std::optional<FunctionType> type = Type(depth, false);
      if (!type.has_value()) return false;
      types->push_back(*std::move(type));
      if (Take(end)) return true;
      if (!Take(',')) return Fail(absl::StrCat("expected , or ", std::string(1, end)));
    }
  }

  std::optional<FunctionType> Type(int depth, bool may_be_void) {
    const std::size_t begin = position_;
    while (position_ < text_.size() &&
           (absl::ascii_isalnum(static_cast<unsigned char>(text_[position_])) ||
            text_[position_] == '_' || text_[position_] == '.')) {
      ++position_;
    }
    const std::string_view word = text_.substr(begin, position_ - begin);
    FunctionType type;
    type.kind = Kind::kOther;
    for (const NamedType& named : kTypes) {
      if (named.name != word) continue;
      type.kind = named.kind;
      type.bytes = named.bytes;
    }
    if (word.empty()) return Fail("expected a type"), std::nullopt;
    if (type.kind == Kind::kVoid && !may_be_void) {
      return Fail("void is a result only"), std::nullopt;
    }
    if (Take('<')) {
      if (depth == kDepthLimit) return Fail("types are nested too deeply"), std::nullopt;
      if (!List(depth + 1, '>', &type.members)) return std::nullopt;
    }
    if (!MemberCountIsRight(type)) {
      return Fail(absl::StrCat(AbslView(word), " with ", type.members.size(), " member types")),
             std::nullopt;
    }
    type.name = std::string(text_.substr(begin, position_ - begin));
    return type;
  }

  static bool MemberCountIsRight(const FunctionType& type) {
    switch (type.kind) {
      case Kind::kVector:
      case Kind::kOptional:
        return type.members.size() == 1;
      case Kind::kTuple:
        return !type.members.empty();
      case Kind::kOther:
        return true;
      case Kind::kVoid:
      case Kind::kBool:
      case Kind::kSigned:
      case Kind::kUnsigned:
      case Kind::kFloat:
      case Kind::kString:
      case Kind::kBytes:
        return type.members.empty();
    }
    return false;
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::string why_;
};

}  // namespace

absl::Status CheckFunctionName(std::string_view name) {
  if (name.empty() || name.size() > kFunctionNameLimit) {
    return absl::InvalidArgumentError(absl::StrCat("a function's name of ", name.size(),
                                                   " bytes; it has 1 to ", kFunctionNameLimit));
  }
  if (!IsPrintableUtf8(name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the function's name \"", absl::CHexEscape(AbslView(name)), "\" is not printable UTF-8"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FunctionSignature> ParseFunctionSignature(std::string_view text) {
  if (text.size() > kFunctionSignatureLimit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a signature of ", text.size(), " bytes; the limit is ", kFunctionSignatureLimit));
  }
  return SignatureParser(text).Parse();
}

}  // namespace haul
