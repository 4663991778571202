// What running tasks call, as their host carries it: answers, waiting, stopping, limits.
#include <atomic>
#include <string>

#include "gmock/gmock.h"
#include "worker/executor/pool_test_harness.h"

namespace haul::executor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kHeld = 5;

std::uint64_t Submit(const haul_call& call, const std::string& arguments) {
  return call.host->submit(call.task, "child.v1", "u64(u64)", arguments.data(), arguments.size());
}

// The answer as the task's result: its status and its data.
std::int32_t Wait(const haul_call& call, std::uint64_t number) {
  haul_answer answer{};
  answer.struct_size = sizeof answer;
  call.host->wait(call.task, number, &answer);
  const std::string text = std::to_string(answer.status) + ":" +
                           std::string(static_cast<const char*>(answer.data), answer.size) + ";";
  call.host->append_result(call.task, text.data(), text.size());
  return 0;
}

class ChildCallsTest : public testing::Test {
 protected:
  using Body = TestFunctions::Body;

  void Start(Body body, std::uint64_t tasks = 1, const PoolOptions& options = {}) {
    TestFunctions functions;
    functions.Serve("parent", "bytes()", std::move(body));
    harness_ = std::make_unique<PoolHarness>(std::move(functions), options);
    harness_->pool().Run(
        PoolHarness::MakeRun(kHeld, "parent", {0, tasks}, static_cast<std::uint32_t>(tasks)));
  }
  void Answer(std::uint64_t number, const std::string& data,
              v1::ChildAnswer::Status status = v1::ChildAnswer::STATUS_RESULT, TaskIndex task = 0) {
    v1::ChildAnswer answer;
    answer.set_assignment_id(kHeld);
    answer.set_task(task);
    answer.set_number(number);
    answer.set_status(status);
    answer.set_data(data);
    harness_->pool().calls().OnAnswer(std::move(answer));
  }
  void AwaitSaid(std::size_t count) {
    harness_->WaitFor([&] { return harness_->said().size() >= count; });
  }
  std::string Result() {
    harness_->WaitUntilIdle();
    return std::string(harness_->outcomes(kHeld).at(0).results[0]);
  }

  std::unique_ptr<PoolHarness> harness_;
};

TEST_F(ChildCallsTest, AnAnswerIsTakenOnceTheWorkerHasACpuForTheTask) {
  Start([](const haul_call& call) {
    const std::uint64_t first = Submit(call, "one");
    const std::uint64_t second = Submit(call, "two");
    Wait(call, second);
    return Wait(call, first);
  });
  AwaitSaid(1);
  ASSERT_EQ(harness_->calls().size(), 2u);
  EXPECT_EQ(harness_->calls()[1].function(), "child.v1");
  EXPECT_EQ(harness_->calls()[1].signature(), "u64(u64)");
  EXPECT_EQ(harness_->calls()[1].arguments(), "two");
  EXPECT_EQ(harness_->calls()[1].number(), 2u);
  Answer(1, "1");
  EXPECT_EQ(harness_->said().size(), 1u) << "it waits for the other";
  Answer(2, "no", v1::ChildAnswer::STATUS_CRASHED);
  Answer(2, "again");
  AwaitSaid(2);  // by the task itself, if it said that it waits and does not wait yet
  EXPECT_THAT(harness_->said(), ElementsAre("task 0 of 5 waits", "task 0 of 5 could go on"));
  EXPECT_FALSE(harness_->pool().IsIdle());
  harness_->pool().calls().OnResumed(AssignmentId(kHeld), 0);
  EXPECT_EQ(Result(), "2:no;0:1;");
  EXPECT_EQ(harness_->said().size(), 2u) << "the first answer was there";
}

TEST_F(ChildCallsTest, ATaskThatIsAskedToStopWaitsNoLonger) {
  Start([](const haul_call& call) {
    const std::uint64_t number = Submit(call, "");
    Wait(call, number);
    return Wait(call, number);
  });
  AwaitSaid(1);
  harness_->pool().StopSome(AssignmentId(kHeld), {0, 1}, StopReason::kCancelled);
  EXPECT_EQ(Result(), "7:;7:;");
  Answer(1, "late");
  harness_->pool().calls().OnResumed(AssignmentId(kHeld), 0);
  EXPECT_EQ(harness_->said().size(), 1u);
}

