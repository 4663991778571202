// One of four tasks crashes. On threads it takes the others' process with it: they run again, in
// another one. In a process of its own it is that task's failure and nothing else.
#include "article.h"

namespace {

void RunFour(haul::Client& client, haul::Isolation isolation, std::int64_t sleep_ms) {
  haul::Executor executor(client, {.isolation = isolation});
  std::vector<haul::Future<article::Run>> futures;
  for (int i = 0; i < 4; ++i) {
    futures.push_back(executor.Submit(i == 2 ? article::kCrash : article::kFunc, i, sleep_ms));
  }
  for (int i = 0; i < 4; ++i) {
    try {
      const article::Run run = futures[static_cast<std::size_t>(i)].Get();
      std::printf("task %d ends in process %d\n", i, std::get<1>(run));
    } catch (const haul::CrashError& crash) {
      std::printf("task %d crashes: signal %d\n", i, crash.code());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return article::Main([&](haul::Client& client) {
    std::printf("on threads\n");
    RunFour(client, haul::Isolation::kThread, article::SleepMs(argc, argv));
    std::printf("in processes\n");
    RunFour(client, haul::Isolation::kProcess, article::SleepMs(argc, argv));
  });
}
