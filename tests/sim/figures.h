// What a run of the simulation was made of: its size, its faults by kind, and which fault met tasks
// in which state. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>

namespace haul::sim {

enum class FaultKind : std::uint8_t {
  kCoordinatorKilled,
  kCoordinatorKilledInRecovery,
  kCoordinatorStoodStill,
  kDiskSlow,
  kClockJumped,
  kWorkerKilled,
  kWorkerKilledWithCertificate,
  kWorkerFrozen,
  kWorkerDoubled,  // a second one of its name while it stands still
  kExecutorKilled,
  kConnectionBroken,
  kDirectionStalled,
  kMessageRepeated,
  kWorkerDrained,
  kWorkerStopped,
};
inline constexpr std::size_t kFaultKinds = 15;
const char* NameOf(FaultKind kind);

enum class TaskState : std::uint8_t {
  kAwaitingAdoption,
  kReady,
  kInFlight,  // assigned, and not at its worker yet
  kPending,   // at its worker, not started
  kRunning,
  kUploading,    // ended, its large output on the way
  kOwed,         // ended, not said yet
  kSaid,         // said, and not known to be durable
  kUncommitted,  // its outcome is decided and not on the disk
  kEnded,
};
inline constexpr std::size_t kTaskStates = 10;
const char* NameOf(TaskState state);

struct Figures {
  std::uint64_t seeds = 0;
  std::uint64_t steps = 0;       // of the world
  std::uint64_t core_steps = 0;  // of the coordinator's
  std::uint64_t jobs = 0;
  std::uint64_t starts = 0;
  std::uint64_t repeated_starts = 0;
  std::uint64_t adopted = 0;  // assignments
  std::uint64_t simulated_us = 0;
  std::array<std::uint64_t, kFaultKinds> faults{};
  std::array<std::array<std::uint64_t, kTaskStates>, kFaultKinds> met{};

  void Count(FaultKind kind) { ++faults[static_cast<std::size_t>(kind)]; }
  void Met(FaultKind kind, TaskState state) {
    ++met[static_cast<std::size_t>(kind)][static_cast<std::size_t>(state)];
  }
  std::uint64_t of(FaultKind kind) const { return faults[static_cast<std::size_t>(kind)]; }
  std::uint64_t fault_count() const;
  Figures& operator+=(const Figures& other);
};
// One line.
std::ostream& operator<<(std::ostream& out, const Figures& figures);
// Faults by kind, and the pairs of fault and task state.
void PrintCoverage(std::ostream& out, const Figures& figures);

}  // namespace haul::sim
