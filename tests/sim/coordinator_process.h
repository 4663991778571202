// The coordinator's process in the simulation: the real core and the real queues of sessions, and
// around them the ordering rules of coordinator/loop and coordinator/rpc: events in, records to the
// store, effects out as soon as what they rest on is committed and not before, what gathers behind
// a write in one message. It can be killed at any step and be started again from the disk. One
// thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "coordinator/core/core.h"
#include "coordinator/core/session_queue.h"
#include "tests/sim/checkers.h"
#include "tests/sim/fake_store.h"
#include "tests/sim/figures.h"
#include "tests/sim/messages.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

class CoordinatorProcess {
 public:
  struct Wiring {
    std::function<void(SessionId, CoordinatorMessage)> send;
    std::function<void(SessionId, bool refused)> close;
    std::function<void(const coordinator::Effect&)> answer;
    std::function<void(const coordinator::JobAccepted&)> accepted;
    std::function<ProcessId(const std::string& incarnation)> process_of;
    std::function<bool()> faults;
    std::function<void()> died;
  };
  CoordinatorProcess(Timeline& timeline, Checkers& checkers, Figures& figures,
                     std::int64_t lease_us, Wiring wiring);

  void Start();
  void KillSoon();  // within milliseconds, while there are faults
  void Kill();
  bool running() const { return core_ != nullptr; }
  // Everything that it decided is on the disk, and every effect has left.
  bool settled() const;
  const coordinator::State& state() const { return core_->state(); }
  std::uint64_t undecided_records() const { return appended_ - committed_; }

  // A worker's message, as coordinator/rpc takes it apart; and events of other origin.
  void Receive(SessionId session, const WorkerMessage& message);
  void SessionClosed(SessionId session);
  void Deliver(const coordinator::Event& event);

  void StandStill(std::int64_t duration_us);
  void JumpWallClock(std::int64_t by_us) { wall_clock_offset_us_ += by_us; }
  void SlowDisk(std::int64_t duration_us) { store_.Slow(duration_us); }
  // At the end: what the disk gives back is what is in memory.
  void CheckReplay();

 private:
  // Of a connected worker: what waits, and the message that is written next.
  struct Session {
    coordinator::SessionQueue queue;
    bool is_looked_at_later = false;
    CoordinatorMessage bundle;
    bool bundle_used = false;
    bool writing = false;
  };

  std::unique_ptr<coordinator::Core> Recover(std::uint64_t epoch);
  coordinator::Event Fenced(const coordinator::TasksFinished& event) const;
  void TakeInbox();
  void TurnSoon();
  void Turn();
  void Tick();
  void Step(const coordinator::Event& event);
  void TakeRecord(const coordinator::StepResult::Durable& durable, const coordinator::Event& event);
  void OnDisk(const coordinator::DurableRecord& record);
  void OnCommit(coordinator::RecordSequence through);
  void Queue(const coordinator::Effect& effect);
  void Flush(SessionId session);
  void Say(Session& session, const coordinator::Effect& effect);
  void Write(SessionId session);
  void CheckNobodyStarves();
  Now Clocks() const;

  Timeline& timeline_;
  Checkers& checkers_;
  Figures& figures_;
  const std::int64_t lease_us_;
  const Wiring wiring_;
  FakeStore store_;

  std::unique_ptr<coordinator::Core> core_;
  std::map<SessionId, Session> sessions_;
  std::deque<coordinator::Effect> waiting_;  // those of no session
  std::deque<std::function<void()>> inbox_;  // what came while it stands still or does not read
  bool unread_ = false;                      // until the next turn, since the disk is behind
  coordinator::RecordSequence committed_ = 0;
  coordinator::RecordSequence appended_ = 0;
  std::uint64_t generation_ = 0;
  bool turn_planned_ = false;
  std::int64_t stands_still_until_us_ = 0;
  std::int64_t wall_clock_offset_us_ = 0;
  std::uint64_t epoch_ = 0;
  std::map<WorkerId, ProcessId> members_;
  std::map<JobId, std::int64_t> unserved_since_us_;
};

}  // namespace haul::sim
