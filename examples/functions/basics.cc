// The functions that show what a task may do: nothing, wait, answer, fail, crash.
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>

#include "examples.h"

namespace examples {
namespace {

HAUL_SERVE(kNoop, [](haul::Context&) {});

HAUL_SERVE(kAdd, [](haul::Context&, std::uint64_t a, std::uint64_t b) { return a + b; });

HAUL_SERVE(kSleep, [](haul::Context& context, std::uint64_t milliseconds) {
  constexpr std::uint64_t kLongest = 1'000'000'000;
  if (milliseconds > kLongest) throw std::invalid_argument("more than 10^9 milliseconds");
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, context.stop_token(),
                 std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)),
                 [] { return false; });
  if (context.stop_requested()) throw std::runtime_error("stopped while it slept");
});

HAUL_SERVE(kEcho, [](haul::Context&, std::string text) { return text; });

HAUL_SERVE(kFail,
           [](haul::Context&, const std::string& message) { throw std::runtime_error(message); });

// Volatile, so that no compiler sees where this leads.
char* volatile nowhere = reinterpret_cast<char*>(16);
volatile bool for_ever = true;

[[gnu::noinline]] int Descend(volatile char* above) {
  volatile char frame[4096];
  frame[0] = *above;
  return for_ever ? Descend(frame) + frame[0] : 0;
}

HAUL_SERVE(kCrash, [](haul::Context&, const std::string& how) {
  if (how == "segv") {
    *nowhere = 1;
  } else if (how == "stack") {
    char top = 0;
    Descend(&top);
  } else if (how == "abort") {
    std::abort();
  } else if (how == "exit") {
    std::exit(3);
  } else if (how == "throw") {
    throw std::runtime_error("thrown as asked");
  } else if (how == "throw_int") {
    throw 42;
  } else if (how == "spin") {
    while (for_ever) {
    }
  } else {
    throw std::invalid_argument("no way to crash is called \"" + how + "\"");
  }
});

}  // namespace
}  // namespace examples
