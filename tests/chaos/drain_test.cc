// Workers and coordinators that are asked to end: what runs is finished, or handed back uncharged,
// nothing is lost, and no process is left.
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DrainChaosTest : public ChaosTest {
 protected:
  static std::string Ran(const Cluster& cluster) { return cluster.File("ran"); }
  static std::string Go(const Cluster& cluster) { return cluster.File("go"); }

  // Tasks that go on until Let(); on one thread of worker a the first runs, the rest waits.
  std::uint64_t SubmitHeld(Cluster& cluster, std::uint64_t count) {
    const std::uint64_t job =
        cluster.Submit({"--array", "0-" + std::to_string(count - 1), "--", "sh", "-c",
                        RecordStart(Ran(cluster)) + "; until [ -e '" + Go(cluster) +
                            "' ]; do sleep 0.02; done; echo done"});
    Await("a task runs", [&] { return !ReadStarts(Ran(cluster)).empty(); });
    return job;
  }
  static void Let(const Cluster& cluster) { std::ofstream(Go(cluster)) << "go\n"; }

  // A task whose first start does not end by itself, nor by SIGTERM; the second one does.
  std::uint64_t SubmitStubborn(Cluster& cluster) {
    const std::uint64_t job =
        cluster.Submit({"--", "sh", "-c",
                        RecordStart(Ran(cluster)) + "; if mkdir '" + cluster.File("first") +
                            "' 2>/dev/null; then exec " +
                            Join(StubbornCommand(cluster.File("pids"))) + "; fi; echo done"});
    Await("the stubborn processes run",
          [&] { return ReadNumbers(cluster.File("pids")).size() == kStubbornProcesses; });
    return job;
  }

  void ExpectLeft(Cluster& cluster, const std::string& worker) {
    EXPECT_EQ(cluster.Guardian(worker).Wait(), 0) << "a clean end";
    Await("it is gone", [&] { return !cluster.WorkerState(worker).has_value(); });
  }

  // Of two tasks the one that ran finished on a, and the other went to b.
  void ExpectFinishedWhatRan(Cluster& cluster, std::uint64_t job) {
    cluster.StartWorker({.name = "b"});
    Await("the second task runs elsewhere", [&] { return ReadStarts(Ran(cluster)).size() == 2; });
    EXPECT_EQ(cluster.WorkerState("a"), client::WorkerState::kDraining);
    Let(cluster);
    EXPECT_EQ(cluster.AwaitJob(job).succeeded, 2u);
    ExpectLeft(cluster, "a");
    EXPECT_THAT(StartedAgain(ReadStarts(Ran(cluster))), IsEmpty());
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job);
    ASSERT_THAT(outcomes, SizeIs(2));
    EXPECT_EQ(outcomes[0].worker_name, "a");
    EXPECT_EQ(outcomes[1].worker_name, "b");
  }

  // What ran on a when its time was up ran again on b, as if for the first time.
  void ExpectRevoked(Cluster& cluster, std::uint64_t job) {
    cluster.StartWorker({.name = "b"});
    EXPECT_EQ(cluster.AwaitJob(job).succeeded, 1u);
    ExpectLeft(cluster, "a");
    for (const pid_t pid : ReadNumbers(cluster.File("pids"))) {
      Await("process " + std::to_string(pid) + " is gone", [pid] { return !IsRunning(pid); });
    }
    const std::vector<TaskStart> starts = ReadStarts(Ran(cluster));
    ASSERT_THAT(starts, SizeIs(2));
    EXPECT_EQ(starts[1].attempt, 1u);
    EXPECT_GT(starts[1].fencing_token, starts[0].fencing_token);
    EXPECT_EQ(cluster.AwaitJob(job).retried, 0u);
    EXPECT_EQ(cluster.Outcomes(job).at(0).worker_name, "b");
  }
};

TEST_F(DrainChaosTest, DrainFinishesWhatRunsTakesNothingNewAndLeaves) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a"});
  const std::uint64_t job = SubmitHeld(cluster, 2);
  EXPECT_EQ(cluster.HaulJson({"worker", "drain", "a"}).at(0).at("state").get<std::string>(),
            "draining");
  ExpectFinishedWhatRan(cluster, job);
}

