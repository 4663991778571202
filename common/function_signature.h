// Names and types of functions, as libraries register them: "count_primes.v1", "u64(u64,u64)". What
// the types mean as bytes stands in docs/codec.md. Plain values and pure functions; any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul {

struct FunctionType {
  enum class Kind : std::uint8_t {
    kVoid,
    kBool,
    kSigned,
    kUnsigned,
    kFloat,
    kString,
    kBytes,
    kVector,
    kOptional,
    kTuple,
    kOther,  // a program's own
  };
  Kind kind = Kind::kVoid;
  std::uint32_t bytes = 0;  // of a number
  std::string name;         // as the signature spells it
  std::vector<FunctionType> members;
};

struct FunctionSignature {
  FunctionType result;
  std::vector<FunctionType> parameters;
};

constexpr std::size_t kFunctionNameLimit = 256;
constexpr std::size_t kFunctionSignatureLimit = 1024;

// 1 to 256 bytes of printable UTF-8: no control characters, no malformed sequences.
absl::Status CheckFunctionName(std::string_view name);

// Reads "u64(u64,u64)".
absl::StatusOr<FunctionSignature> ParseFunctionSignature(std::string_view text);

}  // namespace haul
