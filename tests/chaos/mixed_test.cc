// Faults of all kinds, one after the other and with no pause to recover, while a client submits: at
// the end everything that was acknowledged has ended well, once, from one assignment.
#include <array>
#include <atomic>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/chaos/chaos_test.h"
#include "tests/chaos/faulty_proxy.h"

namespace haul::chaos {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Milliseconds = std::chrono::milliseconds;

constexpr std::uint64_t kTasksOfAJob = 4;

class MixedFaultsTest : public ChaosTest {
 protected:
  void TearDown() override {
    ChaosTest::TearDown();
    proxies_.clear();
  }

  void StartBehindProxy(Cluster& cluster, const std::string& worker) {
    auto& proxy = proxies_[worker];
    if (proxy == nullptr) proxy = std::make_unique<FaultyProxy>(cluster.address());
    cluster.LaunchWorker({.name = worker, .threads = 2, .coordinator = proxy->address()});
  }

  // One of the kinds; what it did, for people. `worker` is whole again, or on its way, afterwards.
  std::string Hurt(Cluster& cluster, std::size_t kind, const std::string& worker) {
    FaultyProxy& proxy = *proxies_.at(worker);
    const auto stand_still = [this] {
      std::this_thread::sleep_for(Milliseconds(200 + random_() % 2000));
    };
    switch (kind) {
      case 0:
        cluster.EndCoordinator(SIGKILL);
        cluster.StartCoordinator();
        return "coordinator killed";
      case 1:
        cluster.Freeze({cluster.coordinator_pid()});
        stand_still();
        cluster.Signal(cluster.coordinator_pid(), SIGCONT);
        return "coordinator frozen";
      case 2:
        KillWorkerProper(cluster, worker);
        return "worker proper of " + worker + " killed";
      case 3:
        cluster.Guardian(worker).Signal(SIGKILL);
        StartBehindProxy(cluster, worker);
        return "guardian of " + worker + " killed";
      case 4: {
        const std::vector<pid_t> pids = cluster.AllPids(worker);
        cluster.Freeze(pids);
        stand_still();
        for (const pid_t pid : pids) cluster.Signal(pid, SIGCONT);
        return worker + " frozen";
      }
      case 5:
        proxy.ResetConnections();
        return worker + " reset";
      case 6:
        proxy.ForgetConnections();
        return worker + " half-open";
      case 7:
        proxy.SetFlow(FaultyProxy::Flow::kHold);
        stand_still();
        proxy.SetFlow(FaultyProxy::Flow::kPass);
        return worker + " stalled";
    }
    throw Failure("no fault is called " + std::to_string(kind));
  }

  // One that has just been launched may have no child yet.
  void KillWorkerProper(Cluster& cluster, const std::string& worker) {
    for (const ProcessFacts& child : ChildrenOf(cluster.Guardian(worker).pid())) {
      cluster.Signal(child.pid, SIGKILL);
    }
    cluster.Guardian(worker).Wait();  // it has the rest to kill, and a death to report
    StartBehindProxy(cluster, worker);
  }

  // Every outcome stands once, and says the token of its own assignment, which was started.
  static void ExpectOneOutcomeOfEachTask(Cluster& cluster, std::uint64_t job,
                                         const std::vector<TaskStart>& starts) {
    EXPECT_EQ(cluster.AwaitJob(job).succeeded, kTasksOfAJob) << "job " << job;
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job);
    ASSERT_THAT(outcomes, SizeIs(kTasksOfAJob)) << "job " << job;
    for (const client::Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.results[0], std::to_string(outcome.fencing_token) + "\n");
      std::set<std::uint64_t> tokens;
      for (const TaskStart& start : starts) {
        if (start.job != job || start.task != outcome.first) continue;
        EXPECT_TRUE(tokens.insert(start.fencing_token).second)
            << "job " << job << " task " << start.task << " was started twice by one token";
      }
      EXPECT_THAT(tokens, Contains(outcome.fencing_token));
    }
  }

  static constexpr std::size_t kKinds = 8;
  std::minstd_rand random_{5};
  std::map<std::string, std::unique_ptr<FaultyProxy>> proxies_;
};

TEST_F(MixedFaultsTest, NothingIsLostAndNothingIsRecordedTwice) {
  Cluster& cluster = StartCluster({.lease = "2s"});
  const std::array<std::string, 3> workers = {"a", "b", "c"};
  for (const std::string& worker : workers) StartBehindProxy(cluster, worker);
  const std::string ran = cluster.File("ran");
  std::atomic<bool> enough{false};
  std::vector<std::uint64_t> acknowledged;  // the submitter's until it has been joined
  std::thread submitter([&] {
    const auto client = Client::Connect({.coordinator = cluster.address(),
                                         .token_file = cluster.data_dir() + "/token",
                                         .timeout = kPatience,
                                         .reconnect_timeout = kPatience});
    ASSERT_TRUE(client.ok()) << client.status().message();
    client::JobSpec spec;
    spec.work = client::Command{
        .arguments = {"sh", "-c", RecordStart(ran) + "; sleep 0.2; echo $HAUL_FENCING_TOKEN"},
        .directory = "/"};
    spec.array = client::Array{.count = kTasksOfAJob};
    while (!enough) {
      const auto submitted = (*client)->Submit(spec);
      ASSERT_TRUE(submitted.ok()) << submitted.status().message();
      acknowledged.push_back(submitted->job.value);
      std::this_thread::sleep_for(Milliseconds(150));
    }
  });
  const std::size_t faults = LongTests() ? 1000 : kKinds;
  for (std::size_t i = 0; i < faults; ++i) {
    // The first ones in turn, so that each kind comes.
    const std::size_t kind = i < kKinds ? i : random_() % kKinds;
    std::cout << "[    FAULT ] " << Hurt(cluster, kind, workers[random_() % workers.size()])
              << std::endl;
    std::this_thread::sleep_for(Milliseconds(random_() % 300));
  }
  enough = true;
  submitter.join();
  ASSERT_FALSE(HasFailure());
  ASSERT_THAT(acknowledged, Not(IsEmpty()));
  for (const std::uint64_t job : acknowledged) cluster.AwaitJob(job);
  const std::vector<TaskStart> starts = ReadStarts(ran);
  for (const std::uint64_t job : acknowledged) ExpectOneOutcomeOfEachTask(cluster, job, starts);
  std::cout << "[   FIGURE ] " << faults << " faults, " << acknowledged.size() * kTasksOfAJob
            << " tasks, " << starts.size() << " starts" << std::endl;
}

}  // namespace
}  // namespace haul::chaos
