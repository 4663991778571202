// Two tasks, each in a process of its own: the article's 2.39 s, ideally 2.00 s.
#include "article.h"

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    haul::Executor executor(client, {.isolation = haul::Isolation::kProcess});
    const auto first = executor.Submit(article::kFunc, 0, article::SleepMs(argc, argv));
    const auto second = executor.Submit(article::kFunc, 1, article::SleepMs(argc, argv));
    article::Print({first.Get(), second.Get()});
  });
}
