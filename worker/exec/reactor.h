// One thread's epoll and timers: everything the worker's loop waits for in the kernel passes here.
//
// Owned and driven by the loop thread; every method but Wake() is called on it, also from within
// handlers. A watched descriptor stays its owner's: Unwatch it before closing it.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"

namespace haul::exec {

// Names a timer; the default names none.
struct TimerId {
  std::int64_t deadline_monotonic_us = 0;
  std::uint64_t number = 0;
};

class Reactor {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  static constexpr std::int64_t kNoDeadline = std::numeric_limits<std::int64_t>::max();
  static constexpr int kEventsPerTurn = 256;

  Reactor();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Calls `handler` with what happened of `events` (EPOLLIN, …; EPOLLERR and EPOLLHUP always) until
  // Unwatch. False, with errno, where epoll refuses the descriptor: a regular file (EPERM), ENOSPC,
  // ENOMEM.
  [[nodiscard]] bool Watch(int fd, std::uint32_t events, Handler handler);
  void Modify(int fd, std::uint32_t events);
  // After this the handler is not called again, not even for what this turn has already found.
  void Unwatch(int fd);

  // Calls `handler` once, at the first turn at or after the deadline.
  TimerId AddTimer(std::int64_t deadline_monotonic_us, std::function<void()> handler);
  // Of a timer that has run, or of none: no effect.
  void CancelTimer(TimerId timer);

  // Calls `handler` in the turn after each Wake(), until it is removed; many wakes may become one
  // call.
  std::uint64_t AddWakeHandler(std::function<void()> handler);
  void RemoveWakeHandler(std::uint64_t number);

  // One turn: waits until something happens, a timer is due, or the deadline; handles up to
  // kEventsPerTurn events, then the timers that are due. kNoDeadline: waits as long as it takes; 0:
  // does not wait.
  void RunOnce(std::int64_t deadline_monotonic_us);

  // Ends the wait of the present or next turn. Any thread.
  void Wake();

 private:
  struct Watched {
    std::uint32_t generation = 0;  // tells a descriptor from an earlier one of the same number
    bool active = false;
    Handler handler;
  };

  int Wait(epoll_event* events, std::int64_t deadline_monotonic_us);
  void Dispatch(const epoll_event& event);
  void RunTimers();
  void OnWake();

  const int epoll_fd_;
  const int wake_fd_;
  bool has_pwait2_ = true;
  std::atomic<bool> woken_{false};
  std::uint64_t next_wake_handler_ = 1;
  absl::btree_map<std::uint64_t, std::function<void()>> wake_handlers_;
  std::vector<Watched> watched_;  // by descriptor
  std::uint64_t next_timer_ = 1;
  absl::btree_map<std::pair<std::int64_t, std::uint64_t>, std::function<void()>> timers_;
};

}  // namespace haul::exec
