// A whole cluster in one thread and in simulated time: the coordinator's real core, a store that
// commits late, connections that break, workers and clients that come and go. One seed, one
// history.
//
// First faults: the coordinator is killed at any step, stands still, its wall clock jumps;
// connections break and messages in them are lost; workers die, are replaced, fall silent, return
// too late, repeat what they said, are drained and stopped; clients repeat their submits. Then no
// more faults, until everything has ended. The core's invariants are checked after every step, the
// promises by checkers.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/core.h"
#include "tests/sim/checkers.h"
#include "tests/sim/fake_store.h"
#include "tests/sim/model_worker.h"
#include "tests/sim/planted_bug.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

struct Figures {
  std::uint64_t steps = 0;  // of the world
  std::uint64_t core_steps = 0;
  std::uint64_t jobs = 0;
  std::uint64_t starts = 0;
  std::uint64_t repeated_starts = 0;
  std::uint64_t coordinator_kills = 0;
  std::uint64_t kills_while_adopting = 0;
  std::uint64_t worker_deaths = 0;
  std::uint64_t broken_connections = 0;
  std::uint64_t adopted = 0;  // assignments
  std::uint64_t simulated_us = 0;

  Figures& operator+=(const Figures& other);
};
std::ostream& operator<<(std::ostream& out, const Figures& figures);

struct Result {
  std::vector<std::string> violations;
  std::uint64_t trace_hash = 0;
  Figures figures;
};
// `trace`, if any, gets what happens, line by line.
Result RunSeed(std::uint64_t seed, PlantedBug bug = PlantedBug::kNone,
               std::ostream* trace = nullptr);

class Sim {
 public:
  Sim(std::uint64_t seed, PlantedBug bug, std::ostream* trace);
  Result Run();

 private:
  struct Connection {
    ModelWorker* worker = nullptr;
    std::int64_t last_up_us = 0;  // when the last message in it arrives: order is kept
    std::int64_t last_down_us = 0;
    bool broken = false;
  };
  struct Submission {
    JobTraits traits;
    JobId job;  // once answered
    bool cancel = false;
    bool forget = false;
    bool cancelled = false;
    bool forgotten = false;
  };
  struct Asked {
    enum class What : std::uint8_t { kSubmit, kCancel, kForget } what;
    std::size_t submission;
  };

  // coordinator_side.cc
  void StartCoordinator();
  void KillCoordinator();
  void Deliver(const coordinator::Event& event);
  void TakeInbox();
  void Step(const coordinator::Event& event);
  void TurnSoon();
  void Tick();
  void TakeRecord(const coordinator::StepResult::Durable& durable, const coordinator::Event& event);
  void OnDisk(const coordinator::DurableRecord& record);
  void OnCommit(coordinator::RecordSequence through);
  void Perform(const coordinator::Effect& effect);
  bool Answer(const coordinator::Effect& effect);
  coordinator::Event Rewritten(const coordinator::Event& event) const;
  bool running() const { return core_ != nullptr; }

  // sim.cc
  void StartWorker(std::size_t place);
  void Connect(ModelWorker& worker);
  void ConnectLater(ModelWorker& worker, std::int64_t max_us);
  void SendUp(SessionId session, coordinator::Event event);
  void SendDown(SessionId session, std::optional<coordinator::Effect> message);
  void Break(SessionId session);
  void KillWorker(std::size_t place);
  void Beat(ModelWorker& worker);
  void AddSubmission(std::size_t number);
  void TrySubmit(std::size_t number);
  void TryFollowUps(std::size_t number);
  void Ask(std::size_t number, Asked::What what);
  void Fault();
  void WorkerFault();
  bool AllEnded() const;
  Now Clocks() const;

  Timeline timeline_;
  const PlantedBug bug_;
  Checkers checkers_;
  FakeStore store_;
  Figures figures_;
  bool faults_ = true;

  // The coordinator's process.
  std::unique_ptr<coordinator::Core> core_;
  std::vector<coordinator::Effect> waiting_;
  coordinator::RecordSequence committed_ = 0;
  coordinator::RecordSequence appended_ = 0;
  std::uint64_t generation_ = 0;
  std::deque<coordinator::Event> inbox_;  // what came while it stands still
  bool turn_planned_ = false;
  std::int64_t stands_still_until_us_ = 0;
  std::int64_t wall_clock_offset_us_ = 0;
  std::uint64_t epoch_ = 0;
  std::map<WorkerId, ProcessId> members_;

  // The rest of the world.
  std::vector<std::unique_ptr<ModelWorker>> workers_;  // every process that ever was
  std::vector<ModelWorker*> places_;                   // the present one of each name
  std::map<SessionId, Connection> connections_;
  std::vector<Submission> submissions_;
  std::map<coordinator::RequestId, Asked> asked_;
  std::map<JobId, JobTraits> traits_;
  std::map<ProcessId, std::int64_t> silent_until_us_;
  std::uint64_t last_session_ = 0;
  std::uint64_t last_request_ = 0;
};

}  // namespace haul::sim
