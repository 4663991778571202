// Tasks that take more than is good for anybody: the limits hold, the worker lives, and its memory
// stays bounded.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/chaos/chaos_test.h"
#include "tests/chaos/measure.h"

namespace haul::chaos {
namespace {

using testing::HasSubstr;

// Far above what is needed, far below what would be held without a bound.
constexpr std::uint64_t kMostGrowth = 300 * kMiB;

class LimitsChaosTest : public ChaosTest {
 protected:
  LimitsChaosTest() { KeepNoFreedMemory(); }

  static client::Outcome OnlyOutcome(Cluster& cluster, std::uint64_t job) {
    const std::vector<client::Outcome> outcomes = cluster.Outcomes(job);
    if (outcomes.size() != 1) throw Failure("not one outcome");
    return outcomes[0];
  }
  // A job of the worker's that has nothing to do with it succeeds.
  static void ExpectWorks(Cluster& cluster) {
    const CommandResult result = cluster.Haul({"run", "--", "echo", "works"});
    EXPECT_EQ(result.exit_status, 0) << result.error;
    EXPECT_EQ(result.output, "works\n");
  }
};

// Raw connections that say nothing.
class IdleConnections {
 public:
  IdleConnections(const std::string& address, std::size_t count) {
    const std::size_t colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    if (inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) {
      throw Failure("not an address: " + address);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) throw Failure("no socket");
      static_cast<void>(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to));
      fds_.push_back(fd);
    }
  }
  ~IdleConnections() {
    for (const int fd : fds_) close(fd);
  }
  IdleConnections(const IdleConnections&) = delete;
  IdleConnections& operator=(const IdleConnections&) = delete;

 private:
  std::vector<int> fds_;
};

TEST_F(LimitsChaosTest, ATaskThatEatsMemoryIsKilledAndItsNeighbourIsNot) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2});
  const std::uint64_t neighbour = cluster.Submit({"--memory", "200MiB", "--", "sleep", "1"});
  const std::uint64_t eater =
      cluster.Submit({"--memory", "100MiB", "--", "sh", "-c",
                      "{ head -c 200M /dev/zero; sleep 1000; } | tail -c 200M"});
  EXPECT_EQ(cluster.AwaitJob(eater).failed, 1u);
  const client::Outcome outcome = OnlyOutcome(cluster, eater);
  EXPECT_EQ(outcome.cause, client::FailureCause::kMemoryLimit);
  EXPECT_THAT(outcome.message, HasSubstr("over the limit of 104857600"));
  EXPECT_EQ(cluster.AwaitJob(neighbour).succeeded, 1u);
  ExpectWorks(cluster);
  // Retries are for failures of the task's own, and this is one.
  const std::uint64_t again =
      cluster.Submit({"--memory", "50MiB", "--retries", "1", "--", "sh", "-c",
                      "{ head -c 100M /dev/zero; sleep 1000; } | tail -c 100M"});
  EXPECT_EQ(cluster.AwaitJob(again).retried, 1u);
  EXPECT_EQ(OnlyOutcome(cluster, again).attempt, 2u);
}

TEST_F(LimitsChaosTest, AForkBombEndsAndTheWorkerLives) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2, .arguments = {"--task-processes", "100"}});
  const pid_t worker = cluster.WorkerPid("a");
  const std::uint64_t neighbour = cluster.Submit({"--", "sh", "-c", "sleep 1; echo fine"});
  // It ends by itself at two to the tenth, so that a defect does not take the machine down.
  const std::uint64_t bomb = cluster.Submit(
      {"--", "sh", "-c",
       "b() { if [ $1 -gt 0 ]; then b $(($1 - 1)) | b $(($1 - 1)) & fi; sleep 1000; }; b 10"});
  EXPECT_EQ(cluster.AwaitJob(bomb).failed, 1u);
  const client::Outcome outcome = OnlyOutcome(cluster, bomb);
  EXPECT_EQ(outcome.cause, client::FailureCause::kProcessLimit) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("over the limit of 100"));
  EXPECT_EQ(cluster.AwaitJob(neighbour).succeeded, 1u);
  Await("nothing of it is left", [&] { return cluster.CommandPids("a").empty(); });
  EXPECT_EQ(cluster.WorkerPid("a"), worker);
  ExpectWorks(cluster);
}

