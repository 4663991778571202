// Clients that repeat themselves, die, or read slowly: they cost nobody but themselves.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/chaos_test.h"
#include "tests/chaos/measure.h"

namespace haul::chaos {
namespace {

using testing::Each;
using testing::SizeIs;

class ClientsChaosTest : public ChaosTest {
 protected:
  ClientsChaosTest() { KeepNoFreedMemory(); }

  // `haul ARGUMENTS…` beside the test.
  std::unique_ptr<Program> Launch(Cluster& cluster, const std::vector<std::string>& arguments,
                                  const std::string& output_file) {
    std::vector<std::string> words = {cluster.haul()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return std::make_unique<Program>(Program::Options{.arguments = words,
                                                      .environment = cluster.Environment(),
                                                      .output_file = output_file,
                                                      .error_file = cluster.File("clients.log")});
  }
};

TEST_F(ClientsChaosTest, TheSameRequestIdGivesOneJobAlsoAtOnceAndAfterACrash) {
  Cluster& cluster = StartCluster();
  const std::vector<std::string> submit = {"--output", "json", "submit", "--request-id", "once",
                                           "--array",  "0-2",  "--",     "echo",         "{index}"};
  constexpr int kAtOnce = 8;
  std::vector<std::unique_ptr<Program>> clients;
  for (int i = 0; i < kAtOnce; ++i) {
    clients.push_back(Launch(cluster, submit, cluster.File("submit." + std::to_string(i))));
  }
  std::set<std::uint64_t> jobs;
  int accepted = 0;
  const auto take = [&](const Json& answer) {
    jobs.insert(answer.at("job").get<std::uint64_t>());
    if (!answer.at("already_accepted").get<bool>()) ++accepted;
  };
  for (int i = 0; i < kAtOnce; ++i) {
    ASSERT_EQ(clients[static_cast<std::size_t>(i)]->Wait(), 0);
    take(Json::parse(ReadFile(cluster.File("submit." + std::to_string(i)))));
  }
  cluster.EndCoordinator(SIGKILL);
  cluster.StartCoordinator();
  take(cluster.HaulJson({submit.begin() + 2, submit.end()}).at(0));
  EXPECT_THAT(jobs, SizeIs(1));
  EXPECT_EQ(accepted, 1);
  EXPECT_THAT(*cluster.client().ListJobs(), SizeIs(1));
  cluster.StartWorker({.name = "a"});
  EXPECT_EQ(cluster.AwaitJob(*jobs.begin()).succeeded, 3u);
}

TEST_F(ClientsChaosTest, ClientsThatDieWhileFollowingLeaveNothingWithTheCoordinator) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2});
  const std::string go = cluster.File("go");
  const std::uint64_t job =
      cluster.Submit({"--array", "0-200", "--", "sh", "-c",
                      "head -c 20000 /dev/zero; [ {index} -lt 200 ] || until [ -e '" + go +
                          "' ]; do sleep 0.05; done"});
  Await("outputs are there",
        [&] { return cluster.client().GetJob(client::JobId{job})->succeeded == 200; });
  const pid_t coordinator = cluster.coordinator_pid();
  constexpr int kRounds = 3;
  constexpr int kAtOnce = 10;
  // What is opened once and kept.
  cluster.HaulJson({"job", "tasks", std::to_string(job)});
  const std::size_t files_before = OpenFiles(coordinator);
  std::uint64_t memory_after_first = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::unique_ptr<Program>> followers;
    for (int i = 0; i < kAtOnce; ++i) {
      const std::string output =
          cluster.File("follow." + std::to_string(round) + "." + std::to_string(i));
      followers.push_back(
          Launch(cluster, {"job", "logs", std::to_string(job), "--follow"}, output));
      Await("it follows", [&] { return std::ifstream(output).peek() != EOF; });
    }
    EXPECT_GE(OpenFiles(coordinator), files_before + kAtOnce / 2) << "or this measures nothing";
    for (const auto& follower : followers) follower->Signal(SIGKILL);
    for (const auto& follower : followers) follower->Wait();
    Await("their descriptors are closed", [&] { return OpenFiles(coordinator) <= files_before; });
    // The first round fills what is kept for the next one.
    if (round == 0) memory_after_first = MemoryBytes(coordinator, "VmRSS");
  }
  const std::uint64_t memory = MemoryBytes(coordinator, "VmRSS");
  TellBytes("dead followers: the coordinator's memory after 10", memory_after_first);
  TellBytes("after 30", memory);
  // Twenty that read 4 MB each: held for them, it would be 80 MB.
  EXPECT_LT(memory, memory_after_first + 40 * kMiB);
  std::ofstream(go) << "go\n";
  EXPECT_EQ(cluster.AwaitJob(job).succeeded, 201u);
}

