// Faults of the connection between a worker and its coordinator, made by a proxy: what runs goes
// on, and the two find each other again without help.
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/chaos_test.h"
#include "tests/chaos/faulty_proxy.h"

namespace haul::chaos {
namespace {

using testing::IsEmpty;
using testing::SizeIs;
using Flow = FaultyProxy::Flow;

class LinkTest : public ChaosTest {
 protected:
  // Worker a speaks through the proxy. The long task runs there until AllowLongTaskToEnd().
  Cluster& StartBehindProxy(const std::string& lease, int threads) {
    Cluster& cluster = StartCluster({.lease = lease});
    proxy_ = std::make_unique<FaultyProxy>(cluster.address());
    cluster.StartWorker({.name = "a", .threads = threads, .coordinator = proxy_->address()});
    id_ = cluster.client().Worker("a")->id;
    long_job_ = cluster.Submit({"--", "sh", "-c",
                                RecordStart(Ran(cluster)) + "; until [ -e '" + cluster.File("go") +
                                    "' ]; do sleep 0.1; done; echo $HAUL_FENCING_TOKEN"});
    Await("the long task runs", [&] { return ReadStarts(Ran(cluster)).size() == 1; });
    return cluster;
  }
  static std::string Ran(const Cluster& cluster) { return cluster.File("ran"); }
  static void AllowLongTaskToEnd(const Cluster& cluster) {
    std::ofstream(cluster.File("go")) << "go";
  }
  // It is heard again, after now, as the member that it was.
  void AwaitHeardAgain(Cluster& cluster) {
    const std::int64_t now_us = UnixMicroseconds();
    Await("worker a is heard again", [&] {
      const auto worker = cluster.client().Worker("a");
      return worker.ok() && worker->state == client::WorkerState::kConnected &&
             worker->last_heard_unix_us > now_us;
    });
  }
  void ExpectLongTaskSurvived(Cluster& cluster) {
    AllowLongTaskToEnd(cluster);
    EXPECT_EQ(cluster.AwaitJob(long_job_).succeeded, 1u);
    EXPECT_THAT(ReadStarts(Ran(cluster)), SizeIs(1)) << "the long task was started again";
    EXPECT_EQ(cluster.client().Worker("a")->id, id_) << "the worker was expired and joined anew";
  }
  FaultyProxy& proxy() { return *proxy_; }
  void TearDown() override {
    ChaosTest::TearDown();
    proxy_.reset();
  }

  std::uint64_t long_job_ = 0;
  std::uint64_t id_ = 0;

 private:
  std::unique_ptr<FaultyProxy> proxy_;
};

TEST_F(LinkTest, ResetsInTheMidstOfMessagesRunNothingAgain) {
  Cluster& cluster = StartBehindProxy("30s", 2);
  const std::string many = cluster.File("many");
  const std::uint64_t tasks = LongTests() ? 5000 : 300;
  const std::uint64_t job =
      cluster.Submit({"--array", "0-" + std::to_string(tasks - 1), "--", "sh", "-c",
                      RecordStart(many) + "; head -c 1000 /dev/zero | tr '\\0' x"});
  // Bytes, not seconds, say when: so it happens in the midst of whatever is being said.
  std::minstd_rand random(7);
  const std::uint64_t wanted = LongTests() ? 100 : 8;
  for (std::uint64_t i = 0; i < wanted; ++i) {
    const auto direction = i % 2 == 0 ? FaultyProxy::kForth : FaultyProxy::kBack;
    proxy().ResetAfter(direction, 20 + random() % 2000);
    Await("a reset, or the end of the job", [&] {
      return proxy().resets() > i || cluster.client().GetJob(client::JobId{job})->ended();
    });
  }
  EXPECT_GE(proxy().resets(), 3u) << "too few resets to mean anything";
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, tasks);
  EXPECT_THAT(ReadStarts(many), SizeIs(tasks));
  EXPECT_THAT(StartedAgain(ReadStarts(many)), IsEmpty());
  ExpectLongTaskSurvived(cluster);
}

TEST_F(LinkTest, HalfOpenConnectionIsReplacedWithinTheLease) {
  Cluster& cluster = StartBehindProxy("8s", 1);
  const std::uint64_t accepted = proxy().accepted();
  proxy().ForgetConnections();
  Tell("half-open connection until the worker made another (lease 8 s)",
       Await("another connection", [&] { return proxy().accepted() > accepted; }));
  AwaitHeardAgain(cluster);
  ExpectLongTaskSurvived(cluster);
}

TEST_F(LinkTest, StallShorterThanTheLeaseIsNotNoticed) {
  Cluster& cluster = StartBehindProxy("30s", 2);
  proxy().SetFlow(Flow::kHold);
  const std::uint64_t job = cluster.Submit({"--", "echo", "late"});
  // The fault itself takes this long.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_FALSE(cluster.client().GetJob(client::JobId{job})->ended());
  proxy().SetFlow(Flow::kPass);
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 1u);
  ExpectLongTaskSurvived(cluster);
}

