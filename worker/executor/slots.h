// What an executor's threads are running, in memory that its worker shares: so that the worker
// knows after the executor's death whom to suspect, and while it lives which task is over its time
// and how far each has come.
//
// The file behind descriptor 4: SlotTable, then kSlotLimit Slots, in the byte order and with the
// atomics of this machine; both sides come from the same build, and the version catches what does
// not. Each slot is written by one thread of the executor and read by the worker, except that a
// signal handler may write its own thread's. A slot that is read while its executor lives may
// change at any time: see Slots::Read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "common/ids.h"

namespace haul::executor {

constexpr std::uint32_t kSlotLimit = 1024;
constexpr std::uint32_t kSlotVersion = 2;
constexpr int kControlFd = 3;
constexpr int kSlotsFd = 4;

enum class SlotState : std::uint32_t {
  kIdle = 0,
  kRunning = 1,
  kSignalled = 2,  // this thread took `signal`, and the executor dies of it
  kExiting = 3,    // this thread called exit()
};

// All zero at first. Release stores keep the order that Slots::Read rests on, and are plain moves
// on x86; after the executor's death all its stores are visible anyhow.
struct alignas(64) Slot {
  std::atomic<std::uint32_t> state;
  std::atomic<std::int32_t> signal;
  std::atomic<std::uint64_t> assignment;
  std::atomic<std::uint64_t> task;
  // When the running task is over its time, monotonic; 0: it has no limit, or is just changing.
  std::atomic<std::int64_t> deadline_us;
  // How much of the running task is done, by its own word; 0: it has not said.
  std::atomic<std::uint32_t> permille;
};
static_assert(sizeof(Slot) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);

struct SlotTable {
  std::uint32_t version;
  std::uint32_t slot_bytes;
  std::uint32_t slot_count;
  std::atomic<std::uint32_t> used;  // slots from here on were never used
};

// What a slot says.
struct SlotReading {
  SlotState state = SlotState::kIdle;
  int signal = 0;
  AssignmentId assignment;
  TaskIndex task = 0;
  std::int64_t deadline_us = 0;
  std::uint32_t permille = 0;
};

// Maps the file; unmaps it at the end. Does not own the descriptor.
class Slots {
 public:
  // A new file, with close-on-exec. The caller closes the descriptor.
  static absl::StatusOr<int> MakeFile();
  // Both sides. FAILED_PRECONDITION if the file is not as this version has it.
  static absl::StatusOr<Slots> Map(int fd);

  Slots(Slots&& other) noexcept;
  Slots& operator=(Slots&&) = delete;
  ~Slots();

  // The executor's side. i < kSlotLimit.
  Slot& at(std::uint32_t i) { return slots()[i]; }
  void SetUsed(std::uint32_t count) { table_->used.store(count, std::memory_order_relaxed); }

  // The worker's side.
  std::uint32_t used() const;
  // Nothing if the slot is idle, or was changing.
  std::optional<SlotReading> Read(std::uint32_t i) const;

 private:
  explicit Slots(void* memory) : table_(static_cast<SlotTable*>(memory)) {}
  Slot* slots() const;

  SlotTable* table_;
};

// Before a thread's first task of an assignment, with all of them not running. Its own thread.
inline void EnterSlot(Slot& slot, AssignmentId assignment, TaskIndex task) {
  slot.deadline_us.store(0, std::memory_order_relaxed);
  slot.permille.store(0, std::memory_order_relaxed);
  slot.assignment.store(assignment.value(), std::memory_order_release);
  slot.task.store(task, std::memory_order_release);
  slot.state.store(static_cast<std::uint32_t>(SlotState::kRunning), std::memory_order_release);
}
// The next task of the same assignment.
inline void MoveSlot(Slot& slot, TaskIndex task) {
  slot.permille.store(0, std::memory_order_relaxed);
  slot.task.store(task, std::memory_order_release);
}
// A task with a limit: between two tasks the deadline is 0, so that no reader takes one for the
// other.
inline void MoveSlot(Slot& slot, TaskIndex task, std::int64_t deadline_us) {
  slot.deadline_us.store(0, std::memory_order_release);
  slot.permille.store(0, std::memory_order_relaxed);
  slot.task.store(task, std::memory_order_release);
  slot.deadline_us.store(deadline_us, std::memory_order_release);
}
inline void LeaveSlot(Slot& slot) {
  slot.deadline_us.store(0, std::memory_order_release);
  slot.state.store(static_cast<std::uint32_t>(SlotState::kIdle), std::memory_order_release);
}

}  // namespace haul::executor
