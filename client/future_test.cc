// What futures leave with the tasks that they wait for.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "haul/executor.h"

namespace haul {
namespace {

using std::chrono::nanoseconds;

class FutureTest : public ::testing::Test {
 protected:
  // What is to be run then.
  std::vector<std::function<void()>> End(internal::Task& task) {
    std::vector<std::function<void()>> to_run;
    const std::lock_guard lock(board_->mutex);
    task.End({}, to_run);
    return to_run;
  }
  std::shared_ptr<internal::Board> board_ = std::make_shared<internal::Board>();
  std::shared_ptr<internal::Task> task_ = std::make_shared<internal::Task>(board_, 0);
};

TEST_F(FutureTest, WaitsThatAreOverLeaveNothingBehind) {
  const std::vector<Future<void>> futures = {Future<void>(task_)};
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(Wait(futures, kFirstCompleted, nanoseconds(0)).pending.size(), 1u);
  }
  EXPECT_LE(End(*task_).size(), 1u);
}

TEST_F(FutureTest, AllWhoStillWaitAreToldOfTheEnd) {
  const std::vector<Future<void>> futures = {Future<void>(task_)};
  CompletedFutures<void> one = AsCompleted(futures);
  CompletedFutures<void> other = AsCompleted(futures);
  for (const std::function<void()>& fn : End(*task_)) fn();
  EXPECT_TRUE(one.Next()->done());
  EXPECT_TRUE(other.Next()->done());
  EXPECT_EQ(other.Next(), nullptr);
  EXPECT_TRUE(AsCompleted(futures).Next() != nullptr) << "it ended before";
}

}  // namespace
}  // namespace haul