TEST_F(LinkTest, ResultThatArrivesAfterTheLeaseChangesNothing) {
  Cluster& cluster = StartBehindProxy("1500ms", 1);
  proxy().SetFlow(FaultyProxy::kForth, Flow::kHold);
  AllowLongTaskToEnd(cluster);
  const pid_t first = ReadStarts(Ran(cluster))[0].pid;
  Await("the task has ended on worker a", [first] { return !IsRunning(first); });
  cluster.StartWorker({.name = "b"});
  EXPECT_EQ(cluster.AwaitJob(long_job_).succeeded, 1u);
  const auto before = cluster.HaulJson({"job", "tasks", std::to_string(long_job_)});
  proxy().SetFlow(FaultyProxy::kForth, Flow::kPass);
  Await("worker a is back", [&] {
    const auto worker = cluster.client().Worker("a");
    return worker.ok() && worker->state == client::WorkerState::kConnected && worker->id != id_;
  });
  // Its hello was answered, so whatever it had to say before that was heard.
  EXPECT_EQ(cluster.HaulJson({"job", "tasks", std::to_string(long_job_)}), before);
  const std::vector<client::Outcome> outcomes = cluster.Outcomes(long_job_);
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].worker_name, "b");
  EXPECT_GT(outcomes[0].fencing_token, ReadStarts(Ran(cluster))[0].fencing_token);
}

TEST_F(LinkTest, SlowAndTricklingConnectionsAreOnlySlow) {
  Cluster& cluster = StartBehindProxy("30s", 2);
  proxy().SetDelay(std::chrono::milliseconds(200));
  const std::string many = cluster.File("many");
  const auto run = [&] {
    return cluster.Submit(
        {"--array", "0-9", "--", "sh", "-c", RecordStart(many) + "; echo {index}"});
  };
  EXPECT_EQ(cluster.AwaitJob(run()).succeeded, 10u);
  proxy().SetDelay(std::chrono::milliseconds(0));
  proxy().SetPace(2);
  // A new connection begins by bytes too.
  proxy().ResetConnections();
  EXPECT_EQ(cluster.AwaitJob(run()).succeeded, 10u);
  proxy().SetPace(0);
  EXPECT_THAT(ReadStarts(many), SizeIs(20));
  EXPECT_THAT(StartedAgain(ReadStarts(many)), IsEmpty());
  ExpectLongTaskSurvived(cluster);
}

TEST_F(LinkTest, ConnectionRefusedPastTheLeaseIsHealedWithoutHelp) {
  Cluster& cluster = StartBehindProxy("1500ms", 1);
  cluster.StartWorker({.name = "b"});
  proxy().SetRefusing(true);
  proxy().ResetConnections();
  Await("the long task starts elsewhere", [&] { return ReadStarts(Ran(cluster)).size() >= 2; });
  proxy().SetRefusing(false);
  Tell("way free again until the worker is back", Await("worker a is back", [&] {
         const auto worker = cluster.client().Worker("a");
         return worker.ok() && worker->state == client::WorkerState::kConnected &&
                worker->id != id_;
       }));
  const pid_t lost = ReadStarts(Ran(cluster))[0].pid;
  Await("what it lost is ended", [lost] { return !IsRunning(lost); });
  AllowLongTaskToEnd(cluster);
  EXPECT_EQ(cluster.AwaitJob(long_job_).succeeded, 1u);
}

}  // namespace
}  // namespace haul::chaos
