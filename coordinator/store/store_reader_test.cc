// Readers beside a store that goes on committing, of every store.
#include <atomic>
#include <thread>

#include "coordinator/store/store_subjects.h"
#include "coordinator/store/store_test_util.h"

namespace haul::coordinator {
namespace {

class StoreReaderTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    subject_ = GetParam().make();
    ASSERT_TRUE(store().Recover().ok());
    ASSERT_TRUE(store().Commit(Writes(Job(1))).ok());
  }
  Store& store() { return subject_->store(); }

  std::unique_ptr<StoreSubject> subject_;
};

TEST_P(StoreReaderTest, EveryReaderSeesWhatWasCommittedBefore) {
  auto first = *store().NewReader();
  auto second = *store().NewReader();
  for (TaskIndex task = 0; task < 50; ++task) {
    ASSERT_TRUE(store().Commit(Writes(Ended(1, task, 1))).ok());
    for (StoreReader* reader : {first.get(), second.get()}) {
      const auto page = reader->ReadOutcomes({.job = JobId(1), .in_order = true, .cursor = task});
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_EQ(page->entries.size(), 1u) << task;
      ASSERT_EQ(page->next_cursor, task + 1);
    }
  }
}

// A follower on a thread of its own gets each task once, in both orders, and never less than what
// was committed before it asked.
TEST_P(StoreReaderTest, AFollowerKeepsUpFromAThreadOfItsOwn) {
  constexpr TaskIndex kTasks = 600;
  std::atomic<TaskIndex> committed = 0;
  const auto follow = [&](StoreReader& reader, bool in_order) {
    OutcomeQuery query{.job = JobId(1), .in_order = in_order, .byte_limit = 4000};
    TaskIndex next = 0;
    while (next < kTasks) {
      const TaskIndex before = committed.load();
      bool complete = false;
      while (!complete) {
        const auto page = reader.ReadOutcomes(query);
        if (!page.ok()) return next;
        for (const auto& entry : page->entries) {
          if (entry.outcome.tasks != TaskRange{next, 3}) return next;
          next += 3;
        }
        query.cursor = page->next_cursor;
        complete = page->complete;
      }
      if (next < before) return next;
    }
    return next;
  };
  auto readers = std::pair(*store().NewReader(), *store().NewReader());
  TaskIndex seen[2] = {};
  std::thread by_completion([&] { seen[0] = follow(*readers.first, false); });
  std::thread by_index([&] { seen[1] = follow(*readers.second, true); });
  for (TaskIndex task = 0; task < kTasks; task += 3) {
    EXPECT_TRUE(store().Commit(Writes(Ended(1, task, 3))).ok());
    committed.store(task + 3);
  }
  by_completion.join();
  by_index.join();
  EXPECT_EQ(seen[0], kTasks);
  EXPECT_EQ(seen[1], kTasks);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreReaderTest, ::testing::ValuesIn(AllStores()),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace haul::coordinator
