// A worker, its guardian or an executor is killed: what ran there runs elsewhere at once, and
// nothing of it is left. The lease is long, so that nothing here can be its work.
#include <string>
#include <vector>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::SizeIs;

class WorkerChaosTest : public ChaosTest {
 protected:
  // A task whose first start runs the stubborn command, and whose second one succeeds at once.
  // It runs on worker a, alone; worker b joins later.
  void RunStubbornTask(Cluster& cluster) {
    const std::string stubborn = Join(StubbornCommand(Pids(cluster)));
    cluster.StartWorker({.name = "a"});
    job_ = cluster.Submit({"--", "sh", "-c",
                           RecordStart(Ran(cluster)) + "; if mkdir '" + cluster.File("first") +
                               "' 2>/dev/null; then exec " + stubborn + "; fi; echo done"});
    Await("the stubborn processes run",
          [&] { return ReadNumbers(Pids(cluster)).size() == kStubbornProcesses; });
    cluster.StartWorker({.name = "b"});
  }

  // Kills `victim`, sees the task started again and everything of its first start gone.
  void KillAndSeeItRunAgain(Cluster& cluster, const std::string& what, pid_t victim) {
    const std::vector<pid_t> pids = ReadNumbers(Pids(cluster));
    const auto killed = std::chrono::steady_clock::now();
    ASSERT_TRUE(cluster.Signal(victim, SIGKILL));
    const auto again =
        Await("the task starts again", [&] { return ReadStarts(Ran(cluster)).size() >= 2; });
    Tell(what + " killed until its task started elsewhere", again);
    for (const pid_t pid : pids) {
      Await("process " + std::to_string(pid) + " is gone", [pid] { return !IsRunning(pid); });
    }
    Tell(what + " killed until its processes were gone",
         std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               killed));
  }

  // Not charged, from one start, a later one.
  void ExpectOneOutcomeOfTheSecondStart(Cluster& cluster) {
    EXPECT_EQ(cluster.AwaitJob(job_).succeeded, 1u);
    const std::vector<TaskStart> starts = ReadStarts(Ran(cluster));
    ASSERT_THAT(starts, SizeIs(2));
    EXPECT_GT(starts[1].fencing_token, starts[0].fencing_token);
    EXPECT_EQ(starts[1].attempt, 1u);
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job_);
    ASSERT_THAT(outcomes, SizeIs(1));
    EXPECT_EQ(outcomes[0].fencing_token, starts[1].fencing_token);
    EXPECT_EQ(outcomes[0].results[0], "done\n");
  }

  static std::string Ran(const Cluster& cluster) { return cluster.File("ran"); }
  static std::string Pids(const Cluster& cluster) { return cluster.File("pids"); }

  std::uint64_t job_ = 0;
};

TEST_F(WorkerChaosTest, KilledWorkerProperIsReportedByItsGuardian) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  RunStubbornTask(cluster);
  KillAndSeeItRunAgain(cluster, "worker proper", cluster.WorkerPid("a"));
  ExpectOneOutcomeOfTheSecondStart(cluster);
  EXPECT_EQ(cluster.Guardian("a").Wait(), (128 + SIGKILL) << 8) << "what the guardian ends with";
}

TEST_F(WorkerChaosTest, KilledGuardianIsNoticedByItsWorkerWhichEndsItsTasksAndLeaves) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  RunStubbornTask(cluster);
  const pid_t worker = cluster.WorkerPid("a");
  KillAndSeeItRunAgain(cluster, "guardian", cluster.Guardian("a").pid());
  ExpectOneOutcomeOfTheSecondStart(cluster);
  Await("the worker proper leaves", [worker] { return !IsRunning(worker); });
}

