// Results in the order in which they come: the later ones sleep less.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor executor(client, article::PoolOf(5));
    std::vector<haul::Future<article::Run>> all;
    for (int i = 0; i < 5; ++i) {
      all.push_back(executor.Submit(article::kFunc, i, article::SleepMs(argc, argv) * (5 - i) / 5));
    }
    for (const auto& future : haul::AsCompleted(all)) {
      std::printf("%d\n", article::NumberOf(future.Get()));
    }
  });
}
