// Hundreds of workers in one process: each has the real session (worker/rpc) with a connection of
// its own, and only pretends to run what it is given, until it is told that tasks may end. For what
// many workers do to a coordinator.
//
// One thread runs them all; the methods may be called by any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "worker/exec/reactor.h"

namespace haul::chaos {

class LightWorker;

class LightWorkers {
 public:
  // `count` workers "light-0" … of one cpu each connect.
  LightWorkers(const std::string& address, const std::string& token, int count);
  ~LightWorkers();
  LightWorkers(const LightWorkers&) = delete;
  LightWorkers& operator=(const LightWorkers&) = delete;

  // Every task that they hold or get from now on succeeds at once.
  void LetTasksEnd() {
    tasks_may_end_ = true;
    reactor_.Wake();
  }

  struct Totals {
    int welcome = 0;                   // have a coordinator now
    std::uint64_t epoch = 0;           // least of those that their coordinators named
    std::uint64_t welcomes = 0;        // so far
    std::uint64_t renamed = 0;         // welcomes by another id than before: it had been expired
    std::uint64_t dropped = 0;         // assignments that welcomes took away
    std::uint64_t held_tasks = 0;      // not ended
    std::uint64_t refused = 0;         // for good
    std::int64_t last_welcome_us = 0;  // monotonic
  };
  Totals totals() const;
  // How often each (job, task) was given to a worker.
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> Starts() const;

 private:
  friend class LightWorker;
  void Run();

  exec::Reactor reactor_;
  std::atomic<bool> tasks_may_end_{false};
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> starts_;
  std::vector<std::unique_ptr<LightWorker>> workers_;

  std::thread thread_;
};

}  // namespace haul::chaos
