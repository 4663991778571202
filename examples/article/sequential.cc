// One after the other: the article's 4.00 s.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor executor(client);
    std::vector<article::Run> runs;
    for (int i = 0; i < 2; ++i) {
      runs.push_back(executor.Submit(article::kFunc, i, article::SleepMs(argc, argv)).Get());
    }
    article::Print(runs);
  });
}
