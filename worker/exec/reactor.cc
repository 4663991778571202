#include "worker/exec/reactor.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/check.h"
#include "common/time.h"

namespace haul::exec {
namespace {

constexpr std::int64_t kMicrosPerSecond = 1'000'000;

std::uint64_t PackKey(int fd, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
}

}  // namespace

Reactor::Reactor()
    : epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  HAUL_CHECK(epoll_fd_ >= 0 && wake_fd_ >= 0);
  HAUL_CHECK(Watch(wake_fd_, EPOLLIN, [this](std::uint32_t) { OnWake(); }));
}

Reactor::~Reactor() {
  ::close(wake_fd_);
  ::close(epoll_fd_);
}

bool Reactor::Watch(int fd, std::uint32_t events, Handler handler) {
  HAUL_CHECK(fd >= 0);
  const auto index = static_cast<std::size_t>(fd);
  if (index >= watched_.size()) watched_.resize(std::max(index + 1, watched_.size() * 2));
  Watched& watched = watched_[index];
  HAUL_CHECK(!watched.active);
  epoll_event event{};
  event.events = events;
  event.data.u64 = PackKey(fd, watched.generation + 1);
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  ++watched.generation;
  watched.active = true;
  watched.handler = std::move(handler);
  return true;
}

void Reactor::Modify(int fd, std::uint32_t events) {
  const Watched& watched = watched_.at(static_cast<std::size_t>(fd));
  HAUL_CHECK(watched.active);
  epoll_event event{};
  event.events = events;
  event.data.u64 = PackKey(fd, watched.generation);
  HAUL_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void Reactor::Unwatch(int fd) {
  Watched& watched = watched_.at(static_cast<std::size_t>(fd));
  HAUL_CHECK(watched.active);
  HAUL_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr) == 0);
  watched.active = false;
  watched.handler = nullptr;
}

TimerId Reactor::AddTimer(std::int64_t deadline_monotonic_us, std::function<void()> handler) {
  const TimerId timer{deadline_monotonic_us, next_timer_++};
  timers_.emplace(std::pair(timer.deadline_monotonic_us, timer.number), std::move(handler));
  return timer;
}

void Reactor::CancelTimer(TimerId timer) {
  timers_.erase(std::pair(timer.deadline_monotonic_us, timer.number));
}

std::uint64_t Reactor::AddWakeHandler(std::function<void()> handler) {
  wake_handlers_.emplace(next_wake_handler_, std::move(handler));
  return next_wake_handler_++;
}

void Reactor::RemoveWakeHandler(std::uint64_t number) { wake_handlers_.erase(number); }

void Reactor::RunOnce(std::int64_t deadline_monotonic_us) {
  if (!timers_.empty()) {
    deadline_monotonic_us = std::min(deadline_monotonic_us, timers_.begin()->first.first);
  }
  std::array<epoll_event, kEventsPerTurn> events;  // NOLINT(*-member-init): Wait fills it
  const int count = Wait(events.data(), deadline_monotonic_us);
  for (int i = 0; i < count; ++i) Dispatch(events[static_cast<std::size_t>(i)]);
  if (!timers_.empty()) RunTimers();
}

// Microseconds where the kernel has epoll_pwait2 (5.11); otherwise milliseconds, rounded up so that
// a turn never ends before its deadline and spins.
int Reactor::Wait(epoll_event* events, std::int64_t deadline_monotonic_us) {
  std::int64_t wait_us = -1;
  if (deadline_monotonic_us == 0) {
    wait_us = 0;
  } else if (deadline_monotonic_us != kNoDeadline) {
    wait_us = std::max<std::int64_t>(0, deadline_monotonic_us - ReadClocks().monotonic_us);
  }
  int count = -1;
  if (has_pwait2_) {
    timespec timeout{};
    timeout.tv_sec = wait_us / kMicrosPerSecond;
    timeout.tv_nsec = (wait_us % kMicrosPerSecond) * 1000;
    count = ::epoll_pwait2(epoll_fd_, events, kEventsPerTurn, wait_us < 0 ? nullptr : &timeout,
                           nullptr);
    // EPERM is what a container's system call filter answers for a call it does not know.
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) has_pwait2_ = false;
  }
  if (!has_pwait2_) {
    constexpr std::int64_t kMostMs = 1'000'000;
    const auto wait_ms = wait_us < 0 ? -1 : std::min((wait_us + 999) / 1000, kMostMs);
    count = ::epoll_wait(epoll_fd_, events, kEventsPerTurn, static_cast<int>(wait_ms));
  }
  HAUL_CHECK(count >= 0 || errno == EINTR);
  return std::max(count, 0);
}

void Reactor::Dispatch(const epoll_event& event) {
  const auto index = static_cast<std::size_t>(event.data.u64 & 0xffffffffu);
  const auto generation = static_cast<std::uint32_t>(event.data.u64 >> 32);
  const auto current = [&] {
    return watched_[index].active && watched_[index].generation == generation;
  };
  if (!current()) return;  // an earlier handler of this turn unwatched it
  // Out of the table for the call: the handler may unwatch itself, or make the table grow.
  Handler handler = std::move(watched_[index].handler);
  handler(event.events);
  if (current()) watched_[index].handler = std::move(handler);
}

void Reactor::RunTimers() {
  const std::int64_t now_us = ReadClocks().monotonic_us;
  const std::uint64_t end_number = next_timer_;
  auto it = timers_.begin();
  while (it != timers_.end() && it->first.first <= now_us) {
    if (it->first.second >= end_number) {
      ++it;  // added by a timer of this turn: left for the next, so that a turn ends
      continue;
    }
    const std::function<void()> handler = std::move(it->second);
    timers_.erase(it);
    handler();
    it = timers_.begin();
  }
}

void Reactor::OnWake() {
  std::uint64_t value = 0;
  HAUL_CHECK(::read(wake_fd_, &value, sizeof value) == sizeof value);
  // An exchange, not a store: it makes visible what a thread did before a Wake() that found the
  // flag set.
  woken_.exchange(false, std::memory_order_acq_rel);
  // By number: a handler may add and remove some.
  for (auto it = wake_handlers_.begin(); it != wake_handlers_.end();) {
    const std::uint64_t number = it->first;
    const std::function<void()> handler = it->second;
    handler();
    it = wake_handlers_.upper_bound(number);
  }
}

void Reactor::Wake() {
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  HAUL_CHECK(::write(wake_fd_, &one, sizeof one) == sizeof one);
}

}  // namespace haul::exec