TEST_F(WorkerChaosTest, KilledExecutorIsReplacedAndItsTasksRunAgain) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker(
      {.name = "a", .threads = 2, .functions = {FunctionLibrary("chaos_functions")}});
  const std::string ran = Ran(cluster);
  const std::string stubborn = Join(StubbornCommand(Pids(cluster)));
  // The first starts leave children of the executor behind and go on until they are killed.
  job_ = cluster.Submit(
      {"call", "record_start_with_child.v1", ":::", ran + "," + stubborn, ran + "," + stubborn});
  Await("both tasks run", [&] {
    return ReadStarts(ran).size() == 2 &&
           ReadNumbers(Pids(cluster)).size() == 2 * kStubbornProcesses;
  });
  const std::vector<pid_t> executors = cluster.ExecutorPids("a");
  ASSERT_THAT(executors, SizeIs(1));
  const std::vector<pid_t> pids = ReadNumbers(Pids(cluster));
  ASSERT_TRUE(cluster.Signal(executors[0], SIGKILL));
  Tell("executor killed until a task of it started again",
       Await("a task starts again", [&] { return ReadStarts(ran).size() >= 3; }));
  EXPECT_EQ(cluster.AwaitJob(job_).succeeded, 2u);
  EXPECT_THAT(ReadStarts(ran), SizeIs(4));
  for (const pid_t pid : pids) {
    Await("process " + std::to_string(pid) + " is gone", [pid] { return !IsRunning(pid); });
  }
  EXPECT_EQ(cluster.WorkerState("a"), client::WorkerState::kConnected);
}

TEST_F(WorkerChaosTest, GuardianAndWorkerKilledAtOnceAreFoundByTheLease) {
  Cluster& cluster = StartCluster({.lease = "1500ms"});
  cluster.StartWorker({.name = "a"});
  const std::string ran = Ran(cluster);
  job_ = cluster.Submit({"--", "sh", "-c",
                         RecordStart(ran) + "; if mkdir '" + cluster.File("first") +
                             "' 2>/dev/null; then exec sleep 1000; fi; echo done"});
  Await("the task runs", [&] { return ReadStarts(ran).size() == 1; });
  const pid_t task = ReadStarts(ran)[0].pid;
  cluster.StartWorker({.name = "b"});
  // Neither shall see the other die.
  const pid_t worker = cluster.WorkerPid("a");
  const pid_t guardian = cluster.Guardian("a").pid();
  cluster.Freeze({guardian, worker});
  ASSERT_TRUE(cluster.Signal(worker, SIGKILL));
  ASSERT_TRUE(cluster.Signal(guardian, SIGKILL));
  Tell("guardian and worker killed until their task started elsewhere (lease 1500 ms)",
       Await("the task starts again", [&] { return ReadStarts(ran).size() >= 2; }));
  ExpectOneOutcomeOfTheSecondStart(cluster);
  Await("the task's process is gone", [task] { return !IsRunning(task); });
}

TEST_F(WorkerChaosTest, WhatStartsAtMostOnceIsLostWithItsWorker) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker({.name = "a", .threads = 2});
  const std::string ran = Ran(cluster);
  job_ = cluster.Submit({"--at-most-once", "--array", "0-5", "--", "sh", "-c",
                         RecordStart(ran) + "; test {index} -ge 2 || exec sleep 1000; echo done"});
  Await("two tasks run", [&] { return ReadStarts(ran).size() == 2; });
  ASSERT_TRUE(cluster.Signal(cluster.WorkerPid("a"), SIGKILL));
  cluster.StartWorker({.name = "b"});
  const client::JobStatus ended = cluster.AwaitJob(job_);
  EXPECT_EQ(ended.lost, 2u);
  EXPECT_EQ(ended.succeeded, 4u);
  EXPECT_EQ(ended.state, client::JobState::kFailed);
  EXPECT_THAT(ReadStarts(ran), SizeIs(6));
  EXPECT_THAT(StartedAgain(ReadStarts(ran)), testing::IsEmpty());
}

}  // namespace
}  // namespace haul::chaos
