// What tasks share with each other, over a real cluster: an executor's threads, or nothing.
#include <csignal>
#include <set>

#include "examples/functions/examples.h"
#include "haul/executor.h"
#include "tests/chaos/chaos_test.h"
#include "tests/executor/library/hostile.h"

namespace haul::chaos {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class IsolationTest : public ChaosTest {
 protected:
  Client& Start(int threads) {
    cluster_ = &StartCluster();
    cluster_->StartWorker({.name = "a",
                           .threads = threads,
                           .functions = {FunctionLibrary("examples"), FunctionLibrary("hostile")}});
    return cluster_->client();
  }
  std::string MeetingPlace() {
    std::string path = cluster_->directory() + "/meeting";
    std::filesystem::create_directory(path);
    return path;
  }
  // The code of the crash that the call ends with.
  template <typename T>
  static int CrashOf(const Future<T>& future) {
    try {
      future.Get();
    } catch (const CrashError& error) {
      return error.code();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "another error: " << error.what();
      return -1;
    }
    ADD_FAILURE() << "it did not crash";
    return -1;
  }
  Cluster* cluster_ = nullptr;
};

TEST_F(IsolationTest, InAProcessOfItsOwnACrashIsThatTasksFailureAlone) {
  Client& client = Start(2);
  Executor executor(client, {.isolation = Isolation::kProcess});
  std::vector<Future<std::string>> neighbours;
  const auto neighbour = [&] { neighbours.push_back(executor.Submit(examples::kEcho, "fine")); };
  neighbour();
  const auto segv = executor.Submit(examples::kCrash, "segv");
  neighbour();
  const auto abort = executor.Submit(examples::kCrash, "abort");
  neighbour();
  const auto exit = executor.Submit(examples::kCrash, "exit");
  const auto stack = executor.Submit(examples::kCrash, "stack");
  neighbour();
  EXPECT_EQ(CrashOf(segv), SIGSEGV);
  EXPECT_EQ(CrashOf(abort), SIGABRT);
  EXPECT_EQ(CrashOf(exit), 3);
  EXPECT_EQ(CrashOf(stack), SIGSEGV);
  for (const auto& future : neighbours) EXPECT_EQ(future.Get(), "fine");
  const auto jobs = client.ListJobs();
  for (const client::JobStatus& job : *jobs) {
    EXPECT_EQ(job.retried, 0u) << "nobody ran again";
  }
}

TEST_F(IsolationTest, ACrashInAProcessOfItsOwnUsesUpAnAttempt) {
  Client& client = Start(1);
  Executor executor(client, {.max_attempts = 2, .isolation = Isolation::kProcess});
  EXPECT_EQ(CrashOf(executor.Submit(examples::kCrash, "segv")), SIGSEGV);
  EXPECT_EQ(client.ListJobs()->front().retried, 1u);
}

TEST_F(IsolationTest, ProcessesAreReusedAndReplacedAfterSoManyTasks) {
  Executor executor(Start(1),
                    {.detail = true, .isolation = Isolation::kProcess, .tasks_per_process = 2});
  std::vector<std::uint32_t> pids;
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 6; ++i) futures.push_back(executor.Submit(examples::kEcho, "x"));
  for (const auto& future : futures) pids.push_back(future.info().pid);
  EXPECT_EQ(std::set<std::uint32_t>(pids.begin(), pids.end()).size(), 3u);
  EXPECT_EQ(pids[0], pids[1]);
  EXPECT_EQ(pids[2], pids[3]);
}

TEST_F(IsolationTest, AsManyProcessesAsCpusRunAtOnce) {
  Executor executor(Start(4), {.isolation = Isolation::kProcess});
  const std::string place = MeetingPlace();
  std::vector<Future<std::int32_t>> futures;
  for (int i = 0; i < 4; ++i) futures.push_back(executor.Submit(hostile::kMeet, place, 4));
  std::set<std::int32_t> pids;
  for (const auto& future : futures) pids.insert(future.Get());
  EXPECT_EQ(pids.size(), 4u);
}

// The article's rule as a request: what waits asks for little.
TEST_F(IsolationTest, TwoHundredTasksThatWaitDoSoAtOnceOnFourCpus) {
  Executor executor(Start(4), {.cpus_milli = 20});
  const std::string place = MeetingPlace();
  std::vector<Future<std::int32_t>> futures;
  for (int i = 0; i < 200; ++i) futures.push_back(executor.Submit(hostile::kMeet, place, 200));
  std::set<std::int32_t> pids;
  for (const auto& future : futures) pids.insert(future.Get());
  EXPECT_EQ(pids.size(), 1u) << "threads of one process";
}

TEST_F(IsolationTest, AHostileLibraryHurtsNobodyElse) {
  Client& client = Start(2);
  for (const Isolation isolation : {Isolation::kThread, Isolation::kProcess}) {
    Executor executor(client, {.timeout = milliseconds(20'000), .isolation = isolation});
    EXPECT_EQ(CrashOf(executor.Submit(hostile::kMisbehave, "exit")), 7);
    EXPECT_EQ(executor.Submit(hostile::kMisbehave, "thread").Get(), "thread");
    EXPECT_THROW(executor.Submit(hostile::kMisbehave, "close").Get(), TaskError);
    EXPECT_EQ(CrashOf(executor.Submit(hostile::kMisbehave, "kill")), SIGKILL);
    EXPECT_THROW(executor.Submit(examples::kCrash, "throw_int").Get(), FunctionError);
    EXPECT_EQ(executor.Submit(examples::kEcho, "lives").Get(), "lives");
  }
  Executor hasty(client, {.timeout = milliseconds(300), .isolation = Isolation::kProcess});
  EXPECT_THROW(hasty.Submit(examples::kCrash, "spin").Get(), TimeoutError);
  constexpr Function<std::uint64_t()> kGarbage{"garbage.v1"};
  Executor executor(client);
  try {
    executor.Submit(kGarbage).Get();
    ADD_FAILURE() << "garbage was taken for a number";
  } catch (const ExecutorError& error) {
    EXPECT_THAT(error.what(), HasSubstr("needs 8 bytes where 3 are left"));
  }
  EXPECT_EQ(executor.Submit(examples::kEcho, "lives").Get(), "lives");
}

}  // namespace
}  // namespace haul::chaos
