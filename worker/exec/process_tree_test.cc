#include "worker/exec/process_tree.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

namespace haul::exec {
namespace {

// What another thread started is not told of with the first thread's: as good as not told at all.
TEST(ProcessTreeTest, NoneIsLeftWhenTheKernelSaysSoAndNotWhenNoneIsFound) {
  std::promise<pid_t> started;
  std::promise<void> looked;
  std::thread other([&] {
    const pid_t pid = ::fork();
    if (pid == 0) {
      while (true) ::pause();
    }
    started.set_value(pid);
    looked.get_future().wait();
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  });
  EXPECT_GT(started.get_future().get(), 0);
  const auto spare_none = [](pid_t) { return false; };
  EXPECT_TRUE(ChildrenAreTold());
  EXPECT_TRUE(KillChildren(spare_none, std::chrono::seconds(0)));
  EXPECT_FALSE(KillChildren(/*spare=*/{}, std::chrono::seconds(0)));
  looked.set_value();
  other.join();
  EXPECT_TRUE(KillChildren(/*spare=*/{}, std::chrono::seconds(0)));
}

}  // namespace
}  // namespace haul::exec