TEST_F(ChildCallsTest, ATaskThatWaitsGoesOnBeforeItsWatcherIsTold) {
  Gate went_on;
  Start([&](const haul_call& call) {
    call.host->watch_stop(
        call.task, [](void* gate) { static_cast<Gate*>(gate)->Pass(); }, &went_on);
    Wait(call, Submit(call, ""));
    went_on.Open();
    call.host->watch_stop(call.task, nullptr, nullptr);
    return 0;
  });
  AwaitSaid(1);
  harness_->pool().StopSome(AssignmentId(kHeld), {0, 1}, StopReason::kCancelled);
  EXPECT_EQ(Result(), "7:;");
}

TEST_F(ChildCallsTest, WhenAllOfAnAssignmentIsStoppedToo) {
  Start([](const haul_call& call) { return Wait(call, Submit(call, "")); });
  AwaitSaid(1);
  harness_->pool().StopTasks(AssignmentId(kHeld));
  EXPECT_EQ(Result(), "7:;");
}

TEST_F(ChildCallsTest, WhatWasNotCalledOrIsTakenHasNoAnswer) {
  Start([](const haul_call& call) {
    Wait(call, 3);
    const std::uint64_t number = Submit(call, "");
    Wait(call, number);
    return Wait(call, number);
  });
  AwaitSaid(1);
  Answer(1, "x");
  harness_->pool().calls().OnResumed(AssignmentId(kHeld), 0);
  EXPECT_THAT(Result(), testing::AllOf(HasSubstr("6:this task has no call 3"), HasSubstr(";0:x;"),
                                       HasSubstr("6:this task has no call 1")));
}

TEST_F(ChildCallsTest, CallsWithoutAnAnswerAreLimited) {
  Start([](const haul_call& call) {
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i <= ChildCalls::kMostCalls; ++i) last = Submit(call, "");
    return Wait(call, last);
  });
  EXPECT_EQ(Result(), "6:10000 calls of this task have no answer yet;");
  EXPECT_EQ(harness_->calls().size(), ChildCalls::kMostCalls);
}

TEST_F(ChildCallsTest, SoAreTheirArgumentsUntilTheTaskEnds) {
  Start(
      [](const haul_call& call) {
        const std::string piece(ChildCalls::kMostArgumentBytes, 'x');
        for (std::size_t bytes = 0; bytes < ChildCalls::kMostCallBytes; bytes += piece.size()) {
          Submit(call, piece);
        }
        Wait(call, Submit(call, piece + "y"));
        return Wait(call, Submit(call, "y"));
      },
      1, {.threads = 1});
  EXPECT_THAT(
      Result(),
      testing::AllOf(HasSubstr("6:arguments of 4194305 bytes; the limit is 4194304;"),
                     HasSubstr("6:the arguments of calls without an answer have 67108865 ")));
  harness_->pool().Run(PoolHarness::MakeRun(kHeld, "parent", {1, 1}, 1));
  harness_->WaitUntilIdle();
  EXPECT_EQ(harness_->calls().size(), 32u) << "those of the task before count no more";
}

TEST_F(ChildCallsTest, SoAreTasksThatWaitSinceTheyKeepTheirThreads) {
  std::atomic<TaskIndex> busy = 0;
  Gate later;
  Start(
      [&](const haul_call& call) {
        const std::uint64_t number = Submit(call, "");
        Wait(call, number);
        if (call.host->stop_requested(call.task) != 0) return 0;
        busy = call.task_index;
        later.Pass();
        return Wait(call, number);
      },
      3, {.threads = 3, .thread_limit = 4});
  later.WaitForArrivals(1);
  Answer(1, "x", v1::ChildAnswer::STATUS_RESULT, busy);
  later.Open();
  harness_->WaitFor([&] { return harness_->outcomes(kHeld).size() == 1; });
  harness_->pool().StopTasks(AssignmentId(kHeld));
  EXPECT_EQ(Result(),
            "8:2 tasks of this process wait for their calls, which is the limit; the call "
            "itself goes on;0:x;");
  EXPECT_EQ(harness_->said().size(), 2u);
}

}  // namespace
}  // namespace haul::executor
