// A whole cluster in one thread and in simulated time: the coordinator's and the workers' real
// cores, a store that commits late, connections that break, workers and clients that come and go.
// One seed, one history.
//
// First faults, of the kinds in figures.h, at any time; and clients that repeat their submits.
// Then no more faults, until everything has ended. The cores' invariants are checked after every
// step, the promises by checkers.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/clients.h"
#include "tests/sim/coordinator_process.h"
#include "tests/sim/figures.h"
#include "tests/sim/network.h"
#include "tests/sim/sim_worker.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

struct Result {
  std::vector<std::string> violations;
  std::uint64_t trace_hash = 0;
  Figures figures;
};
// `trace`, if any, gets what happens, line by line.
Result RunSeed(std::uint64_t seed, std::ostream* trace = nullptr);

class Sim {
 public:
  Sim(std::uint64_t seed, std::ostream* trace);
  Result Run();

 private:
  void StartWorker(std::size_t place);
  void StartWorkerLater(std::size_t place, std::int64_t max_us);
  void ConnectLater(SimWorker& worker, std::int64_t max_us);
  void OnWorkerEnded(const SimWorker& worker, std::size_t place);
  void ReportDeathLater(const SimWorker& worker);
  SimWorker::Uploaded Upload(AssignmentId assignment, JobId job, TaskIndex task);
  void OnCoordinatorDied();
  bool AllEnded() const;

  // faults.cc
  void PlanFault();
  void Fault();
  void CoordinatorFault();
  void KillCoordinatorLater(std::int64_t delay_us);
  void WorkerFault();
  void KillWorker(std::size_t place);
  void DoubleWorker(std::size_t place);
  void AskWorkerToEnd(const SimWorker& worker, bool at_once);
  std::int64_t DrainDeadlineUs();  // 0: none
  // Counts it, and which tasks it meets: of one worker or of all.
  void Count(FaultKind kind, const SimWorker* worker = nullptr);

  Timeline timeline_;
  Checkers checkers_;
  Figures figures_;
  bool faults_ = true;
  std::vector<std::unique_ptr<SimWorker>> workers_;  // every process that ever was
  std::vector<SimWorker*> places_;                   // the present one of each name
  Network network_;
  CoordinatorProcess coordinator_;
  Clients clients_;
};

}  // namespace haul::sim
