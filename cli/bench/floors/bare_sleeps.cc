// The floor of functions that wait: threads that sleep.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "cli/bench/floors/floors.h"

namespace haul::cli {

client::Result<double> BareSleeps(std::uint64_t count, std::chrono::milliseconds each,
                                  int threads) {
  std::atomic<std::uint64_t> next = 0;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> sleepers;
  for (int i = 0; i < threads; ++i) {
    sleepers.emplace_back([&] {
      while (next.fetch_add(1) < count) std::this_thread::sleep_for(each);
    });
  }
  for (std::thread& sleeper : sleepers) sleeper.join();
  return static_cast<double>(count) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace haul::cli
