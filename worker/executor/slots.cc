#include "worker/executor/slots.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "absl/status/status.h"

namespace haul::executor {
namespace {

constexpr std::size_t kHeaderBytes = alignof(Slot);
static_assert(sizeof(SlotTable) <= kHeaderBytes);
constexpr std::size_t kFileBytes = kHeaderBytes + kSlotLimit * sizeof(Slot);

}  // namespace

absl::StatusOr<int> Slots::MakeFile() {
  const int fd = ::memfd_create("haul-slots", MFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  const SlotTable table{kSlotVersion, sizeof(Slot), kSlotLimit, {0}};
  if (::ftruncate(fd, kFileBytes) != 0 || ::pwrite(fd, &table, sizeof table, 0) != sizeof table) {
    const absl::Status status = absl::ErrnoToStatus(errno, "writing the slots' file");
    ::close(fd);
    return status;
  }
  return fd;
}

absl::StatusOr<Slots> Slots::Map(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, "fstat of the slots' file");
  if (info.st_size != static_cast<off_t>(kFileBytes)) {
    return absl::FailedPreconditionError("the slots' file has another size");
  }
  void* memory = ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap of the slots' file");
  Slots slots(memory);
  if (slots.table_->version != kSlotVersion || slots.table_->slot_bytes != sizeof(Slot) ||
      slots.table_->slot_count != kSlotLimit) {
    return absl::FailedPreconditionError("the slots' file is of another version");
  }
  return slots;
}

Slots::Slots(Slots&& other) noexcept : table_(std::exchange(other.table_, nullptr)) {}

Slots::~Slots() {
  if (table_ != nullptr) ::munmap(table_, kFileBytes);
}

Slot* Slots::slots() const {
  return std::launder(reinterpret_cast<Slot*>(reinterpret_cast<char*>(table_) + kHeaderBytes));
}

// The executor could write anything there: user code shares its memory.
std::uint32_t Slots::used() const {
  return std::min(table_->used.load(std::memory_order_relaxed), kSlotLimit);
}

std::optional<SlotReading> Slots::Read(std::uint32_t i) const {
  const Slot& slot = slots()[i];
  SlotReading reading;
  const std::uint32_t state = slot.state.load(std::memory_order_acquire);
  if (state == 0 || state > static_cast<std::uint32_t>(SlotState::kExiting)) return std::nullopt;
  reading.state = static_cast<SlotState>(state);
  reading.signal = slot.signal.load(std::memory_order_relaxed);
  reading.deadline_us = slot.deadline_us.load(std::memory_order_acquire);
  reading.permille = std::min(slot.permille.load(std::memory_order_acquire), 1000u);
  reading.assignment = AssignmentId(slot.assignment.load(std::memory_order_acquire));
  reading.task = slot.task.load(std::memory_order_acquire);
  // A reader that looks at a deadline must not pair it with another task: unchanged means that the
  // task has been the same all along, or that it began within the microsecond in which the one
  // before it ended.
  if (slot.deadline_us.load(std::memory_order_relaxed) != reading.deadline_us) return std::nullopt;
  // Likewise what another task said.
  if (slot.permille.load(std::memory_order_relaxed) < reading.permille) reading.permille = 0;
  return reading;
}

}  // namespace haul::executor
