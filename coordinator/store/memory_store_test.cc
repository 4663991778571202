// What the memory store promises beyond store.h: its bound, and that runs stay few.
#include "coordinator/store/memory_store.h"

#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Runs of one assignment, as a worker reports them.
AddOutcome Part(TaskIndex first, std::uint64_t count) {
  AddOutcome write = Ended(1, first, count);
  write.outcome.assignment = AssignmentId(1, 1);
  write.outcome.busy_ns = 10 * count;
  return write;
}

TEST(MemoryStoreTest, PastItsBoundItRefusesAndGoesOn) {
  MemoryStore store(100'000);
  ASSERT_TRUE(store.Recover().ok());
  ASSERT_TRUE(store.Commit(Writes(Job(1))).ok());
  const std::size_t before = store.bytes();
  EXPECT_GT(before, 0u);

  AddOutcome large = Ended(1, 5, 1);
  large.outcome.results = Pack({std::string(100'000, 'x')});
  EXPECT_EQ(store.Commit(Writes(Ended(1, 0, 5), large)).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store.bytes(), before) << "nothing of it";
  auto reader = *store.NewReader();
  EXPECT_THAT(reader->ReadOutcomes({.job = JobId(1)})->entries, IsEmpty());

  ASSERT_TRUE(store.Commit(Writes(Ended(1, 0, 5))).ok()) << "what fits";
  EXPECT_GT(store.bytes(), before);
}

TEST(MemoryStoreTest, WhatIsForgottenIsFree) {
  MemoryStore store(1 << 20);
  ASSERT_TRUE(store
                  .Commit(Writes(AppendInputs{InputSetId(1), 0, Pack({"a", "bb"})}, Job(1, 2, 1),
                                 Ended(1, 0, 2), AttemptsCharged{JobId(1), 0, 1, 0, false},
                                 AppendInputs{InputSetId(2), 0, Pack({"c"})}))
                  .ok());
  EXPECT_GT(store.bytes(), 0u);
  ASSERT_TRUE(store.Commit(Writes(JobForgotten{JobId(1)}, DropInputs{InputSetId(2)})).ok());
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(MemoryStoreTest, TenMillionTasksInRunsCostLittle) {
  MemoryStore store(1 << 20);
  ASSERT_TRUE(store.Commit(Writes(Job(1, 10'000'000))).ok());
  std::vector<Write> batch;
  for (TaskIndex first = 0; first < 10'000'000; first += 100) {
    batch.emplace_back(Part(first, 100));
    if (batch.size() < 500) continue;
    ASSERT_TRUE(store.Commit(batch).ok());
    batch.clear();
  }
  EXPECT_LT(store.bytes(), 10'000u);
  const auto page = (*store.NewReader())->ReadOutcomes({.job = JobId(1)});
  EXPECT_THAT(RangesOf(*page), ElementsAre(TaskRange{0, 10'000'000}));
  EXPECT_EQ(page->entries[0].outcome.busy_ns, 100'000'000u);
}

TEST(MemoryStoreTest, ACursorBringsTheRestOfARunThatGrew) {
  MemoryStore store(1 << 20);
  ASSERT_TRUE(store.Commit(Writes(Job(1), Ended(1, 500, 7), Part(0, 10))).ok());
  auto reader = *store.NewReader();
  const auto page = reader->ReadOutcomes({.job = JobId(1)});
  EXPECT_THAT(RangesOf(*page), ElementsAre(TaskRange{500, 7}, TaskRange{0, 10}));
  ASSERT_TRUE(store.Commit(Writes(Part(10, 30))).ok());
  const auto rest = reader->ReadOutcomes({.job = JobId(1), .cursor = page->next_cursor});
  EXPECT_THAT(RangesOf(*rest), ElementsAre(TaskRange{10, 30}));
  EXPECT_EQ(rest->entries[0].outcome.busy_ns, 300u);
  EXPECT_THAT(reader->ReadOutcomes({.job = JobId(1), .cursor = rest->next_cursor})->entries,
              IsEmpty());
  // From the start it is one.
  EXPECT_THAT(RangesOf(*reader->ReadOutcomes({.job = JobId(1)})),
              ElementsAre(TaskRange{500, 7}, TaskRange{0, 40}));
}

TEST(MemoryStoreTest, InOrderTooTheRestHasItsShareOfTheDurations) {
  MemoryStore store(1 << 20);
  ASSERT_TRUE(store.Commit(Writes(Job(1), Part(0, 100), Part(100, 200))).ok());
  const auto rest =
      (*store.NewReader())->ReadOutcomes({.job = JobId(1), .in_order = true, .cursor = 100});
  EXPECT_THAT(RangesOf(*rest), ElementsAre(TaskRange{100, 200}));
  EXPECT_EQ(rest->entries[0].outcome.busy_ns, 2'000u);
  EXPECT_EQ(rest->next_cursor, 300u);
}

TEST(MemoryStoreTest, WhatDiffersIsNotJoined) {
  MemoryStore store(1 << 20);
  AddOutcome with_result = Part(20, 2);
  with_result.outcome.results = Pack({"a", "b"});
  AddOutcome failed = Part(22, 5);
  failed.outcome.status = TaskStatus::kFailed;
  AddOutcome elsewhere = Part(27, 5);
  elsewhere.outcome.worker = WorkerId(2);
  ASSERT_TRUE(store
                  .Commit(Writes(Job(1), Part(10, 10), with_result, failed, elsewhere, Part(50, 1),
                                 Part(51, 1), Part(0, 10)))
                  .ok());
  const auto page = (*store.NewReader())->ReadOutcomes({.job = JobId(1)});
  EXPECT_THAT(RangesOf(*page),
              ElementsAre(TaskRange{10, 10}, TaskRange{20, 2}, TaskRange{22, 5}, TaskRange{27, 5},
                          TaskRange{50, 1}, TaskRange{51, 1}, TaskRange{0, 10}));
}

}  // namespace
}  // namespace haul::coordinator
