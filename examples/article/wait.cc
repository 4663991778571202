// Waits for the first, then no longer than a timeout, then for all.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    const std::int64_t sleep_ms = article::SleepMs(argc, argv);
    haul::Executor executor(client, article::PoolOf(5));
    std::vector<haul::Future<article::Run>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(executor.Submit(article::kFunc, i, sleep_ms * (1 + 2 * i)));
    }
    const auto tell = [](const char* until, const haul::Waited<article::Run>& waited) {
      std::printf("%s: %zu done, %zu pending\n", until, waited.done.size(), waited.pending.size());
    };
    tell("first completed", haul::Wait(all, haul::kFirstCompleted));
    tell("after a timeout",
         haul::Wait(all, haul::kAllCompleted, std::chrono::milliseconds(sleep_ms / 2)));
    tell("all completed", haul::Wait(all));
  });
}
