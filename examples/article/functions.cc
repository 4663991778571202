// libarticle.so: the article's func, for workers.
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "article_function.h"

HAUL_SERVE(article::kFunc, [](haul::Context&, std::int32_t n, std::int64_t milliseconds) {
  const auto now_us = [] {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  const std::int64_t began_us = now_us();
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return article::Run{n, static_cast<std::int32_t>(::getpid()),
                      static_cast<std::int32_t>(::syscall(SYS_gettid)), began_us, now_us()};
});
