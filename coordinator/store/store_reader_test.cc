// Readers beside a store that goes on committing, of every store.
#include <atomic>
#include <thread>

#include "coordinator/store/store_subjects.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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

// Of 30 runs that ended from the last to the first, each tenth without success.
class LongReadTest : public StoreReaderTest {
 protected:
  void SetUp() override {
    StoreReaderTest::SetUp();
    std::vector<Write> runs;
    for (TaskIndex first = 300; first > 0; first -= 10) {
      const bool failed = first % 100 == 0;
      runs.emplace_back(
          Ended(1, first - 10, 10, failed ? TaskStatus::kFailed : TaskStatus::kSucceeded));
    }
    ASSERT_TRUE(store().Commit(runs).ok());
  }

  struct Read {
    std::vector<TaskRange> ranges;
    std::size_t pages = 0;
  };
  // Page by page, with four runs looked at for each.
  Read ReadAll(OutcomeQuery query) {
    query.job = JobId(1);
    query.row_limit = 4;
    const auto reader = *store().NewReader();
    Read read;
    for (bool complete = false; !complete;) {
      const auto page = reader->ReadOutcomes(query);
      EXPECT_TRUE(page.ok()) << page.status();
      complete = !page.ok() || page->complete || page->next_cursor <= query.cursor;
      if (complete) {
        EXPECT_TRUE(page.ok() && page->complete) << query.cursor;
      }
      if (!page.ok()) continue;
      for (const TaskRange range : RangesOf(*page)) read.ranges.push_back(range);
      query.cursor = page->next_cursor;
      ++read.pages;
    }
    return read;
  }
};

TEST_P(LongReadTest, APageEndsAlsoWhereManyWereLookedAtAndNoneWanted) {
  const auto read = ReadAll({.in_order = true, .unsuccessful_only = true});
  EXPECT_THAT(read.ranges, ElementsAre(TaskRange{90, 10}, TaskRange{190, 10}, TaskRange{290, 10}));
  EXPECT_EQ(read.pages, 8u);
}

TEST_P(LongReadTest, EachIsReadOnceHoweverManyPagesItTakes) {
  for (const bool in_order : {false, true}) {
    EXPECT_THAT(ReadAll({.in_order = in_order}).ranges, SizeIs(30));
    for (const std::uint64_t count : {1'000, 20'000}) {  // read by the one index and by the other
      const TaskRange only{95, count};
      EXPECT_THAT(ReadAll({.in_order = in_order, .only = only}).ranges, SizeIs(21));
      EXPECT_THAT(ReadAll({.in_order = in_order, .only = only, .unsuccessful_only = true}).ranges,
                  UnorderedElementsAre(TaskRange{90, 10}, TaskRange{190, 10}, TaskRange{290, 10}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, LongReadTest, ::testing::ValuesIn(AllStores()),
                         [](const auto& kind) { return std::string(kind.param.name); });
INSTANTIATE_TEST_SUITE_P(Stores, StoreReaderTest, ::testing::ValuesIn(AllStores()),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace haul::coordinator
