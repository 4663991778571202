// Processes that stand still and wake: a worker past its lease, and the coordinator.
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using FrozenTest = ChaosTest;

// A task that writes its start, waits for the file `go`, and prints its token.
std::string WaitFor(const std::string& ran, const std::string& go) {
  return RecordStart(ran) + "; until [ -e '" + go +
         "' ]; do sleep 0.1; done; echo $HAUL_FENCING_TOKEN";
}

TEST_F(FrozenTest, WorkerThatWakesAfterItsLeaseChangesNothingAndEndsWhatItLost) {
  Cluster& cluster = StartCluster({.lease = "1500ms"});
  cluster.StartWorker(
      {.name = "a", .threads = 3, .functions = {FunctionLibrary("chaos_functions")}});
  const std::string ran = cluster.File("ran");
  const std::string go = cluster.File("go");
  const std::string called = cluster.File("called");
  // One that ends as soon as both it and the other start may, one that would go on, and a function.
  const std::uint64_t late = cluster.Submit({"--", "sh", "-c", WaitFor(ran, go)});
  const std::uint64_t endless =
      cluster.Submit({"--", "sh", "-c",
                      RecordStart(ran) + "; if mkdir '" + cluster.File("first") +
                          "' 2>/dev/null; then exec sleep 1000; fi; echo $HAUL_FENCING_TOKEN"});
  const std::uint64_t function =
      cluster.Submit({"call", "record_start.v1", ":::", called + ",4000"});
  Await("all three run",
        [&] { return ReadStarts(ran).size() == 2 && ReadStarts(called).size() == 1; });
  const std::vector<TaskStart> lost = ReadStarts(ran);
  const std::uint64_t old_id = cluster.client().Worker("a")->id;
  cluster.StartWorker(
      {.name = "b", .threads = 3, .functions = {FunctionLibrary("chaos_functions")}});
  cluster.Freeze(cluster.AllPids("a"));
  Tell("worker frozen until its tasks started elsewhere (lease 1500 ms)",
       Await("the tasks start again",
             [&] { return ReadStarts(ran).size() >= 4 && ReadStarts(called).size() >= 2; }));
  std::ofstream(go) << "go";
  for (const std::uint64_t job : {late, endless, function}) {
    EXPECT_EQ(cluster.AwaitJob(job).succeeded, 1u) << "job " << job;
  }
  const auto before = cluster.HaulJson({"job", "tasks", std::to_string(late)});
  const std::size_t starts = ReadStarts(ran).size();

  for (const pid_t pid : cluster.AllPids("a")) cluster.Signal(pid, SIGCONT);
  // It comes back as a new member, and what it ran for nobody is gone.
  Await("worker a is back", [&] {
    const auto worker = cluster.client().Worker("a");
    return worker.ok() && worker->state == client::WorkerState::kConnected && worker->id != old_id;
  });
  for (const TaskStart& start : lost) {
    Await("process " + std::to_string(start.pid) + " is gone",
          [&] { return !IsRunning(start.pid); });
  }
  EXPECT_THAT(ReadFile(cluster.File("worker-a.log")), HasSubstr("are not this worker's any more"));
  EXPECT_EQ(cluster.HaulJson({"job", "tasks", std::to_string(late)}), before);
  for (const std::uint64_t job : {late, endless}) {
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job);
    ASSERT_THAT(outcomes, SizeIs(1));
    EXPECT_EQ(outcomes[0].worker_name, "b");
    EXPECT_EQ(outcomes[0].results[0], std::to_string(outcomes[0].fencing_token) + "\n");
  }
  EXPECT_EQ(ReadStarts(ran).size(), starts) << "something was started for a job that had ended";
}

TEST_F(FrozenTest, CoordinatorThatStoodStillExpiresNobody) {
  Cluster& cluster = StartCluster({.lease = "4s"});
  for (const char* name : {"a", "b"}) cluster.StartWorker({.name = name});
  const std::string ran = cluster.File("ran");
  const std::string go = cluster.File("go");
  const std::uint64_t job = cluster.Submit({"--array", "0-1", "--", "sh", "-c", WaitFor(ran, go)});
  Await("both tasks run", [&] { return ReadStarts(ran).size() == 2; });
  const auto ids = [&cluster] {
    return std::pair(cluster.client().Worker("a")->id, cluster.client().Worker("b")->id);
  };
  const auto before = ids();

  cluster.Freeze({cluster.coordinator_pid()});
  // Longer than the lease: this time is the fault itself.
  std::this_thread::sleep_for(std::chrono::milliseconds(5500));
  const std::int64_t woken_us = UnixMicroseconds();
  cluster.Signal(cluster.coordinator_pid(), SIGCONT);

  for (const char* name : {"a", "b"}) {
    Await(std::string(name) + " is heard again", [&] {
      const auto worker = cluster.client().Worker(name);
      return worker.ok() && worker->state == client::WorkerState::kConnected &&
             worker->last_heard_unix_us > woken_us;
    });
  }
  std::ofstream(go) << "go";
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 2u);
  EXPECT_THAT(StartedAgain(ReadStarts(ran)), IsEmpty());
  EXPECT_EQ(ids(), before) << "a worker was expired and joined anew";
}

}  // namespace
}  // namespace haul::chaos
