// Calls of functions as people write them: arguments given as text become bytes, a result's bytes
// become text. The bytes are those of docs/codec.md. Pure functions; any thread.
//
// Text of a value, by its type:
//   bool        true, false, 1, 0
//   i8 … u64    decimal; outside the type's range it is refused
//   f32 f64     decimal, inf, nan
//   str         as it is; within vec, opt and tuple, or where it holds , [ ] ( ) or " in a list: in
//               double quotes, with the escapes of JSON
//   bytes       two hexadecimal digits a byte
//   vec<T>      [a, b]
//   opt<T>      none, or the value
//   tuple<…>    (a, b)
// Types that a program adds by haul::Codec have no text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/function_signature.h"

namespace haul {

// One text for each parameter.
absl::StatusOr<std::string> EncodeArguments(std::string_view function,
                                            const FunctionSignature& signature,
                                            absl::Span<const std::string> values);
// All arguments in one text, separated by commas; of a function with a single str the whole text is
// its argument, and the empty text stands for no arguments.
absl::StatusOr<std::string> EncodeArguments(std::string_view function,
                                            const FunctionSignature& signature,
                                            std::string_view text);

// A str as it is, void as "".
absl::StatusOr<std::string> ResultText(std::string_view function,
                                       const FunctionSignature& signature, std::string_view bytes);

// Arguments of the tasks of an array job: task i has the value start + i * step. A function without
// parameters is called without it, one with a single integer parameter gets it.
struct ArrayArgument {
  std::array<char, 8> bytes{};
  std::uint32_t size = 0;
  std::string_view view() const { return {bytes.data(), size}; }
};
// Whether the function may be called so, with every value from start to start + (count - 1) * step.
absl::Status CheckArrayCall(std::string_view function, const FunctionSignature& signature,
                            std::int64_t start, std::int64_t step, std::uint64_t count);
// After CheckArrayCall; allocates nothing.
ArrayArgument EncodeArrayValue(const FunctionSignature& signature, std::int64_t value);

}  // namespace haul
