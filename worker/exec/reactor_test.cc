#include "worker/exec/reactor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "common/time.h"

namespace haul::exec {
namespace {

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(fd.data(), O_CLOEXEC | O_NONBLOCK), 0); }
  ~Pipe() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  int reader() const { return fd[0]; }
  void Put() const { EXPECT_EQ(::write(fd[1], "x", 1), 1); }
  void Take() const {
    char byte = 0;
    EXPECT_EQ(::read(fd[0], &byte, 1), 1);
  }
  std::array<int, 2> fd{};
};

std::int64_t In(std::int64_t us) { return ReadClocks().monotonic_us + us; }

TEST(ReactorTest, HandlesWhatIsReadableUntilUnwatched) {
  Reactor reactor;
  const Pipe pipe;
  int handled = 0;
  ASSERT_TRUE(reactor.Watch(pipe.reader(), EPOLLIN, [&](std::uint32_t events) {
    EXPECT_TRUE(events & EPOLLIN);
    pipe.Take();
    ++handled;
  }));
  pipe.Put();
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(handled, 1);
  pipe.Put();
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(handled, 2);
  pipe.Put();
  reactor.Modify(pipe.reader(), 0);
  reactor.RunOnce(0);
  reactor.Unwatch(pipe.reader());
  reactor.RunOnce(0);
  EXPECT_EQ(handled, 2);
}

TEST(ReactorTest, AHandlerMayUnwatchItselfAndOthersOfTheSameTurn) {
  Reactor reactor;
  const Pipe a;
  const Pipe b;
  int handled = 0;
  const auto handler = [&](std::uint32_t) {
    ++handled;
    reactor.Unwatch(a.reader());
    reactor.Unwatch(b.reader());
  };
  ASSERT_TRUE(reactor.Watch(a.reader(), EPOLLIN, handler));
  ASSERT_TRUE(reactor.Watch(b.reader(), EPOLLIN, handler));
  a.Put();
  b.Put();
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(handled, 1);
}

TEST(ReactorTest, AReusedDescriptorDoesNotGetItsPredecessorsEvents) {
  Reactor reactor;
  const Pipe a;
  const Pipe b;
  int old_handled = 0;
  int new_handled = 0;
  const auto handler = [&](std::uint32_t) {
    ++old_handled;
    for (const Pipe* pipe : {&a, &b}) {
      reactor.Unwatch(pipe->reader());
      ASSERT_TRUE(reactor.Watch(pipe->reader(), 0, [&](std::uint32_t) { ++new_handled; }));
    }
  };
  ASSERT_TRUE(reactor.Watch(a.reader(), EPOLLIN, handler));
  ASSERT_TRUE(reactor.Watch(b.reader(), EPOLLIN, handler));
  a.Put();
  b.Put();
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(old_handled, 1);
  EXPECT_EQ(new_handled, 0);
}

TEST(ReactorTest, ARegularFileIsRefused) {
  Reactor reactor;
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(reactor.Watch(fd, EPOLLIN, [](std::uint32_t) {}));
  EXPECT_EQ(errno, EPERM);
  ::close(fd);
}

TEST(ReactorTest, TimersRunInOrderAndNotBeforeTheirTime) {
  Reactor reactor;
  std::vector<int> order;
  const std::int64_t due = In(3'000);
  reactor.AddTimer(due, [&] { order.push_back(2); });
  reactor.AddTimer(due - 1'000, [&] { order.push_back(1); });
  reactor.AddTimer(due, [&] { order.push_back(3); });
  const TimerId cancelled = reactor.AddTimer(due - 500, [&] { order.push_back(4); });
  reactor.CancelTimer(cancelled);
  reactor.CancelTimer(TimerId{});
  while (order.size() < 3) reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_GE(ReadClocks().monotonic_us, due);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(ReactorTest, ATimerThatAddsADueTimerDoesNotHoldTheTurn) {
  Reactor reactor;
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    reactor.AddTimer(0, again);
  };
  reactor.AddTimer(0, again);
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(runs, 1);
  reactor.RunOnce(Reactor::kNoDeadline);
  EXPECT_EQ(runs, 2);
}

TEST(ReactorTest, ReturnsAtTheDeadlineWhenNothingHappens) {
  Reactor reactor;
  const std::int64_t deadline = In(2'000);
  reactor.RunOnce(deadline);
  EXPECT_GE(ReadClocks().monotonic_us, deadline);
}

TEST(ReactorTest, WhatAThreadDidBeforeWakeIsSeen) {
  Reactor reactor;
  std::atomic<int> posted{0};
  int seen = 0;
  reactor.AddWakeHandler([&] { seen = posted.load(std::memory_order_relaxed); });
  std::thread thread([&] {
    for (int i = 1; i <= 10'000; ++i) {
      posted.store(i, std::memory_order_relaxed);
      reactor.Wake();
    }
  });
  while (seen < 10'000) reactor.RunOnce(Reactor::kNoDeadline);
  thread.join();
}

}  // namespace
}  // namespace haul::exec
