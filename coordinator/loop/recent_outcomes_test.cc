#include "coordinator/loop/recent_outcomes.h"

#include <gtest/gtest.h>

#include <string>

namespace haul::coordinator {
namespace {

constexpr JobId kJob(7);
constexpr std::size_t kPage = 1 << 20;

OutcomePage::Entry Entry(std::uint64_t sequence, std::size_t result_bytes = 8) {
  OutcomePage::Entry entry{.sequence = sequence, .outcome = {}};
  entry.outcome.tasks = {sequence, 1};
  entry.outcome.results.Append(std::string(result_bytes, 'r'));
  return entry;
}

std::vector<std::uint64_t> SequencesOf(const std::optional<OutcomePage>& page) {
  std::vector<std::uint64_t> sequences;
  if (!page.has_value()) return {~0ull};
  for (const OutcomePage::Entry& entry : page->entries) sequences.push_back(entry.sequence);
  return sequences;
}
using Sequences = std::vector<std::uint64_t>;

TEST(RecentOutcomesTest, GivesWhatCameAfterTheCursor) {
  RecentOutcomes recent(1 << 20);
  recent.Keep(kJob, 0);
  recent.Keep(kJob, 0);  // two readers
  for (const std::uint64_t sequence : {3u, 4u, 9u}) recent.Add(kJob, Entry(sequence));
  recent.Add(JobId(8), Entry(5));  // nobody follows it
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 0, kPage)), (Sequences{3, 4, 9}));
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 3, kPage)), (Sequences{4, 9}));
  const auto none = recent.Read(kJob, 9, kPage);
  EXPECT_EQ(SequencesOf(none), Sequences{});
  EXPECT_EQ(none->next_cursor, 9u);
  EXPECT_TRUE(none->complete);
  EXPECT_FALSE(recent.Read(JobId(8), 0, kPage).has_value());
}

TEST(RecentOutcomesTest, AResultIsThatOfTheTask) {
  RecentOutcomes recent(1 << 20);
  recent.Keep(kJob, 0);
  recent.Add(kJob, Entry(1, 5));
  recent.Add(kJob, Entry(2, 0));
  const auto page = recent.Read(kJob, 0, kPage);
  ASSERT_EQ(page->entries.size(), 2u);
  EXPECT_EQ(page->entries[0].outcome.results[0], "rrrrr");
  EXPECT_EQ(page->entries[1].outcome.results, PackedBytes()) << "as the store gives it back";
}

TEST(RecentOutcomesTest, APageIsCutAtItsLimit) {
  RecentOutcomes recent(1 << 20);
  recent.Keep(kJob, 0);
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    recent.Add(kJob, Entry(sequence, 5000));
  }
  const auto first = recent.Read(kJob, 0, 11'000);
  EXPECT_EQ(SequencesOf(first), (Sequences{1, 2}));
  EXPECT_FALSE(first->complete);
  EXPECT_EQ(first->next_cursor, 2u);
  const auto second = recent.Read(kJob, first->next_cursor, 100);
  EXPECT_EQ(SequencesOf(second), Sequences{3}) << "one at least";
  EXPECT_TRUE(second->complete);
}

TEST(RecentOutcomesTest, WhatASingleReaderTookIsNotHereForALaterOne) {
  RecentOutcomes recent(1 << 20);
  recent.Keep(kJob, 0);
  recent.Add(kJob, Entry(1));
  recent.Add(kJob, Entry(2));
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 0, kPage)), (Sequences{1, 2}));
  recent.Keep(kJob, 0);
  EXPECT_FALSE(recent.Read(kJob, 0, kPage).has_value());
  recent.Add(kJob, Entry(3));
  EXPECT_FALSE(recent.Read(kJob, 1, kPage).has_value());
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 2, kPage)), Sequences{3});
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 2, kPage)), Sequences{3}) << "there are two readers";
  recent.Release(kJob);
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 2, kPage)), Sequences{3});
}

TEST(RecentOutcomesTest, WhatDoesNotFitIsForTheStore) {
  RecentOutcomes recent(100'000);
  recent.Keep(kJob, 0);
  for (std::uint64_t sequence = 1; sequence <= 30; ++sequence) {
    recent.Add(kJob, Entry(sequence, 10'000));
  }
  EXPECT_FALSE(recent.Read(kJob, 0, kPage).has_value());
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 29, kPage)), Sequences{30});
  // What one job holds leaves with its last reader, and others have the room.
  recent.Release(kJob);
  recent.Keep(JobId(8), 0);
  recent.Add(JobId(8), Entry(31, 80'000));
  EXPECT_EQ(SequencesOf(recent.Read(JobId(8), 0, kPage)), Sequences{31});
}

TEST(RecentOutcomesTest, AReaderWhoDoesNotReadCostsItsOwnJob) {
  RecentOutcomes recent(100'000);
  recent.Keep(kJob, 0);
  recent.Keep(JobId(8), 0);
  for (std::uint64_t sequence = 1; sequence <= 9; ++sequence) {
    recent.Add(kJob, Entry(sequence, 10'000));
  }
  recent.Add(JobId(8), Entry(10, 30'000));
  EXPECT_EQ(SequencesOf(recent.Read(JobId(8), 0, kPage)), Sequences{10});
  EXPECT_FALSE(recent.Read(kJob, 0, kPage).has_value());
  EXPECT_EQ(SequencesOf(recent.Read(kJob, 8, kPage)), Sequences{9});
}

TEST(RecentOutcomesTest, BeginsWhereTheStoreHasAllBefore) {
  RecentOutcomes recent(1 << 20);
  EXPECT_FALSE(recent.BeginsWithin(kJob, 100));
  recent.Keep(kJob, 20);
  EXPECT_FALSE(recent.BeginsWithin(kJob, 19));
  EXPECT_TRUE(recent.BeginsWithin(kJob, 20));
  recent.Keep(kJob, 30);
  EXPECT_TRUE(recent.BeginsWithin(kJob, 20)) << "kept since the first";
}

}  // namespace
}  // namespace haul::coordinator
