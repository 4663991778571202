// The connections between workers and the coordinator. In one connection messages keep their order
// and come once; beyond that everything goes wrong: connections break with what is under way, of
// which a first part may still arrive, also after the worker has a new connection; each side
// notices in its own time; a direction stalls. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "tests/sim/messages.h"
#include "tests/sim/sim_worker.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

class Network {
 public:
  struct Wiring {
    std::function<void(SessionId, const WorkerMessage&)> to_coordinator;
    std::function<void(SessionId)> coordinator_notices;  // that it is broken
    std::function<void(SimWorker&)> worker_notices;
  };
  Network(Timeline& timeline, Checkers& checkers, std::int64_t lease_us, Wiring wiring)
      : timeline_(timeline), checkers_(checkers), lease_us_(lease_us), wiring_(std::move(wiring)) {}

  SessionId Open(SimWorker& worker);
  void SendUp(SessionId session, WorkerMessage message);
  void SendDown(SessionId session, CoordinatorMessage message);

  void Break(SessionId session);
  // The coordinator's process is gone, and with it what was on the way to it.
  void BreakAll();
  // By the coordinator. A refused worker is told so.
  void Close(SessionId session, bool refused);
  // What is sent from now on arrives only after that time, still in order.
  void Stall(SessionId session, bool up, std::int64_t duration_us);

 private:
  struct Connection {
    SimWorker* worker = nullptr;
    std::int64_t last_up_us = 0;  // when the last message in it arrives: order is kept
    std::int64_t last_down_us = 0;
    bool broken = false;
    std::int64_t cut_up_us = 0;  // of a broken one: what arrives later does not
    std::uint64_t coordinator = 0;
  };

  void Break(Connection& connection, SessionId session, bool coordinator_lives);

  Timeline& timeline_;
  Checkers& checkers_;
  const std::int64_t lease_us_;
  const Wiring wiring_;
  std::map<SessionId, Connection> connections_;
  std::uint64_t last_session_ = 0;
  std::uint64_t coordinator_ = 0;  // counts its processes
};

}  // namespace haul::sim
