// Results in the order of the arguments, as they can be had.
#include <ranges>

#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor executor(client, article::PoolOf(5));
    std::vector<std::pair<std::int32_t, std::int64_t>> arguments;
    for (int i = 0; i < 8; ++i) arguments.emplace_back(i, article::SleepMs(argc, argv));
    for (const article::Run& run : executor.Map(article::kFunc, arguments)) {
      std::printf("%d\n", article::NumberOf(run));
    }
  });
}
