#include "tests/sim/figures.h"

#include <iomanip>
#include <numeric>

#include "common/check.h"

namespace haul::sim {

const char* NameOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kCoordinatorKilled:
      return "coordinator killed";
    case FaultKind::kCoordinatorKilledInRecovery:
      return "killed in recovery";
    case FaultKind::kCoordinatorStoodStill:
      return "coordinator stood still";
    case FaultKind::kDiskSlow:
      return "disk slow";
    case FaultKind::kClockJumped:
      return "wall clock jumped";
    case FaultKind::kWorkerKilled:
      return "worker killed";
    case FaultKind::kWorkerKilledWithCertificate:
      return "killed, with certificate";
    case FaultKind::kWorkerFrozen:
      return "worker frozen";
    case FaultKind::kWorkerDoubled:
      return "worker doubled";
    case FaultKind::kExecutorKilled:
      return "executor killed";
    case FaultKind::kConnectionBroken:
      return "connection broken";
    case FaultKind::kDirectionStalled:
      return "one direction stalled";
    case FaultKind::kMessageRepeated:
      return "message repeated";
    case FaultKind::kWorkerDrained:
      return "worker drained";
    case FaultKind::kWorkerStopped:
      return "worker stopped";
  }
  HAUL_UNREACHABLE("all kinds are above");
}

const char* NameOf(TaskState state) {
  switch (state) {
    case TaskState::kAwaitingAdoption:
      return "awaits";
    case TaskState::kReady:
      return "ready";
    case TaskState::kInFlight:
      return "in flight";
    case TaskState::kPending:
      return "pending";
    case TaskState::kRunning:
      return "running";
    case TaskState::kUploading:
      return "uploading";
    case TaskState::kOwed:
      return "owed";
    case TaskState::kSaid:
      return "said";
    case TaskState::kUncommitted:
      return "decided";
    case TaskState::kEnded:
      return "ended";
  }
  HAUL_UNREACHABLE("all states are above");
}

std::uint64_t Figures::fault_count() const {
  return std::accumulate(faults.begin(), faults.end(), std::uint64_t{0});
}

Figures& Figures::operator+=(const Figures& other) {
  seeds += other.seeds;
  steps += other.steps;
  core_steps += other.core_steps;
  jobs += other.jobs;
  starts += other.starts;
  repeated_starts += other.repeated_starts;
  adopted += other.adopted;
  simulated_us += other.simulated_us;
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    faults[kind] += other.faults[kind];
    for (std::size_t state = 0; state < kTaskStates; ++state) {
      met[kind][state] += other.met[kind][state];
    }
  }
  return *this;
}

std::ostream& operator<<(std::ostream& out, const Figures& figures) {
  return out << figures.seeds << " seeds, " << figures.simulated_us / 1'000'000 << " s simulated ("
             << figures.simulated_us / 3'600'000'000 << " h), " << figures.fault_count()
             << " faults; " << figures.jobs << " jobs, " << figures.starts << " starts ("
             << figures.repeated_starts << " repeated), " << figures.adopted
             << " assignments adopted; " << figures.steps << " steps, " << figures.core_steps
             << " of the coordinator's core";
}

void PrintCoverage(std::ostream& out, const Figures& figures) {
  constexpr int kName = 26, kColumn = 10;
  out << std::left << std::setw(kName) << "fault" << std::right << std::setw(kColumn) << "times";
  for (std::size_t state = 0; state < kTaskStates; ++state) {
    out << std::setw(kColumn) << NameOf(static_cast<TaskState>(state));
  }
  out << "\n";
  std::size_t covered = 0;
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    out << std::left << std::setw(kName) << NameOf(static_cast<FaultKind>(kind)) << std::right
        << std::setw(kColumn) << figures.faults[kind];
    for (const std::uint64_t times : figures.met[kind]) {
      out << std::setw(kColumn) << times;
      if (times > 0) ++covered;
    }
    out << "\n";
  }
  out << covered << " of " << kFaultKinds * kTaskStates
      << " pairs of fault and task state were met\n";
}

}  // namespace haul::sim
