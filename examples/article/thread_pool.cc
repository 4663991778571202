// 8 tasks on a pool of 5, waited for with Wait: the article's 4.00 s.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor executor(client, article::PoolOf(5));
    std::vector<haul::Future<article::Run>> all;
    for (int i = 0; i < 8; ++i) {
      all.push_back(executor.Submit(article::kFunc, i, article::SleepMs(argc, argv)));
    }
    std::vector<article::Run> runs;
    for (const auto& future : haul::Wait(all, haul::kAllCompleted).done) {
      runs.push_back(future.Get());
    }
    article::Print(runs);
  });
}