// Ten gigabytes, of which the worker takes what it may. The limit of a worker is 1 GiB if nobody
// says otherwise, which the long test uses.
TEST_F(LimitsChaosTest, OutputOverTheLimitEndsTheTaskAndFillsNothing) {
  const std::uint64_t limit = LongTests() ? 1024 * kMiB : 16 * kMiB;
  Cluster& cluster = StartCluster();
  WorkerOptions options{.name = "a"};
  if (!LongTests()) options.arguments = {"--output-limit", "16MiB"};
  cluster.StartWorker(options);
  const pid_t worker = cluster.WorkerPid("a");
  const std::uint64_t before = MemoryBytes(worker, "VmHWM");
  const std::uint64_t job =
      cluster.Submit({"--", "sh", "-c", "yes | head -c 10G; echo not so much >&2"});
  std::uint64_t most_disk = 0;
  Await("the job ends", [&] {
    most_disk = std::max(most_disk, DiskBytes(cluster.File("tmp")));
    return cluster.client().GetJob(client::JobId{job})->ended();
  });
  const client::Outcome outcome = OnlyOutcome(cluster, job);
  EXPECT_EQ(outcome.cause, client::FailureCause::kOutputLimit);
  EXPECT_THAT(outcome.message, HasSubstr(std::to_string(limit)));
  const std::uint64_t grown = MemoryBytes(worker, "VmHWM") - before;
  TellBytes("10 GB of output, limit " + std::to_string(limit / kMiB) + " MiB: most on the disk",
            most_disk);
  TellBytes("the worker's memory grew by", grown);
  EXPECT_LT(most_disk, limit + 16 * kMiB);
  EXPECT_LT(grown, kMostGrowth);
  Await("what it wrote is gone", [&] { return DiskBytes(cluster.File("tmp")) < kMiB; });
  ExpectWorks(cluster);
}

TEST_F(LimitsChaosTest, ManyTasksThatFailAtOnceAreBounded) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker(
      {.name = "a", .threads = 2, .functions = {FunctionLibrary("limits_functions")}});
  const pid_t worker = cluster.WorkerPid("a");
  const std::uint64_t worker_before = MemoryBytes(worker, "VmHWM");
  const std::uint64_t coordinator_before = MemoryBytes(cluster.coordinator_pid(), "VmHWM");
  // Each with a message of its own: no two can be told as one.
  const std::uint64_t count = LongTests() ? 100'000 : 10'000;
  const std::uint64_t job =
      cluster.Submit({"call", "fail.v1", "--array", "0-" + std::to_string(count - 1)});
  EXPECT_EQ(cluster.AwaitJob(job).failed, count);
  const std::uint64_t worker_grown = MemoryBytes(worker, "VmHWM") - worker_before;
  const std::uint64_t coordinator_grown =
      MemoryBytes(cluster.coordinator_pid(), "VmHWM") - coordinator_before;
  TellBytes(std::to_string(count) + " tasks that fail at once: the worker's memory grew by",
            worker_grown);
  TellBytes("the coordinator's by", coordinator_grown);
  EXPECT_LT(worker_grown, kMostGrowth);
  EXPECT_LT(coordinator_grown, 2 * kMostGrowth);
  EXPECT_EQ(cluster.WorkerPid("a"), worker);
  ExpectWorks(cluster);
}

TEST_F(LimitsChaosTest, AWorkerWithFewDescriptorsRunsWhatTheyAllow) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 4, .prefix = {"prlimit", "--nofile=256:256"}});
  const pid_t worker = cluster.WorkerPid("a");
  const std::uint64_t job = cluster.Submit(
      {"--cpus", "0.01", "--array", "0-299", "--", "sh", "-c", "sleep 0.2; echo {index}"});
  std::size_t most_files = 0, most_at_once = 0;
  Await("the job ends", [&] {
    most_files = std::max(most_files, OpenFiles(worker));
    most_at_once = std::max(most_at_once, cluster.CommandPids("a").size());
    return cluster.client().GetJob(client::JobId{job})->ended();
  });
  std::cout << "[   FIGURE ] ulimit -n 256: most descriptors of the worker " << most_files
            << ", most tasks at once " << most_at_once << std::endl;
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 300u);
  // Five descriptors a task, of the half that is theirs.
  EXPECT_LE(most_at_once, 25u);
  ExpectWorks(cluster);
}

TEST_F(LimitsChaosTest, ACoordinatorOutOfDescriptorsServesAgainWhenThereAreSome) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2});
  const rlimit few{.rlim_cur = 256, .rlim_max = 256};
  ASSERT_EQ(prlimit(cluster.coordinator_pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  const std::string go = cluster.File("go");
  const std::uint64_t job = cluster.Submit(
      {"--array", "0-1", "--", "sh", "-c", "until [ -e '" + go + "' ]; do sleep 0.02; done"});
  {
    const IdleConnections crowd(cluster.address(), 400);
    // It keeps some for its database and its files, and turns away the rest.
    Await("it takes no more", [&] { return OpenFiles(cluster.coordinator_pid()) >= 190; });
    // Who is there already is served on: a client, and the worker, whose outcomes become durable.
    EXPECT_TRUE(cluster.client().Info().ok());
    close(open(go.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    Await("the job ends", [&] {
      const auto status = cluster.client().GetJob(client::JobId{job});
      return status.ok() && status->ended();
    });
  }
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 2u);
  Await("newcomers are served", [&] { return cluster.Serves(); });
  ExpectWorks(cluster);
}

}  // namespace
}  // namespace haul::chaos
