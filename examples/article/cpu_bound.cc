// Work for the processor, on threads and in processes: both take all cores and no more, since a
// task asks for a whole one. (In the article threads are no help here: its language runs one at a
// time.)
#include "article.h"

namespace {

void RunAll(haul::Client& client, const char* where, haul::Isolation isolation,
            std::int64_t below) {
  const article::Stopwatch watch;
  haul::Executor executor(client, {.isolation = isolation});
  std::vector<haul::Future<article::Run>> futures;
  for (int i = 0; i < 8; ++i) futures.push_back(executor.Submit(article::kCompute, i, below));
  std::vector<article::Run> runs;
  for (const auto& future : futures) runs.push_back(future.Get());
  article::Print(runs);
  std::printf("%s: %.3f\n", where, watch.seconds());
}

}  // namespace

// Primes below the first argument, by default 1,000,000.
int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    const std::int64_t below = argc > 1 ? std::strtoll(argv[1], nullptr, 10) : 1'000'000;
    RunAll(client, "on threads", haul::Isolation::kThread, below);
    RunAll(client, "in processes", haul::Isolation::kProcess, below);
  });
}
