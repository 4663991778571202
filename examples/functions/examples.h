// The example functions, as both sides see them: the library libexamples.so that serves them, and
// whoever calls.
#pragma once

#include <cstdint>
#include <string>

#include "haul/function.h"

namespace examples {

// Does nothing: what is left is the cost of a task.
inline constexpr haul::Function<void()> kNoop{"noop.v1"};

// The sum of two numbers, which wraps around beyond 2^64.
inline constexpr haul::Function<std::uint64_t(std::uint64_t, std::uint64_t)> kAdd{"add.v1"};

// Sleeps so many milliseconds. Fails as soon as it is asked to stop.
inline constexpr haul::Function<void(std::uint64_t)> kSleep{"sleep.v1"};

// The number of primes in [low, high), at most 10^14.
inline constexpr haul::Function<std::uint64_t(std::uint64_t, std::uint64_t)> kCountPrimes{
    "count_primes.v1"};

// A tile of the Mandelbrot set, as the bytes of a binary PGM file: (left, top, step, width, height,
// iterations) with left + i * step and top - j * step as the pixel's point, and at most 4096 by
// 4096 pixels. Darker points escape later; those of the set are black.
inline constexpr haul::Function<std::string(double, double, double, std::uint32_t, std::uint32_t,
                                            std::uint32_t)>
    kMandelbrot{"mandelbrot.v1"};

// The SHA-256 of a file's bytes, in hexadecimal digits, by the file's path on the worker.
inline constexpr haul::Function<std::string(std::string)> kSha256{"sha256.v1"};

// Gives its argument back.
inline constexpr haul::Function<std::string(std::string)> kEcho{"echo.v1"};

// Fails with this message.
inline constexpr haul::Function<void(std::string)> kFail{"fail.v1"};

// Misbehaves: "segv", "stack" (overflows it), "abort", "exit" (with code 3), "throw", "throw_int",
// or "spin" (for ever, without listening).
inline constexpr haul::Function<void(std::string)> kCrash{"crash.v1"};

// (depth, fan_out): how many tasks a tree of such a depth has, each a task of its own that waits
// for its children.
inline constexpr haul::Function<std::uint64_t(std::uint32_t, std::uint32_t)> kCountTree{
    "count_tree.v1"};

// Calls the function of this name, which takes a string, with the second one, and says how that
// ended.
inline constexpr haul::Function<std::string(std::string, std::string)> kRelay{"relay.v1"};

}  // namespace examples
