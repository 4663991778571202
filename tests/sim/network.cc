#include "tests/sim/network.h"

#include <algorithm>
#include <utility>

namespace haul::sim {

SessionId Network::Open(SimWorker& worker) {
  const SessionId session(++last_session_);
  connections_[session] = {.worker = &worker, .coordinator = coordinator_};
  timeline_.Trace("connect", worker.process().value(), session.value());
  worker.Connect(session);
  return session;
}

void Network::SendUp(SessionId session, WorkerMessage message) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  std::int64_t& last = it->second.last_up_us;
  last = std::max(last, timeline_.now_us() + timeline_.Between(50, 5'000));
  timeline_.After(last - timeline_.now_us(), [this, session, message = std::move(message)] {
    const Connection& connection = connections_.at(session);
    if (connection.coordinator != coordinator_) return;
    if (connection.broken && timeline_.now_us() > connection.cut_up_us) return;
    checkers_.OnHeard(connection.worker->process());
    timeline_.Trace("worker says", connection.worker->process().value(), session.value(),
                    message.outcomes.size());
    wiring_.to_coordinator(session, message);
    if (message.goodbye && !connection.broken) Break(session);
  });
}

void Network::SendDown(SessionId session, CoordinatorMessage message) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  std::int64_t& last = it->second.last_down_us;
  last = std::max(last, timeline_.now_us() + timeline_.Between(50, 5'000));
  timeline_.After(last - timeline_.now_us(), [this, session, message = std::move(message)] {
    const Connection& connection = connections_.at(session);
    SimWorker& worker = *connection.worker;
    if (connection.broken || !worker.alive() || worker.session() != session) return;
    timeline_.Trace("worker hears", worker.process().value(), session.value(),
                    message.assignments.size());
    worker.Receive(message);
  });
}

void Network::Break(SessionId session) {
  const auto it = connections_.find(session);
  if (it != connections_.end()) Break(it->second, session, true);
}

void Network::BreakAll() {
  ++coordinator_;
  for (auto& [session, connection] : connections_) Break(connection, session, false);
}

void Network::Break(Connection& connection, SessionId session, bool coordinator_lives) {
  if (std::exchange(connection.broken, true)) return;
  SimWorker& worker = *connection.worker;
  timeline_.Trace("connection breaks", session.value(), worker.process().value());
  connection.cut_up_us =
      timeline_.now_us() + (timeline_.Chance(40) ? timeline_.Between(0, 8'000) : 0);
  timeline_.After(timeline_.Between(0, 100'000), [this, session, &worker] {
    if (worker.session() != session) return;
    worker.Disconnect();
    wiring_.worker_notices(worker);
  });
  if (!coordinator_lives) return;
  // It reads what came before it sees the end.
  const std::int64_t seen_us = timeline_.Chance(20) ? timeline_.Between(8'000, 2 * lease_us_)
                                                    : timeline_.Between(8'000, 200'000);
  timeline_.After(seen_us, [this, session, coordinator = coordinator_] {
    if (coordinator == coordinator_) wiring_.coordinator_notices(session);
  });
}

void Network::Close(SessionId session, bool refused) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  SimWorker* worker = it->second.worker;
  Break(session);
  if (!refused) return;
  timeline_.After(timeline_.Between(50, 5'000), [worker] { worker->Refuse(); });
}

void Network::Stall(SessionId session, bool up, std::int64_t duration_us) {
  const auto it = connections_.find(session);
  if (it == connections_.end() || it->second.broken) return;
  std::int64_t& last = up ? it->second.last_up_us : it->second.last_down_us;
  last = std::max(last, timeline_.now_us() + duration_us);
}

}  // namespace haul::sim
