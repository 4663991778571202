// libarticle.so: the article's functions, for workers.
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "article_function.h"

namespace article {
namespace {

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Who runs `body`, and when.
template <typename Body>
Run Record(std::int32_t n, Body body) {
  const std::int64_t began_us = NowUs();
  body();
  return {n, static_cast<std::int32_t>(::getpid()),
          static_cast<std::int32_t>(::syscall(SYS_gettid)), began_us, NowUs()};
}

void Sleep(std::int64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

bool IsPrime(std::int64_t n) {
  for (std::int64_t i = 2; i * i <= n; ++i) {
    if (n % i == 0) return false;
  }
  return n > 1;
}

// Volatile, so that no compiler sees where this leads.
char* volatile nowhere = reinterpret_cast<char*>(16);

HAUL_SERVE(kFunc, [](haul::Context&, std::int32_t n, std::int64_t milliseconds) {
  return Record(n, [milliseconds] { Sleep(milliseconds); });
});

HAUL_SERVE(kCompute, [](haul::Context&, std::int32_t n, std::int64_t below) {
  return Record(n, [below] {
    volatile std::int64_t primes = 0;
    for (std::int64_t i = 0; i < below; ++i) primes = primes + (IsPrime(i) ? 1 : 0);
  });
});

HAUL_SERVE(kCrash, [](haul::Context&, std::int32_t n, std::int64_t milliseconds) {
  return Record(n, [milliseconds] {
    Sleep(milliseconds);
    *nowhere = 1;
  });
});

}  // namespace
}  // namespace article
