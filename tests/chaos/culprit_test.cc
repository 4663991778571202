// A task that takes down its executor or its worker, again and again: it is found by running
// suspects alone and has failed after three times, and its neighbours pay nothing.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint64_t kSuspects = 4;
constexpr std::uint64_t kCulprit = 2;
constexpr std::size_t kMostWorkers = 20;

class CulpritChaosTest : public ChaosTest {
 protected:
  // Whenever the worker is dead another one is started, until the job has ended. How many there
  // were.
  std::size_t WorkUntilItEnds(Cluster& cluster, std::uint64_t job, WorkerOptions options) {
    std::size_t count = 0;
    Await("job " + std::to_string(job) + " ends", [&] {
      const auto status = cluster.client().GetJob(client::JobId{job});
      if (status.ok() && status->ended()) return true;
      if (count == 0 || cluster.Guardian(options.name).Poll()) {
        if (count == kMostWorkers) throw Failure("worker after worker dies");
        options.name = "w" + std::to_string(++count);
        cluster.LaunchWorker(options);
      }
      return false;
    });
    return count;
  }

  void ExpectOnlyTheCulpritFailed(Cluster& cluster, std::uint64_t job, client::FailureCause cause,
                                  const std::string& message) {
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job);
    ASSERT_THAT(outcomes, SizeIs(kSuspects));
    for (const client::Outcome& outcome : outcomes) {
      if (outcome.first == kCulprit) {
        EXPECT_EQ(outcome.state, client::TaskState::kFailed);
        EXPECT_EQ(outcome.cause, cause) << outcome.message;
        EXPECT_THAT(outcome.message, HasSubstr(message));
      } else {
        EXPECT_EQ(outcome.state, client::TaskState::kSucceeded) << outcome.message;
        EXPECT_EQ(outcome.attempt, 1u) << "task " << outcome.first << " was charged";
      }
    }
  }

  // With the others once, unless that proved it already, and three times alone.
  void ExpectStarts(const std::string& ran) {
    const std::vector<TaskStart> starts = ReadStarts(ran);
    for (std::uint64_t task = 0; task < kSuspects; ++task) {
      const auto count = std::count_if(starts.begin(), starts.end(),
                                       [task](const auto& start) { return start.task == task; });
      if (task == kCulprit) {
        EXPECT_GE(count, 3);
        EXPECT_LE(count, 4);
      } else {
        EXPECT_LE(count, 2) << "task " << task;
      }
    }
  }

  static std::vector<std::string> TakeDown(const std::string& ran, const std::string& deed) {
    std::vector<std::string> words = {"call", "take_down.v1", "--detail", ":::"};
    const std::string call = ran + "," + std::to_string(kSuspects) + "," + std::to_string(kCulprit);
    words.insert(words.end(), kSuspects, call + "," + deed);
    return words;
  }
};

TEST_F(CulpritChaosTest, ACommandThatKillsItsWorkerFailsAfterThreeWorkersThatItHadAlone) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  const std::string ran = cluster.File("ran");
  const std::uint64_t job = cluster.Submit(
      {"--array", "0-" + std::to_string(kSuspects - 1), "--", "sh", "-c",
       RecordStart(ran) + "; while [ $(wc -l <'" + ran + "') -lt " + std::to_string(kSuspects) +
           " ]; do sleep 0.01; done; if [ {index} = " + std::to_string(kCulprit) +
           " ]; then kill -9 $PPID; sleep 1000; fi; echo {index}"});
  const std::size_t workers = WorkUntilItEnds(cluster, job, {.threads = kSuspects});
  EXPECT_GE(workers, 4u);
  EXPECT_LE(workers, 5u);
  ExpectOnlyTheCulpritFailed(cluster, job, client::FailureCause::kWorkerLost, "3 times");
  ExpectStarts(ran);
}

TEST_F(CulpritChaosTest, AFunctionThatKillsItsWorkerIsFoundLikewise) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  const std::string ran = cluster.File("ran");
  const WorkerOptions options{.threads = kSuspects,
                              .functions = {FunctionLibrary("limits_functions")}};
  WorkerOptions first = options;
  first.name = "first";
  cluster.StartWorker(first);  // a function must be served when it is submitted
  const std::uint64_t job = cluster.Submit(TakeDown(ran, "worker"));
  Await("the first worker dies", [&] { return cluster.Guardian("first").Poll().has_value(); });
  WorkUntilItEnds(cluster, job, options);
  ExpectOnlyTheCulpritFailed(cluster, job, client::FailureCause::kWorkerLost, "3 times");
  ExpectStarts(ran);
}

TEST_F(CulpritChaosTest, AFunctionThatEndsItsExecutorIsFoundAndTheWorkerLives) {
  Cluster& cluster = StartCluster({.lease = "10m"});
  cluster.StartWorker(
      {.name = "a", .threads = kSuspects, .functions = {FunctionLibrary("limits_functions")}});
  const pid_t worker = cluster.WorkerPid("a");
  // SIGKILL names no culprit, so that all are suspects.
  const std::string killed = cluster.File("killed"), exited = cluster.File("exited");
  const std::uint64_t by_signal = cluster.Submit(TakeDown(killed, "executor"));
  EXPECT_EQ(cluster.AwaitJob(by_signal).failed, 1u);
  ExpectOnlyTheCulpritFailed(cluster, by_signal, client::FailureCause::kSignal, "");
  ExpectStarts(killed);
  const std::uint64_t by_exit = cluster.Submit(TakeDown(exited, "exit"));
  EXPECT_EQ(cluster.AwaitJob(by_exit).failed, 1u);
  ExpectOnlyTheCulpritFailed(cluster, by_exit, client::FailureCause::kExecutorExit, "");
  ExpectStarts(exited);
  EXPECT_EQ(cluster.WorkerPid("a"), worker);
}

}  // namespace
}  // namespace haul::chaos
