// The programming model of haul/executor.h over a real cluster.
#include "haul/executor.h"

#include <atomic>
#include <numeric>

#include "examples/functions/examples.h"
#include "tests/chaos/chaos_test.h"

namespace haul::chaos {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

class ExecutorTest : public ChaosTest {
 protected:
  Client& Start(int threads = 2) {
    Cluster& cluster = StartCluster();
    cluster.StartWorker(
        {.name = "a", .threads = threads, .functions = {FunctionLibrary("examples")}});
    cluster_ = &cluster;
    return cluster.client();
  }
  Cluster* cluster_ = nullptr;
};

TEST_F(ExecutorTest, CallsGiveFuturesOfTheirResults) {
  Executor executor(Start());
  Future<std::string> echo = executor.Submit(examples::kEcho, "hello");
  Future<std::uint64_t> primes = executor.Submit(examples::kCountPrimes, 1, 1000);
  EXPECT_EQ(echo.Get(), "hello");
  EXPECT_EQ(primes.Get(), 168u);
  EXPECT_EQ(echo.Get(), "hello") << "as often as one likes";
  EXPECT_EQ(echo.info().worker, "a");
  EXPECT_GT(echo.info().pid, 0u);
  Future<void> nothing = executor.Submit(examples::kNoop);
  nothing.Get();
  EXPECT_FALSE(nothing.failed());
}

TEST_F(ExecutorTest, AMillionCallsAreOneJob) {
  Client& client = Start();
  constexpr std::uint64_t kCalls = 100'000;
  std::vector<Future<void>> futures;
  {
    Executor executor(client, {.name = "many"});
    for (std::uint64_t i = 0; i < kCalls; ++i) futures.push_back(executor.Submit(examples::kNoop));
  }
  for (const Future<void>& future : futures) ASSERT_TRUE(future.done());
  const auto jobs = client.ListJobs();
  ASSERT_EQ(jobs->size(), 1u);
  EXPECT_EQ(jobs->front().succeeded, kCalls);
  EXPECT_EQ(jobs->front().state, client::JobState::kSucceeded);
}

// "0", "1", "2", … without end, which knows how many were asked for.
struct Endless {
  struct Iterator {
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    std::string operator*() const {
      ++*given;
      return std::to_string(number);
    }
    Iterator& operator++() {
      ++number;
      return *this;
    }
    void operator++(int) { ++number; }
    std::size_t* given = nullptr;
    int number = 0;
  };
  Iterator begin() const { return {given}; }
  std::unreachable_sentinel_t end() const { return {}; }
  std::size_t* given;
};

TEST_F(ExecutorTest, MapIsLazyAndInOrder) {
  Client& client = Start();
  Executor executor(client);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (std::uint64_t i = 0; i < 50; ++i) ranges.emplace_back(100 * i, 100 * (i + 1));
  std::uint64_t primes = 0;
  for (const std::uint64_t count : executor.Map(examples::kCountPrimes, ranges, 4)) primes += count;
  EXPECT_EQ(primes, 669u);  // below 5000

  std::vector<std::string> words;
  std::size_t given = 0;
  for (const std::string& word : executor.Map(examples::kEcho, Endless{&given}, 3)) {
    words.push_back(word);
    if (words.size() == 4) break;
  }
  EXPECT_THAT(words, ElementsAre("0", "1", "2", "3"));
  EXPECT_LE(given, 8u) << "no more than what was taken and three ahead";
}

TEST_F(ExecutorTest, FuturesComeAsTheyEndAndWaitHasThreeWays) {
  Executor executor(Start(4));
  std::vector<Future<void>> sleeps;
  for (const std::uint64_t ms : {900u, 1u, 450u})
    sleeps.push_back(executor.Submit(examples::kSleep, ms));
  const Waited<void> first = Wait(sleeps, kFirstCompleted);
  EXPECT_GE(first.done.size(), 1u);
  EXPECT_EQ(first.done.size() + first.pending.size(), 3u);
  std::size_t ended = 0;
  for (const Future<void>& future : AsCompleted(sleeps)) {
    EXPECT_TRUE(future.done());
    ++ended;
  }
  EXPECT_EQ(ended, 3u);
  EXPECT_TRUE(Wait(sleeps).pending.empty());

  std::vector<Future<void>> others = {executor.Submit(examples::kSleep, 60'000),
                                      executor.Submit(examples::kFail, "no good")};
  const Waited<void> failed = Wait(others, kFirstException);
  EXPECT_EQ(failed.pending.size(), 1u);
  EXPECT_TRUE(failed.done[0].failed());
  EXPECT_EQ(Wait(failed.pending, kAllCompleted, milliseconds(20)).pending.size(), 1u);
  EXPECT_FALSE(others[0].WaitFor(milliseconds(1)));
  executor.Terminate();
  EXPECT_THROW(others[0].Get(), CancelledError);
}

TEST_F(ExecutorTest, ErrorsAreTyped) {
  Client& client = Start();
  Executor executor(client);
  try {
    executor.Submit(examples::kFail, "no good").Get();
    ADD_FAILURE() << "it does not throw";
  } catch (const FunctionError& error) {
    EXPECT_STREQ(error.what(), "no good");
  }
  try {
    executor.Submit(examples::kCrash, "segv").Get();
    ADD_FAILURE() << "it does not throw";
  } catch (const CrashError& error) {
    EXPECT_EQ(error.cause(), client::FailureCause::kSignal);
    EXPECT_EQ(error.code(), SIGSEGV);
  }
  Executor hasty(client, {.timeout = milliseconds(100)});
  EXPECT_THROW(hasty.Submit(examples::kSleep, 60'000).Get(), TimeoutError);
  constexpr Function<void(std::uint64_t)> kNobodys{"nobodys.v1"};
  try {
    executor.Submit(kNobodys, 1);
    ADD_FAILURE() << "it does not throw";
  } catch (const ExecutorError& error) {
    EXPECT_EQ(error.kind(), client::ErrorKind::kInvalid);
    EXPECT_THAT(error.what(), HasSubstr("nobodys.v1"));
  }
  Future<std::string> before = executor.Submit(examples::kEcho, "before");
  try {
    executor.Submit(examples::kEcho, std::string(200'000, 'x'));
    ADD_FAILURE() << "it does not throw";
  } catch (const ExecutorError& error) {
    EXPECT_EQ(error.kind(), client::ErrorKind::kInvalid);
    EXPECT_THAT(error.what(), HasSubstr("200004 bytes are over the limit of 131072"));
  }
  EXPECT_EQ(before.Get(), "before") << "nobody else pays for it";
  EXPECT_EQ(executor.Submit(examples::kEcho, "after").Get(), "after");
  executor.Close();
  EXPECT_THROW(executor.Submit(examples::kEcho, "late"), ExecutorError);
}

TEST_F(ExecutorTest, WhatHasNotStartedWhenItIsTerminatedNeverWill) {
  Executor executor(Start(1));
  std::vector<Future<void>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(executor.Submit(examples::kSleep, 60'000));
  Await("one runs", [&] { return cluster_->client().ListJobs()->front().assigned > 0; });
  executor.Terminate();
  executor.Join();
  for (const Future<void>& future : futures) EXPECT_THROW(future.Get(), CancelledError);
  EXPECT_EQ(cluster_->client().ListJobs()->front().cancelled, 20u);
}

TEST_F(ExecutorTest, OneCallIsCancelledAndTheOthersGoOn) {
  Client& client = Start(2);
  Executor executor(client);
  std::vector<Future<void>> futures;
  for (int i = 0; i < 4; ++i) futures.push_back(executor.Submit(examples::kSleep, 60'000));
  Await("two run", [&] { return client.ListJobs()->front().assigned > 1; });
  futures[3].Cancel();  // waits
  EXPECT_THROW(futures[3].Get(), CancelledError);
  futures[0].Cancel();  // runs, and listens
  EXPECT_THROW(futures[0].Get(), CancelledError);
  EXPECT_FALSE(futures[1].done());
  executor.Close();
  futures[1].Cancel();
  futures[2].Cancel();
  executor.Join();
  EXPECT_THROW(futures[2].Get(), CancelledError);
  EXPECT_EQ(client.ListJobs()->front().cancelled, 4u);
  futures[2].Cancel();  // of one that ended nothing comes
}

TEST_F(ExecutorTest, ACancelledCallThatDoesNotListenLosesItsProcess) {
  Executor executor(Start(2), {.isolation = Isolation::kProcess});
  Future<void> deaf = executor.Submit(examples::kCrash, "spin");
  Future<void> beside = executor.Submit(examples::kSleep, 1000);
  Await("they run", [&] { return cluster_->client().ListJobs()->front().assigned > 0; });
  deaf.Cancel();
  EXPECT_THROW(deaf.Get(), CancelledError);
  beside.Get();
}

TEST_F(ExecutorTest, WhatIsCancelledIsCancelledAgainAfterARestart) {
  Client& client = Start(1);
  Executor executor(client);
  Future<void> runs = executor.Submit(examples::kSleep, 60'000);
  Future<void> waits = executor.Submit(examples::kSleep, 60'000);
  Await("one runs", [&] { return client.ListJobs()->front().assigned > 0; });
  cluster_->EndCoordinator();
  waits.Cancel();
  cluster_->StartCoordinator();
  EXPECT_THROW(waits.Get(), CancelledError);
  EXPECT_FALSE(runs.done());
  executor.Terminate();
}

// A coroutine that runs by itself.
struct Detached {
  struct promise_type {  // NOLINT(readability-identifier-naming): the language's name
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

Detached Sum(Future<std::uint64_t> a, Future<std::uint64_t> b, std::atomic<std::uint64_t>& sum) {
  const std::uint64_t first = co_await a;
  sum = first + co_await b;
}

TEST_F(ExecutorTest, ThenAndCoAwait) {
  std::atomic<std::uint64_t> sum = 0;
  std::atomic<int> told = 0;
  Executor executor(Start());
  Sum(executor.Submit(examples::kCountPrimes, 1, 100),
      executor.Submit(examples::kCountPrimes, 1, 1000), sum);
  executor.Submit(examples::kEcho, "x").Then([&told](const Future<std::string>& future) {
    if (future.Get() == "x") ++told;
  });
  Await("both", [&] { return sum == 25 + 168 && told == 1; });
}

TEST_F(ExecutorTest, ACoordinatorThatIsKilledMeanwhileLosesNoCall) {
  Client& client = Start();
  Executor executor(client);
  std::vector<Future<std::string>> futures;
  for (int i = 0; i < 3000; ++i) {
    futures.push_back(executor.Submit(examples::kEcho, std::to_string(i)));
    if (i % 1000 == 500) {
      cluster_->EndCoordinator(SIGKILL);
      cluster_->StartCoordinator();
    }
  }
  for (int i = 0; i < 3000; ++i)
    EXPECT_EQ(futures[static_cast<std::size_t>(i)].Get(), std::to_string(i));
  executor.Close();
  executor.Join();
  EXPECT_EQ(client.ListJobs()->front().succeeded, 3000u);
}

}  // namespace
}  // namespace haul::chaos