TEST_F(DrainChaosTest, SigtermDoesTheSame) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a"});
  const std::uint64_t job = SubmitHeld(cluster, 2);
  cluster.Guardian("a").Signal(SIGTERM);
  cluster.AwaitWorkerState("a", client::WorkerState::kDraining);
  ExpectFinishedWhatRan(cluster, job);
}

TEST_F(DrainChaosTest, AtTheDeadlineWhatStillRunsGoesElsewhereUncharged) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a"});
  const std::uint64_t job = SubmitStubborn(cluster);
  EXPECT_EQ(cluster.Haul({"worker", "drain", "a", "--deadline", "500ms"}).exit_status, 0);
  ExpectRevoked(cluster, job);
}

TEST_F(DrainChaosTest, SigtermHasADeadlineWhereTheWorkerWasGivenOne) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a", .arguments = {"--drain-deadline", "500ms"}});
  const std::uint64_t job = SubmitStubborn(cluster);
  cluster.Guardian("a").Signal(SIGTERM);
  ExpectRevoked(cluster, job);
}

TEST_F(DrainChaosTest, TheDeadlineHoldsWhileTheCoordinatorIsAway) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a"});
  const std::uint64_t job = SubmitStubborn(cluster);
  cluster.HaulJson({"worker", "drain", "a", "--deadline", "2s"});
  cluster.EndCoordinator(SIGKILL);
  for (const pid_t pid : ReadNumbers(cluster.File("pids"))) {
    Await("process " + std::to_string(pid) + " is gone", [pid] { return !IsRunning(pid); });
  }
  EXPECT_EQ(cluster.Guardian("a").Wait(), 0);
  cluster.StartCoordinator();
  // It left without a word, as far as the coordinator knows; another of its name proves it.
  cluster.StartWorker({.name = "a"});
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 1u);
  EXPECT_THAT(ReadStarts(Ran(cluster)), SizeIs(2));
}

TEST_F(DrainChaosTest, ABadDeadlineIsRefused) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a"});
  for (const char* deadline : {"0", "soon", "5"}) {
    const CommandResult result = cluster.Haul({"worker", "drain", "a", "--deadline", deadline});
    EXPECT_EQ(result.exit_status, 2);
    EXPECT_THAT(result.error, HasSubstr("--deadline"));
  }
  EXPECT_EQ(cluster.WorkerState("a"), client::WorkerState::kConnected);
}

// Both ways to stop a coordinator; the tasks do not notice.
class StopChaosTest : public DrainChaosTest, public testing::WithParamInterface<bool> {};

TEST_P(StopChaosTest, AStoppedCoordinatorLosesNothingAndLeavesNoProcess) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a"});
  const std::uint64_t ended = cluster.Submit({"--array", "0-9", "--", "echo", "{index}"});
  cluster.AwaitJob(ended);
  const std::uint64_t held = SubmitHeld(cluster, 3);
  const std::uint64_t waiting = cluster.Submit({"--array", "0-9", "--", "echo", "{index}"});
  if (GetParam()) {
    EXPECT_EQ(cluster.Haul({"coordinator", "stop"}).exit_status, 0);
    EXPECT_EQ(cluster.EndCoordinator(0), 0) << "it was stopped already";
  } else {
    EXPECT_EQ(cluster.EndCoordinator(SIGTERM), 0);
  }
  Await("only the worker's processes are left", [&] {
    const std::vector<ProcessFacts> left = ProcessesWith(cluster.marker());
    const std::vector<pid_t> of_worker = cluster.AllPids("a");
    return std::all_of(left.begin(), left.end(), [&](const ProcessFacts& process) {
      return std::count(of_worker.begin(), of_worker.end(), process.pid) == 1 ||
             !IsRunning(process.pid);
    });
  });
  cluster.StartCoordinator();
  Let(cluster);
  EXPECT_EQ(cluster.AwaitJob(held).succeeded, 3u);
  EXPECT_EQ(cluster.AwaitJob(waiting).succeeded, 10u);
  EXPECT_EQ(cluster.AwaitJob(ended).succeeded, 10u);
  EXPECT_THAT(StartedAgain(ReadStarts(Ran(cluster))), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ways, StopChaosTest, testing::Bool(), [](const auto& way) {
  return way.param ? std::string("ByCommand") : std::string("BySigterm");
});

}  // namespace
}  // namespace haul::chaos
