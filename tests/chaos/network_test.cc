// A worker on a machine of its own, whose cable is cut in one direction or both. Needs network
// namespaces; where they are not permitted, it says so and does not run.
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "tests/chaos/chaos_test.h"
#include "tests/chaos/network.h"

namespace haul::chaos {
namespace {

using testing::SizeIs;

class NetworkTest : public ChaosTest {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoMachines(); !why.empty()) {
      std::cerr << "NOT RUN: network namespaces cannot be made here: " << why << std::endl;
      GTEST_SKIP() << "network namespaces cannot be made here: " << why;
    }
    EnterOwnNetwork();
    machine_ = std::make_unique<Machine>(1);
  }
  void TearDown() override {
    if (machine_ != nullptr) machine_->Heal();  // or the worker there could not be told to leave
    ChaosTest::TearDown();
    machine_.reset();
  }

  // Worker `far` is on the machine and runs the long task.
  Cluster& StartFar(const std::string& lease) {
    Cluster& cluster =
        StartCluster({.lease = lease, .host = kOwnHost, .coordinator_arguments = {"--insecure"}});
    cluster.StartWorker({.name = "far", .prefix = machine_->Prefix()});
    id_ = cluster.client().Worker("far")->id;
    job_ = cluster.Submit({"--", "sh", "-c",
                           RecordStart(Ran(cluster)) + "; until [ -e '" + cluster.File("go") +
                               "' ]; do sleep 0.1; done; echo $HAUL_FENCING_TOKEN"});
    Await("the long task runs", [&] { return ReadStarts(Ran(cluster)).size() == 1; });
    return cluster;
  }
  static std::string Ran(const Cluster& cluster) { return cluster.File("ran"); }

  // Cuts by `cut` until the task runs elsewhere, heals, and sees the worker back without help.
  void CutPastTheLease(const std::string& what, const std::function<void()>& cut) {
    Cluster& cluster = StartFar("2s");
    cluster.StartWorker({.name = "near"});
    const pid_t lost = ReadStarts(Ran(cluster))[0].pid;
    cut();
    Tell(what + " until its task started elsewhere (lease 2 s)",
         Await("the task starts elsewhere", [&] { return ReadStarts(Ran(cluster)).size() >= 2; }));
    EXPECT_TRUE(IsRunning(lost)) << "what runs goes on while the coordinator is away";
    std::ofstream(cluster.File("go")) << "go";
    EXPECT_EQ(cluster.AwaitJob(job_).succeeded, 1u);
    const auto before = cluster.HaulJson({"job", "tasks", std::to_string(job_)});
    machine().Heal();
    Tell("healed until it was back", Await("worker far is back", [&] {
           const auto worker = cluster.client().Worker("far");
           return worker.ok() && worker->state == client::WorkerState::kConnected &&
                  worker->id != id_;
         }));
    EXPECT_EQ(cluster.HaulJson({"job", "tasks", std::to_string(job_)}), before);
    EXPECT_EQ(cluster.Outcomes(job_).at(0).worker_name, "near");
  }

  Machine& machine() { return *machine_; }

  std::uint64_t job_ = 0;
  std::uint64_t id_ = 0;

 private:
  std::unique_ptr<Machine> machine_;
};

TEST_F(NetworkTest, CutOffWorkerIsFoundByTheLease) {
  CutPastTheLease("cut in both directions", [this] {
    machine().LoseWhatItSends();
    machine().LoseWhatItIsSent();
  });
}

TEST_F(NetworkTest, WorkerThatIsNotHeardIsFoundByTheLease) {
  CutPastTheLease("what it sends is lost", [this] { machine().LoseWhatItSends(); });
}

TEST_F(NetworkTest, WorkerThatDoesNotHearIsFoundByTheLease) {
  CutPastTheLease("what it is sent is lost", [this] { machine().LoseWhatItIsSent(); });
}

TEST_F(NetworkTest, ShortCutsDoNotTouchTheLongTask) {
  Cluster& cluster = StartFar("30s");
  const auto cut_for_a_second = [](const std::function<void()>& cut,
                                   const std::function<void()>& heal) {
    cut();
    // The fault itself takes this long.
    std::this_thread::sleep_for(std::chrono::seconds(1));
    heal();
  };
  const auto heal = [this] { machine().Heal(); };
  cut_for_a_second([this] { machine().PullCable(); }, heal);
  cut_for_a_second([this] { machine().LoseWhatItSends(); }, heal);
  cut_for_a_second([this] { machine().LoseWhatItIsSent(); }, heal);
  std::ofstream(cluster.File("go")) << "go";
  EXPECT_EQ(cluster.AwaitJob(job_).succeeded, 1u);
  EXPECT_THAT(ReadStarts(Ran(cluster)), SizeIs(1)) << "the long task was started again";
  EXPECT_EQ(cluster.client().Worker("far")->id, id_) << "the worker was expired and joined anew";
}

}  // namespace
}  // namespace haul::chaos
