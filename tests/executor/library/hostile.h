// Functions of a library that means no good, or wants to be seen running: libhostile.so serves
// them, the tests call them.
#pragma once

#include <cstdint>
#include <string>

#include "haul/function.h"

namespace hostile {

// Does what its argument says: "close" closes every descriptor of its process, "thread" leaves a
// thread behind that goes on for ever, "exit" ends the process from such a thread, "kill" does
// what the kernel does to one that takes too much memory.
inline constexpr haul::Function<std::string(std::string)> kMisbehave{"misbehave.v1"};

// (directory, n): waits there until n of its tasks run at once, and gives its process's id.
inline constexpr haul::Function<std::int32_t(std::string, std::uint32_t)> kMeet{"meet.v1"};

// (path): says that a quarter is done, until there is a file of that name.
inline constexpr haul::Function<void(std::string)> kHalt{"halt.v1"};

// Calls sleep.v1, as a task of its own, with this argument, and waits for it.
inline constexpr haul::Function<void(std::uint64_t)> kCallSleep{"call_sleep.v1"};

// Says that it gives a u64, and gives three bytes.
struct ThreeBytes {};
inline constexpr haul::Function<ThreeBytes()> kGarbage{"garbage.v1"};

}  // namespace hostile

template <>
struct haul::Codec<hostile::ThreeBytes> {
  static std::string Name() { return "u64"; }
  static void Encode(const hostile::ThreeBytes&, Writer& writer) { writer.Append("abc", 3); }
};
