// What has not started when the pool is terminated never starts.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor pool(client, article::PoolOf(2));
    std::vector<haul::Future<article::Run>> futures;
    for (int i = 0; i < 8; ++i) {
      futures.push_back(pool.Submit(article::kFunc, i, article::SleepMs(argc, argv)));
    }
    haul::Wait(futures, haul::kFirstCompleted);
    pool.Terminate();
    pool.Join();
    int ended = 0, cancelled = 0;
    for (const auto& future : futures) ++(future.failed() ? cancelled : ended);
    std::printf("%d ended, %d were cancelled\n", ended, cancelled);
  });
}