// `haul job logs` whose stdout is a pipe that nobody hurries to read.
TEST_F(ClientsChaosTest, AReaderOfOneByteASecondSlowsNobodyAndIsBounded) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2});
  constexpr std::uint64_t kTasks = 1000;
  constexpr std::uint64_t kBytes = 64'000;  // within what stands in the database
  const std::uint64_t large = cluster.Submit({"--array", "0-" + std::to_string(kTasks - 1), "--",
                                              "head", "-c", std::to_string(kBytes), "/dev/zero"});
  EXPECT_EQ(cluster.AwaitJob(large).succeeded, kTasks);
  const std::string pipe = cluster.File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int fd = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const pid_t coordinator = cluster.coordinator_pid();
  const std::uint64_t before = MemoryBytes(coordinator, "VmRSS");
  std::uint64_t most = before;
  const auto reader = Launch(cluster, {"job", "results", std::to_string(large)}, pipe);
  const int seconds = LongTests() ? 60 : 3;
  std::uint64_t count = 0;
  for (int second = 0; second < seconds; ++second) {
    pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&readable, 1, static_cast<int>(kPatience.count()) * 1000), 1);
    char byte = 1;
    ASSERT_EQ(read(fd, &byte, 1), 1);
    ++count;
    // Meanwhile the others are served as ever.
    EXPECT_EQ(cluster.Haul({"run", "--", "echo", "works"}).output, "works\n");
    std::this_thread::sleep_for(std::chrono::seconds(1));
    most = std::max(most, MemoryBytes(coordinator, "VmRSS"));
  }
  const std::uint64_t grown = most - before;
  TellBytes("a slow reader of 64 MB: the coordinator's memory grew by", grown);
  TellBytes("the reader's peak", MemoryBytes(reader->pid(), "VmHWM"));
  EXPECT_LT(grown, 48 * kMiB);
  // And it still gets all there is, when it reads.
  std::vector<char> buffer(1 << 16);
  for (;;) {
    pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&readable, 1, static_cast<int>(kPatience.count()) * 1000), 1);
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) break;
    count += static_cast<std::uint64_t>(n);
  }
  close(fd);
  EXPECT_EQ(reader->Wait(), 0);
  EXPECT_GE(count, kTasks * kBytes);
}

TEST_F(ClientsChaosTest, FollowingResumesFromItsCursorOverCrashesOfTheCoordinator) {
  Cluster& cluster = StartCluster();
  cluster.StartWorker({.name = "a", .threads = 2});
  constexpr std::uint64_t kTasks = 200;
  const std::uint64_t job = cluster.Submit(
      {"--array", "0-" + std::to_string(kTasks - 1), "--", "sh", "-c", "sleep 0.01; echo {index}"});
  std::vector<int> seen(kTasks);
  std::uint64_t total = 0;
  int crashes = 0;
  std::uint64_t cursor = 0;
  client::FollowOptions options;
  const auto count = [&](const client::FollowUpdate& update) {
    for (const client::Outcome& outcome : update.outcomes) {
      for (std::uint64_t i = 0; i < outcome.count; ++i) {
        ++seen.at(outcome.first + i);
        ++total;
        EXPECT_EQ(outcome.results[i], std::to_string(outcome.first + i) + "\n");
      }
    }
    cursor = update.cursor;
  };
  // The client goes on by itself over two crashes; then it is left, and another goes on from the
  // cursor.
  const client::Status followed =
      cluster.client().Follow(client::JobId{job}, options, [&](const client::FollowUpdate& update) {
        count(update);
        if (crashes < 2 && total >= kTasks / 4 * static_cast<std::uint64_t>(crashes + 1)) {
          ++crashes;
          cluster.EndCoordinator(SIGKILL);
          cluster.LaunchCoordinator();
        }
        return total < kTasks * 3 / 4;
      });
  EXPECT_TRUE(followed.ok() || followed.kind() == client::ErrorKind::kStopped)
      << followed.message();
  EXPECT_EQ(crashes, 2);
  options.cursor = cursor;
  const client::Status rest =
      cluster.client().Follow(client::JobId{job}, options, [&](const client::FollowUpdate& update) {
        count(update);
        return true;
      });
  EXPECT_TRUE(rest.ok()) << rest.message();
  EXPECT_THAT(seen, Each(1));
}

}  // namespace
}  // namespace haul::chaos
