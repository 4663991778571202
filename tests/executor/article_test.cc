// The programs of examples/article do what the article shows, with sleeps of a tenth of a second.
// How long they take is for `haul bench`.
#include <algorithm>
#include <set>
#include <sstream>

#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class ArticleTest : public ChaosTest {
 protected:
  // The lines that the program prints, without the last, which is the total time.
  std::vector<std::string> Lines(const std::string& program) {
    Cluster& cluster = StartCluster();
    cluster.StartWorker({.name = "a", .threads = 8, .functions = {FunctionLibrary("article")}});
    // It stands beside the program `haul`.
    const std::string bin = cluster.haul().substr(0, cluster.haul().rfind('/'));
    const CommandResult result = cluster.Run(bin + "/article_" + program, {"100"});
    EXPECT_EQ(result.exit_status, 0) << result.error;
    std::vector<std::string> lines;
    std::istringstream output(result.output);
    for (std::string line; std::getline(output, line);) lines.push_back(line);
    if (lines.empty()) {
      ADD_FAILURE() << "it prints nothing";
      return lines;
    }
    EXPECT_THAT(lines.back(), StartsWith("total time is "));
    lines.pop_back();
    return lines;
  }
  // The most that ran at once.
  static int MostAtOnce(const std::vector<std::string>& lines) {
    int running = 0, most = 0;
    for (const std::string& line : lines) {
      running += line.ends_with(" starts") ? 1 : -1;
      most = std::max(most, running);
    }
    EXPECT_EQ(running, 0) << "as many end as start";
    return most;
  }
};

TEST_F(ArticleTest, SequentialIsOneAfterTheOther) {
  const auto lines = Lines("sequential");
  EXPECT_THAT(lines, SizeIs(4));
  EXPECT_EQ(MostAtOnce(lines), 1);
}

// "process 12, thread 34 starts" -> 12
std::set<std::string> ProcessesOf(const std::vector<std::string>& lines) {
  std::set<std::string> processes;
  for (const std::string& line : lines) {
    if (line.starts_with("process ")) processes.insert(line.substr(0, line.find(',')));
  }
  return processes;
}

TEST_F(ArticleTest, TwoProcessesRunBeside) {
  const auto lines = Lines("two_processes");
  EXPECT_THAT(lines, SizeIs(4));
  EXPECT_THAT(ProcessesOf(lines), SizeIs(2));
}

TEST_F(ArticleTest, ACrashInAProcessIsOneTasksAffair) {
  const auto lines = Lines("crash");
  ASSERT_THAT(lines, SizeIs(10));
  EXPECT_EQ(lines[0], "on threads");
  EXPECT_EQ(lines[5], "in processes");
  for (const std::size_t part : {1u, 6u}) {
    for (const std::size_t task : {0u, 1u, 3u}) EXPECT_THAT(lines[part + task], HasSubstr(" ends"));
    EXPECT_EQ(lines[part + 2], "task 2 crashes: signal 11");
  }
}

TEST_F(ArticleTest, CpuBoundWorkRunsOnThreadsAndInProcesses) {
  auto lines = Lines("cpu_bound");  // primes below 100
  ASSERT_THAT(lines, SizeIs(34));
  EXPECT_THAT(lines[16], StartsWith("on threads: "));
  EXPECT_THAT(lines[33], StartsWith("in processes: "));
  lines.resize(16);
  EXPECT_THAT(ProcessesOf(lines), SizeIs(1));
  EXPECT_LE(MostAtOnce(lines), 8);
}

TEST_F(ArticleTest, IoBoundWorkIsThreeLines) {
  const auto lines = Lines("io_bound");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], StartsWith("a cpu each, on threads: "));
  EXPECT_THAT(lines[2], StartsWith("a fiftieth each, in processes: "));
}

TEST_F(ArticleTest, PoolRunsFourteenTasksEightAtATime) {
  const auto lines = Lines("pool");
  EXPECT_THAT(lines, SizeIs(28));
  EXPECT_LE(MostAtOnce(lines), 8);
}

TEST_F(ArticleTest, ThreadPoolRunsEightTasksFiveAtATime) {
  const auto lines = Lines("thread_pool");
  EXPECT_THAT(lines, SizeIs(16));
  EXPECT_LE(MostAtOnce(lines), 5);
}

TEST_F(ArticleTest, MapIsInOrder) {
  EXPECT_THAT(Lines("map"), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7"));
}

TEST_F(ArticleTest, AsCompletedGivesEachOnce) {
  EXPECT_THAT(Lines("as_completed"), testing::UnorderedElementsAre("0", "1", "2", "3", "4"));
}

TEST_F(ArticleTest, WaitGivesWhatIsDoneAndWhatIsPending) {
  const auto lines = Lines("wait");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], StartsWith("first completed: "));
  EXPECT_EQ(lines[2], "all completed: 3 done, 0 pending");
}

TEST_F(ArticleTest, TerminateLeavesNothingToRun) {
  const auto lines = Lines("terminate");
  ASSERT_THAT(lines, SizeIs(1));
  int ended = 0, cancelled = 0;
  ASSERT_EQ(std::sscanf(lines[0].c_str(), "%d ended, %d were cancelled", &ended, &cancelled), 2);
  EXPECT_GE(ended, 1);
  EXPECT_EQ(ended + cancelled, 8);
}

}  // namespace
}  // namespace haul::chaos
