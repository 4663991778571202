// Functions that call functions, over a real cluster.
#include <fstream>

#include "examples/functions/examples.h"
#include "haul/executor.h"
#include "tests/chaos/chaos_test.h"
#include "tests/executor/library/hostile.h"

namespace haul::chaos {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class NestedTest : public ChaosTest {
 protected:
  Client& Start(int threads) {
    cluster_ = &StartCluster();
    cluster_->StartWorker({.name = "a",
                           .threads = threads,
                           .functions = {FunctionLibrary("examples"), FunctionLibrary("hostile")}});
    return cluster_->client();
  }
  // The newest job that a task submitted.
  std::optional<client::JobStatus> Child() {
    const auto jobs = cluster_->client().ListJobs();
    for (const client::JobStatus& job : *jobs) {
      if (job.spec.parent.has_value()) return job;
    }
    return std::nullopt;
  }
  Cluster* cluster_ = nullptr;
};

TEST_F(NestedTest, FiveDeepOnOneSlot) {
  Executor executor(Start(1));
  EXPECT_EQ(executor.Submit(examples::kCountTree, 5, 1).Get(), 6u);
  EXPECT_EQ(executor.Submit(examples::kCountTree, 3, 3).Get(), 40u);
}

TEST_F(NestedTest, ManyAtOnceAndEachInAProcessOfItsOwn) {
  Client& client = Start(2);
  Executor apart(client, {.isolation = Isolation::kProcess});
  Executor together(client);
  std::vector<Future<std::uint64_t>> trees;
  for (int i = 0; i < 3; ++i) trees.push_back(apart.Submit(examples::kCountTree, 2, 1));
  for (int i = 0; i < 10; ++i) trees.push_back(together.Submit(examples::kCountTree, 2, 2));
  std::uint64_t tasks = 0;
  for (const Future<std::uint64_t>& tree : trees) tasks += tree.Get();
  EXPECT_EQ(tasks, 3u * 3 + 10u * 7);
}

TEST_F(NestedTest, ACallThatFailsSaysHow) {
  Executor executor(Start(1), {.isolation = Isolation::kProcess});
  const auto end_of = [&](const std::string& function, const std::string& argument) {
    return executor.Submit(examples::kRelay, function, argument).Get();
  };
  EXPECT_EQ(end_of("fail.v1", "no good"), "failed: no good");
  EXPECT_THAT(end_of("crash.v1", "segv"),
              testing::AllOf(StartsWith("crashed: "), HasSubstr("SIGSEGV")));
  EXPECT_THAT(end_of("nobody.v1", ""), StartsWith("refused: function: no worker serves nobody.v1"));
}

TEST_F(NestedTest, WhatATaskCalledEndsWithIt) {
  Executor executor(Start(2));
  Future<void> parent = executor.Submit(hostile::kCallSleep, 600'000);
  Await("the child runs", [&] { return Child().has_value() && Child()->assigned > 0; });
  EXPECT_EQ(Child()->spec.parent->task, 0u);
  parent.Cancel();
  EXPECT_THROW(parent.Get(), CancelledError);
  Await("the child ended", [&] { return Child()->state == client::JobState::kCancelled; });
}

TEST_F(NestedTest, ACoordinatorThatIsKilledMeanwhileStartsNeitherAgain) {
  Executor executor(Start(1));
  Future<void> parent = executor.Submit(hostile::kCallSleep, 2'000);
  Await("the child runs", [&] { return Child().has_value() && Child()->assigned > 0; });
  cluster_->EndCoordinator(SIGKILL);
  cluster_->StartCoordinator();
  parent.Get();
  EXPECT_EQ(parent.info().attempt, 1u);
  Await("the child ended", [&] { return Child()->state == client::JobState::kSucceeded; });
  EXPECT_EQ(cluster_->client().ListJobs()->size(), 2u);
}

TEST_F(NestedTest, AFunctionSaysHowMuchOfItIsDone) {
  Client& client = Start(1);
  Executor executor(client);
  Future<void> halts = executor.Submit(hostile::kHalt, cluster_->File("go on"));
  const auto progress = [&] { return client.ListJobs()->front().progress; };
  Await("it says so", [&] { return !progress().empty(); });
  EXPECT_EQ(progress().front().task, 0u);
  EXPECT_EQ(progress().front().permille, 250u);
  EXPECT_THAT(cluster_->Haul({"job", "show", "last"}).output, HasSubstr("task 0: 25.0%"));
  std::ofstream(cluster_->File("go on")) << "now";
  halts.Get();
  EXPECT_TRUE(progress().empty());
}

TEST_F(NestedTest, AParentWhoseWorkerIsKilledCallsAgainElsewhere) {
  Executor executor(Start(1));
  Future<void> parent = executor.Submit(hostile::kCallSleep, 1'000);
  Await("the child runs", [&] { return Child().has_value() && Child()->assigned > 0; });
  const client::JobId first = Child()->id;
  cluster_->StartWorker({.name = "b",
                         .threads = 1,
                         .functions = {FunctionLibrary("examples"), FunctionLibrary("hostile")}});
  ASSERT_TRUE(cluster_->Signal(cluster_->WorkerPid("a"), SIGKILL));
  parent.Get();
  EXPECT_EQ(parent.info().worker, "b");
  EXPECT_EQ(cluster_->client().GetJob(first)->state, client::JobState::kCancelled);
  EXPECT_GT(Child()->id, first);
}

}  // namespace
}  // namespace haul::chaos
