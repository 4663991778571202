#include "worker/executor/slots.h"

#include <sys/mman.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace haul::executor {
namespace {

TEST(SlotsTest, BothSidesSeeTheSame) {
  const absl::StatusOr<int> fd = Slots::MakeFile();
  ASSERT_TRUE(fd.ok());
  absl::StatusOr<Slots> executor = Slots::Map(*fd);
  absl::StatusOr<Slots> worker = Slots::Map(*fd);
  ASSERT_TRUE(executor.ok() && worker.ok());
  ::close(*fd);
  EXPECT_EQ(worker->used(), 0u);
  EXPECT_FALSE(worker->Read(kSlotLimit - 1).has_value());

  executor->SetUsed(kSlotLimit);
  Slot& slot = executor->at(kSlotLimit - 1);
  EnterSlot(slot, AssignmentId(3), 10);
  MoveSlot(slot, 11, 500);
  EXPECT_EQ(worker->used(), kSlotLimit);
  std::optional<SlotReading> reading = worker->Read(kSlotLimit - 1);
  ASSERT_TRUE(reading.has_value());
  EXPECT_EQ(reading->state, SlotState::kRunning);
  EXPECT_EQ(reading->assignment, AssignmentId(3));
  EXPECT_EQ(reading->task, 11u);
  EXPECT_EQ(reading->deadline_us, 500);
  EXPECT_EQ(reading->permille, 0u);
  slot.permille = 250;
  EXPECT_EQ(worker->Read(kSlotLimit - 1)->permille, 250u);
  slot.permille = 123'456;  // user code shares the memory
  EXPECT_EQ(worker->Read(kSlotLimit - 1)->permille, 1000u);
  MoveSlot(slot, 12, 900);
  EXPECT_EQ(worker->Read(kSlotLimit - 1)->permille, 0u) << "that was of another task";

  MoveSlot(slot, 12);
  LeaveSlot(slot);
  EXPECT_FALSE(worker->Read(kSlotLimit - 1).has_value());
  // What was over its time is not taken for what comes next.
  EnterSlot(slot, AssignmentId(4), 1);
  reading = worker->Read(kSlotLimit - 1);
  ASSERT_TRUE(reading.has_value());
  EXPECT_EQ(reading->deadline_us, 0);
}

TEST(SlotsTest, AnotherFileIsRefused) {
  const int small = ::memfd_create("haul-test", MFD_CLOEXEC);
  ASSERT_GE(small, 0);
  EXPECT_FALSE(Slots::Map(small).ok());
  ::close(small);
  const absl::StatusOr<int> fd = Slots::MakeFile();
  ASSERT_TRUE(fd.ok());
  const std::uint32_t version = kSlotVersion + 1;
  ASSERT_EQ(::pwrite(*fd, &version, sizeof version, 0), ssize_t{sizeof version});
  EXPECT_FALSE(Slots::Map(*fd).ok());
  ::close(*fd);
  EXPECT_FALSE(Slots::Map(-1).ok());
}

}  // namespace
}  // namespace haul::executor
