// Functions: their signatures, their arguments and results as bytes and as text. What the codec of
// include/haul/codec.h takes, it gives back; it and the text forms agree on what a value is.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/function_signature.h"
#include "common/function_text.h"
#include "haul/function.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "worker/executor/library.h"

namespace haul::fuzz {
namespace {

// Whether the text of a value reads back as the value: not so where it holds what stands for more
// than one.
template <typename T>
struct HasOneText : std::true_type {};
template <>
struct HasOneText<std::string> : std::true_type {};
template <typename T>
requires std::is_floating_point_v<T>
struct HasOneText<T> : std::false_type {
};  // every NaN is "nan"
template <typename T>
struct HasOneText<std::vector<T>> : HasOneText<T> {};
template <typename T>
struct HasOneText<std::optional<T>> : std::false_type {};  // of opt<opt<T>> and opt<str>: "none"
template <typename... T>
struct HasOneText<std::tuple<T...>> : std::conjunction<HasOneText<T>...> {};

FunctionSignature ParseOwn(const std::string& text) {
  const auto signature = ParseFunctionSignature(text);
  HAUL_CHECK(signature.ok());
  return *signature;
}

template <typename T>
void CheckText(std::string_view bytes, bool decoded) {
  const std::string name = Codec<T>::Name();
  static const FunctionSignature kSignature = ParseOwn(name + "(" + name + ")");
  const auto text = ResultText("f", kSignature, bytes);
  HAUL_CHECK(text.ok() == decoded);
  if (!text.ok()) return;
  // A text of its own, or within what is taken apart.
  const auto again = EncodeArguments("f", kSignature, absl::Span<const std::string>(&*text, 1));
  if (HasOneText<T>::value) HAUL_CHECK(again.ok() && *again == bytes);
}

template <typename T>
void CheckCodec(std::string_view bytes) {
  std::optional<T> value;
  Reader reader(bytes);
  try {
    value.emplace(Codec<T>::Decode(reader));
    reader.ExpectEnd();
  } catch (const DecodeError& error) {
    HAUL_CHECK(std::string_view(error.what()).size() > 0);
    if (value.has_value()) HAUL_CHECK(reader.remaining() > 0);
    return CheckText<T>(bytes, false);
  }
  Writer writer;
  Codec<T>::Encode(*value, writer);
  HAUL_CHECK(writer.bytes() == bytes);
  CheckText<T>(bytes, true);
}

void CheckCodecs(std::string_view bytes) {
  CheckCodec<bool>(bytes);
  CheckCodec<std::int8_t>(bytes);
  CheckCodec<std::uint64_t>(bytes);
  CheckCodec<std::string>(bytes);
  CheckCodec<std::vector<std::byte>>(bytes);
  CheckCodec<std::vector<double>>(bytes);
  CheckCodec<std::vector<std::string>>(bytes);
  CheckCodec<std::vector<std::vector<std::uint16_t>>>(bytes);
  CheckCodec<std::vector<bool>>(bytes);
  CheckCodec<std::optional<std::int32_t>>(bytes);
  CheckCodec<std::vector<std::optional<std::string>>>(bytes);
  CheckCodec<std::tuple<std::int16_t, std::string, std::vector<float>>>(bytes);
}

void CheckType(const FunctionType& type, int depth) {
  HAUL_CHECK(!type.name.empty() && depth < 20);
  HAUL_CHECK(type.kind != FunctionType::Kind::kVoid || depth == 0);
  for (const FunctionType& member : type.members) CheckType(member, depth + 1);
}

// The parsed signature spells itself.
void CheckSignature(const FunctionSignature& signature, std::string_view text) {
  CheckType(signature.result, 0);
  std::string spelt = signature.result.name + "(";
  for (std::size_t i = 0; i < signature.parameters.size(); ++i) {
    CheckType(signature.parameters[i], 1);
    spelt += (i > 0 ? "," : "") + signature.parameters[i].name;
  }
  HAUL_CHECK(spelt + ")" == text && text.size() <= kFunctionSignatureLimit);
}

// A type of the program's own has no text; though an optional one may be none.
bool HasOwn(const FunctionType& type) {
  return type.kind == FunctionType::Kind::kOther ||
         std::any_of(type.members.begin(), type.members.end(), HasOwn);
}

// The arguments that a text gives are a value of the tuple of the parameters.
void CheckArguments(const FunctionSignature& signature, const std::string& encoded) {
  if (signature.parameters.empty()) return HAUL_CHECK(encoded.empty());
  FunctionSignature of_tuple;
  of_tuple.result = {
      .kind = FunctionType::Kind::kTuple, .name = "t", .members = signature.parameters};
  const auto text = ResultText("f", of_tuple, encoded);
  HAUL_CHECK(text.ok() != HasOwn(of_tuple.result));
}

void CheckArray(const FunctionSignature& signature, const FunctionInput& input) {
  const std::int64_t start = input.array().start();
  const std::int64_t step = input.array().step();
  const std::uint64_t count = input.array_count();
  if (count == 0 || !CheckArrayCall("f", signature, start, step, count).ok()) return;
  const std::uint64_t last =
      static_cast<std::uint64_t>(start) + (count - 1) * static_cast<std::uint64_t>(step);
  for (const std::int64_t value : {start, static_cast<std::int64_t>(last)}) {
    const ArrayArgument argument = EncodeArrayValue(signature, value);
    if (signature.parameters.empty()) {
      HAUL_CHECK(argument.view().empty());
      continue;
    }
    const std::string text = std::to_string(value);
    const auto encoded = EncodeArguments("f", signature, absl::Span<const std::string>(&text, 1));
    HAUL_CHECK(encoded.ok() && *encoded == argument.view());
  }
}

// What a library says of itself is taken, or refused as a whole with a reason.
void CheckLibrary(const FunctionInput& input) {
  const std::string name = input.name();
  const std::string signature = input.signature();
  const auto invoke = [](const void*, const haul_call*) -> std::int32_t { return 0; };
  const haul_function functions[] = {{name.c_str(), signature.c_str(), nullptr, invoke},
                                     {"another", "void()", nullptr, invoke}};
  const haul_library library{HAUL_INTERFACE_VERSION, sizeof(haul_function), std::size(functions),
                             functions};
  executor::FunctionTable table;
  const absl::Status added = table.Add(&library, "fuzz");
  // They end at their first zero byte there.
  const bool is_right = CheckFunctionName(name.c_str()).ok() &&
                        std::string_view(name.c_str()) != "another" &&
                        ParseFunctionSignature(signature.c_str()).ok();
  HAUL_CHECK(added.ok() == is_right);
  if (!added.ok()) return HAUL_CHECK(!added.message().empty());
  HAUL_CHECK(table.Find(name.c_str()) != nullptr);
}

void Run(FunctionInput input) {
  CheckLibrary(input);
  const absl::Status name = CheckFunctionName(input.name());
  HAUL_CHECK(!name.ok() || (!input.name().empty() && input.name().size() <= kFunctionNameLimit));
  CheckCodecs(input.bytes());
  const auto signature = ParseFunctionSignature(input.signature());
  if (!signature.ok()) return HAUL_CHECK(!signature.status().message().empty());
  CheckSignature(*signature, input.signature());
  CheckArray(*signature, input);
  const auto result = ResultText("f", *signature, input.bytes());
  HAUL_CHECK(result.ok() || !result.status().message().empty());
  const std::vector<std::string> texts(input.texts().begin(), input.texts().end());
  for (const std::string& text : texts) {
    const auto encoded = EncodeArguments("f", *signature, std::string_view(text));
    if (encoded.ok()) CheckArguments(*signature, *encoded);
  }
  const auto encoded = EncodeArguments("f", *signature, absl::MakeConstSpan(texts));
  if (encoded.ok()) CheckArguments(*signature, *encoded);
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::FunctionInput, haul::fuzz::Run)
