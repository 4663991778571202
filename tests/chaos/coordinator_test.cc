// The coordinator dies or stands still; what runs goes on, and nothing that was said is forgotten.
#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using Milliseconds = std::chrono::milliseconds;

class CoordinatorChaosTest : public ChaosTest {
 protected:
  // Kills the coordinator and starts it again; returns when workers a and b are back.
  static void KillAndRestart(Cluster& cluster) {
    const auto killed = std::chrono::steady_clock::now();
    const auto since = [](std::chrono::steady_clock::time_point start) {
      return std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - start);
    };
    cluster.EndCoordinator(SIGKILL);
    const auto started = std::chrono::steady_clock::now();
    cluster.StartCoordinator();
    Tell("coordinator started again until it served", since(started));
    for (const char* name : {"a", "b"}) {
      cluster.AwaitWorkerState(name, client::WorkerState::kConnected);
    }
    Tell("coordinator killed until its workers were back", since(killed));
  }

  static std::vector<std::uint64_t> Ids(Cluster& cluster) {
    std::vector<std::uint64_t> ids;
    for (const char* name : {"a", "b"}) ids.push_back(cluster.client().Worker(name)->id);
    return ids;
  }

  static void ExpectAllStartedOnce(const std::string& ran, std::size_t tasks) {
    EXPECT_THAT(ReadStarts(ran), SizeIs(tasks));
    EXPECT_THAT(StartedAgain(ReadStarts(ran)), IsEmpty());
  }
};

TEST_F(CoordinatorChaosTest, KilledWithRunningCommandsItRunsNoneAgain) {
  Cluster& cluster = StartCluster();
  for (const char* name : {"a", "b"}) cluster.StartWorker({.name = name, .threads = 2});
  const auto ids = Ids(cluster);
  const std::string ran = cluster.File("ran");
  const std::uint64_t job = cluster.Submit(
      {"--array", "0-15", "--", "sh", "-c", RecordStart(ran) + "; sleep 0.7; echo {index}"});
  for (const std::size_t at_least : {4u, 9u}) {
    Await("tasks run", [&] { return ReadStarts(ran).size() >= at_least; });
    KillAndRestart(cluster);
  }
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 16u);
  ExpectAllStartedOnce(ran, 16);
  EXPECT_EQ(Ids(cluster), ids) << "a worker joined anew";
  for (const client::Outcome& outcome : cluster.Outcomes(job)) {
    EXPECT_EQ(outcome.results[0], std::to_string(outcome.first) + "\n");
  }
}

TEST_F(CoordinatorChaosTest, KilledWithRunningFunctionsItRunsNoneAgain) {
  Cluster& cluster = StartCluster();
  for (const char* name : {"a", "b"}) {
    cluster.StartWorker(
        {.name = name, .threads = 2, .functions = {FunctionLibrary("chaos_functions")}});
  }
  const std::string ran = cluster.File("ran");
  std::vector<std::string> call = {"call", "record_start.v1", ":::"};
  for (int i = 0; i < 24; ++i) call.push_back(ran + ",300");
  const std::uint64_t job = cluster.Submit(call);
  Await("tasks run", [&] { return ReadStarts(ran).size() >= 4; });
  KillAndRestart(cluster);
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 24u);
  ExpectAllStartedOnce(ran, 24);
  EXPECT_EQ(
      cluster.Haul({"job", "results", std::to_string(job)}).output,
      "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n21\n22\n23\n");
}

TEST_F(CoordinatorChaosTest, KilledAgainAndAgainItLosesNothingThatItAcknowledged) {
  Cluster& cluster = StartCluster();
  for (const char* name : {"a", "b"}) cluster.StartWorker({.name = name});
  const std::string ran = cluster.File("ran");
  constexpr std::uint64_t kTasksOfAJob = 3;
  std::atomic<bool> enough{false};
  std::vector<client::JobId> acknowledged;  // the submitter's until it has been joined
  std::thread submitter([&] {
    const auto client = Client::Connect({.coordinator = cluster.address(),
                                         .token_file = cluster.data_dir() + "/token",
                                         .timeout = kPatience,
                                         .reconnect_timeout = kPatience});
    ASSERT_TRUE(client.ok()) << client.status().message();
    client::JobSpec spec;
    spec.work = client::Command{.arguments = {"sh", "-c", RecordStart(ran) + "; echo $HAUL_JOB_ID"},
                                .directory = "/"};
    spec.array = client::Array{.count = kTasksOfAJob};
    while (!enough) {
      const auto submitted = (*client)->Submit(spec);
      ASSERT_TRUE(submitted.ok()) << submitted.status().message();
      acknowledged.push_back(submitted->job);
    }
  });
  const int kills = LongTests() ? 50 : 4;
  std::minstd_rand random(11);
  for (int i = 0; i < kills; ++i) {
    // When is not what matters, only that it differs.
    std::this_thread::sleep_for(Milliseconds(50 + random() % 400));
    cluster.EndCoordinator(SIGKILL);
    cluster.StartCoordinator();
  }
  enough = true;
  submitter.join();
  ASSERT_FALSE(HasFailure());
  ASSERT_THAT(acknowledged, Not(IsEmpty()));
  std::cout << "[   FIGURE ] jobs acknowledged while the coordinator was killed " << kills
            << " times: " << acknowledged.size() << std::endl;
  EXPECT_EQ(std::set(acknowledged.begin(), acknowledged.end()).size(), acknowledged.size());
  for (const client::JobId job : acknowledged) {
    EXPECT_EQ(cluster.AwaitJob(job.value).succeeded, kTasksOfAJob) << "job " << job.value;
  }
  ExpectAllStartedOnce(ran, acknowledged.size() * kTasksOfAJob);
  EXPECT_EQ(cluster.HaulJson({"job", "list", "--limit", "1000"}).size(), acknowledged.size());
}

TEST_F(CoordinatorChaosTest, KilledWhileFollowedItTellsEachOutcomeOnce) {
  Cluster& cluster = StartCluster();
  for (const char* name : {"a", "b"}) cluster.StartWorker({.name = name});
  const std::uint64_t job = cluster.Submit(
      {"--array", "0-39", "--", "sh", "-c", "sleep 0.05; echo $HAUL_FENCING_TOKEN {index}"});
  std::map<std::uint64_t, std::string> told;
  int kills = 0;
  const client::Status followed =
      cluster.client().Follow(client::JobId{job}, {}, [&](client::FollowUpdate& update) {
        for (const client::Outcome& outcome : update.outcomes) {
          EXPECT_TRUE(told.emplace(outcome.first, outcome.results[0]).second)
              << "task " << outcome.first << " was told twice";
        }
        if (told.size() >= 10u * static_cast<unsigned>(kills + 1) && kills < 2) {
          ++kills;
          cluster.EndCoordinator(SIGKILL);
          cluster.StartCoordinator();
        }
        return true;
      });
  EXPECT_TRUE(followed.ok()) << followed.message();
  EXPECT_THAT(told, SizeIs(40));
  for (const client::Outcome& outcome : cluster.Outcomes(job)) {
    EXPECT_EQ(told[outcome.first], outcome.results[0]) << "it changed after it was told";
  }
}

}  // namespace
}  // namespace haul::chaos
