// Hundreds of workers that lose their coordinator at once, and all come back at once.
#include <spdlog/spdlog.h>

#include <iostream>
#include <string>

#include "common/time.h"
#include "tests/chaos/chaos_test.h"
#include "tests/chaos/light_workers.h"

namespace haul::chaos {
namespace {

using StormTest = ChaosTest;

TEST_F(StormTest, ThreeHundredWorkersComeBackAtOnceAndNobodyIsExpired) {
  constexpr int kWorkers = 300;
  constexpr std::uint64_t kTasks = 600;
  Cluster& cluster = StartCluster();
  std::string token = ReadFile(cluster.data_dir() + "/token");
  while (!token.empty() && token.back() == '\n') token.pop_back();
  spdlog::set_level(spdlog::level::err);  // 300 workers say much about a coordinator that is away
  LightWorkers workers(cluster.address(), token, kWorkers);
  Await("all have joined", [&] { return workers.totals().welcome == kWorkers; });
  const std::uint64_t job =
      cluster.Submit({"--array", "0-" + std::to_string(kTasks - 1), "--", "true"});
  Await("each has a task", [&] { return workers.totals().held_tasks >= kWorkers; });

  // A client that has not connected anew yet fails at once.
  const auto info = [&] {
    client::Result<client::CoordinatorInfo> said = cluster.client().Info();
    if (!said.ok()) Await("it answers", [&] { return (said = cluster.client().Info()).ok(); });
    return *said;
  };
  const int kills = LongTests() ? 20 : 2;
  for (int i = 1; i <= kills; ++i) {
    cluster.EndCoordinator(SIGKILL);
    Await("all have lost it", [&] { return workers.totals().welcome == 0; });
    cluster.StartCoordinator();
    const std::int64_t serving_us = ReadClocks().monotonic_us;
    const auto epoch = info().epoch;
    Await("all are back", [&] {
      const LightWorkers::Totals totals = workers.totals();
      return totals.welcome == kWorkers && totals.epoch == epoch;
    });
    std::cout << "[   FIGURE ] coordinator serves until the last of " << kWorkers
              << " workers was back: " << (workers.totals().last_welcome_us - serving_us) / 1000
              << " ms" << std::endl;
    Await("it waits for nobody any more", [&] { return !info().adopting; });
  }
  const LightWorkers::Totals totals = workers.totals();
  EXPECT_EQ(totals.renamed, 0u) << "workers were expired and joined anew";
  EXPECT_EQ(totals.dropped, 0u) << "workers lost what they ran";
  EXPECT_EQ(totals.refused, 0u);
  EXPECT_EQ(info().workers_connected, static_cast<std::uint64_t>(kWorkers));

  workers.LetTasksEnd();
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, kTasks);
  const auto starts = workers.Starts();
  EXPECT_EQ(starts.size(), kTasks);
  for (const auto& [task, count] : starts) {
    EXPECT_EQ(count, 1) << "task " << task.second << " was given out again";
  }
}

}  // namespace
}  // namespace haul::chaos
