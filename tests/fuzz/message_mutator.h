// Fuzz targets whose input is a message: a mutator that changes fields instead of bytes, so that
// what it makes still parses, and what a target is made of. libFuzzer's thread.
//
//   HAUL_FUZZ_MESSAGE(fuzz::ClientInput, RunClient)   // void RunClient(fuzz::ClientInput input)
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/check.h"
#include "google/protobuf/message.h"

namespace haul::fuzz {

// As libFuzzer's LLVMFuzzerCustomMutator and LLVMFuzzerCustomCrossOver; `message` is a scratch of
// the input's type.
std::size_t Mutate(google::protobuf::Message& message, std::uint8_t* data, std::size_t size,
                   std::size_t max_size, unsigned seed);
std::size_t CrossOver(google::protobuf::Message& message, const std::uint8_t* first,
                      std::size_t first_size, const std::uint8_t* second, std::size_t second_size,
                      std::uint8_t* out, std::size_t max_size);

// Reads the input; false where it is no message.
bool Parse(const std::uint8_t* data, std::size_t size, google::protobuf::Message* message);

}  // namespace haul::fuzz

#define HAUL_FUZZ_MESSAGE(Message, Run)                                                  \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {    \
    Message message;                                                                     \
    if (!::haul::fuzz::Parse(data, size, &message)) return 0;                            \
    Run(std::move(message));                                                             \
    return 0;                                                                            \
  }                                                                                      \
  extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,   \
                                                 std::size_t max_size, unsigned seed) {  \
    Message message;                                                                     \
    return ::haul::fuzz::Mutate(message, data, size, max_size, seed);                    \
  }                                                                                      \
  extern "C" std::size_t LLVMFuzzerCustomCrossOver(                                      \
      const std::uint8_t* first, std::size_t first_size, const std::uint8_t* second,     \
      std::size_t second_size, std::uint8_t* out, std::size_t max_size, unsigned) {      \
    Message message;                                                                     \
    return ::haul::fuzz::CrossOver(message, first, first_size, second, second_size, out, \
                                   max_size);                                            \
  }
