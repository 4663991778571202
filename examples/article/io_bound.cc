// Tasks that wait: asking for a whole cpu each they take turns, asking for a fiftieth they wait at
// once. On threads, and in processes.
#include "article.h"

namespace {

void RunAll(haul::Client& client, const char* how, const haul::ExecutorOptions& options,
            std::int64_t sleep_ms) {
  const article::Stopwatch watch;
  haul::Executor executor(client, options);
  std::vector<haul::Future<article::Run>> futures;
  for (int i = 0; i < 24; ++i) futures.push_back(executor.Submit(article::kFunc, i, sleep_ms));
  for (const auto& future : futures) future.Get();
  std::printf("%s: %.3f\n", how, watch.seconds());
}

}  // namespace

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    const std::int64_t sleep_ms = article::SleepMs(argc, argv);
    RunAll(client, "a cpu each, on threads", {}, sleep_ms);
    RunAll(client, "a fiftieth each, on threads", {.cpus_milli = 20}, sleep_ms);
    RunAll(client, "a fiftieth each, in processes",
           {.cpus_milli = 20, .isolation = haul::Isolation::kProcess}, sleep_ms);
  });
}
