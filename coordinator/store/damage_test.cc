// Damaged files: every start either has all that was acknowledged or is refused with a line that
// says which file and what to do, and then changes nothing. Nothing crashes.
//
// HAUL_TEST_LONG=1 damages far more places; HAUL_DAMAGE_SEED=N takes others.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "coordinator/core/state.h"
#include "coordinator/store/disk_model_for_test.h"
#include "coordinator/store/power_cut_workload_for_test.h"
#include "coordinator/store/store_process_for_test.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace haul::coordinator {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDatabase[] = "data/haul.db";
constexpr char kLog[] = "data/haul.db-wal";
constexpr char kCommits[] = "data/haul.db-commits";
constexpr std::size_t kPageBytes = 4096;

bool IsLong() { return std::getenv("HAUL_TEST_LONG") != nullptr; }

std::uint64_t Seed() {
  const char* seed = std::getenv("HAUL_DAMAGE_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1;
}

// A data directory after some life, and what a store must find in it.
struct Life {
  DiskImage image;
  std::string dump;
};

enum class End { kKilled, kStopped };

Life Live(End end) {
  std::vector<WorkloadStep> steps = MakeWorkload(Seed(), 90);
  // Not every workload leaves a row that is longer than a page.
  AddJob job = Job(500'000);
  job.job_template = std::string(3 * kPageBytes, 't');
  steps.insert(steps.begin(), {.writes = {std::move(job)}});
  Life life{{}, ExpectedDumps(steps, {}).back()};
  const MemoryDisk disk;
  {
    Process process(disk.data_dir());
    absl::Status status = process.Start();
    for (const WorkloadStep& step : steps) {
      status.Update(step.restarts ? process.Start() : RunStep(step, process));
    }
    EXPECT_TRUE(status.ok()) << status;
    if (end == End::kKilled) life.image = ImageOf(disk.path());
  }
  if (end == End::kStopped) life.image = ImageOf(disk.path());
  return life;
}

enum class Verdict { kUnharmed, kRefused, kWrong };

// What the core does with what the store gives back: its checks end the process.
void ApplyAll(const Recovered& recovered) {
  State state;
  for (const RecoveredJob& job : recovered.jobs) state.Apply(DurableRecord(job.record));
  for (const DurableRecord& record : recovered.records) state.Apply(record);
}

void ExpectIsOneClearLine(const absl::Status& status) {
  const std::string message(status.message());
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  EXPECT_THAT(message, HasSubstr("haul.db"));
  EXPECT_THAT(status.code(),
              AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kFailedPrecondition))
      << status;
  if (absl::IsDataLoss(status)) {
    EXPECT_THAT(message, HasSubstr("put a backup of "));
  }
}

Verdict Judge(const DiskImage& image, const std::string& dump, std::string* why = nullptr) {
  const MemoryDisk disk;
  image.Materialise(disk.path());
  Process process(disk.data_dir());
  if (const absl::Status started = process.Start(); !started.ok()) {
    process.Stop();
    ExpectIsOneClearLine(started);
    const DiskImage left = ImageOf(disk.path());
    for (const char* path : {kDatabase, kLog}) {
      if (!image.files.contains(path)) continue;
      EXPECT_TRUE(left.files.contains(path) && left.files.at(path) == image.files.at(path))
          << path << " was changed although it was refused: " << started;
    }
    if (why != nullptr) *why = std::string(started.message());
    return Verdict::kRefused;
  }
  ApplyAll(process.recovered());
  const absl::StatusOr<std::string> found = process.DumpAll();
  if (!found.ok()) {
    // Found by whoever reads it, in the running coordinator.
    EXPECT_EQ(found.status().code(), absl::StatusCode::kDataLoss) << found.status();
    return Verdict::kRefused;
  }
  return *found == dump ? Verdict::kUnharmed : Verdict::kWrong;
}

// ---- flipped bytes ----

// By the first byte of a page; an overflow page has none, and begins with the next one's number.
const char* PageKind(const std::string& database, std::size_t page) {
  const std::size_t at = page == 0 ? 100 : page * kPageBytes;
  switch (database[at]) {
    case 0x02:
      return "index, interior";
    case 0x05:
      return "table, interior";
    case 0x0a:
      return "index, leaf";
    case 0x0d:
      return "table, leaf";
    default:
      return "overflow or free";
  }
}

struct Tally {
  int flips = 0;
  int refused = 0;
};

void Flip(DiskImage& image, const char* path, std::size_t at, std::mt19937_64& random) {
  std::string& content = image.files.at(path);
  content[at] = static_cast<char>(content[at] ^ static_cast<char>(1 + random() % 255));
}

void Print(const char* what, const std::map<std::string, Tally>& tallies) {
  for (const auto& [kind, tally] : tallies) {
    std::printf("%s, seed %llu: %-18s %5d flips, %5d refused, the rest unharmed\n", what,
                static_cast<unsigned long long>(Seed()), kind.c_str(), tally.flips, tally.refused);
  }
}

TEST(DamageTest, AFlippedByteOfTheDatabaseIsFoundOrHarmless) {
  const Life life = Live(End::kStopped);
  const std::string& database = life.image.files.at(kDatabase);
  std::mt19937_64 random(Seed());
  std::map<std::string, Tally> tallies;
  for (int i = 0; i < (IsLong() ? 30'000 : 700); ++i) {
    const std::size_t page = random() % (database.size() / kPageBytes);
    // Half of them where the structure is: the page's head and the pointers to its cells.
    const std::size_t at = page * kPageBytes + random() % (i % 2 == 0 ? 64 : kPageBytes);
    DiskImage image = life.image;
    Flip(image, kDatabase, at, random);
    const Verdict verdict = Judge(image, life.dump);
    ASSERT_NE(verdict, Verdict::kWrong)
        << "HAUL_DAMAGE_SEED=" << Seed() << ": byte " << at << " (" << PageKind(database, page)
        << ", page " << page + 1 << ") flipped from " << int{database[at]} << " to "
        << int{image.files.at(kDatabase)[at]};
    Tally& tally = tallies[PageKind(database, page)];
    ++tally.flips;
    if (verdict == Verdict::kRefused) ++tally.refused;
    if (HasFailure()) return;
  }
  Print("database", tallies);
  EXPECT_EQ(tallies.size(), 4u) << "kinds of pages that are there";
}

TEST(DamageTest, AFlippedByteOfTheLogIsFoundOrHarmless) {
  const Life life = Live(End::kKilled);
  const std::string& log = life.image.files.at(kLog);
  std::mt19937_64 random(Seed());
  std::map<std::string, Tally> tallies;
  for (int i = 0; i < (IsLong() ? 15'000 : 300); ++i) {
    constexpr std::size_t kHeadBytes = 32;
    constexpr std::size_t kFrameBytes = kPageBytes + 24;
    const char* kind = i % 10 == 0 ? "head" : i % 3 == 0 ? "head of a frame" : "page of a frame";
    std::size_t at = random() % log.size();
    if (i % 10 == 0) {
      at = random() % kHeadBytes;
    } else if (i % 3 == 0) {
      at = kHeadBytes + random() % ((log.size() - kHeadBytes) / kFrameBytes) * kFrameBytes +
           random() % 24;
    }
    DiskImage image = life.image;
    Flip(image, kLog, at, random);
    const Verdict verdict = Judge(image, life.dump);
    ASSERT_NE(verdict, Verdict::kWrong) << "HAUL_DAMAGE_SEED=" << Seed() << ": byte " << at;
    ++tallies[kind].flips;
    if (verdict == Verdict::kRefused) ++tallies[kind].refused;
    if (HasFailure()) return;
  }
  Print("log", tallies);
  EXPECT_GT(tallies["page of a frame"].refused, 0);
}

// The line about commits only adds to what is known.
TEST(DamageTest, AFlippedByteOfTheCountOfCommitsHarmsNothing) {
  const Life life = Live(End::kKilled);
  std::mt19937_64 random(Seed());
  for (std::size_t at = 0; at < life.image.files.at(kCommits).size(); ++at) {
    DiskImage image = life.image;
    Flip(image, kCommits, at, random);
    EXPECT_EQ(Judge(image, life.dump), Verdict::kUnharmed) << "byte " << at;
  }
}

// ---- truncated, missing, empty ----

TEST(DamageTest, ATruncatedDatabaseOrLogIsRefused) {
  for (const End end : {End::kStopped, End::kKilled}) {
    const Life life = Live(end);
    const char* const path = end == End::kStopped ? kDatabase : kLog;
    std::mt19937_64 random(Seed());
    for (int i = 0; i < 40; ++i) {
      DiskImage image = life.image;
      std::string& content = image.files.at(path);
      const std::size_t left = random() % content.size();
      content.resize(i % 2 == 0 ? left : left - left % kPageBytes);
      EXPECT_NE(Judge(image, life.dump), Verdict::kWrong) << path << " cut to " << content.size();
      if (HasFailure()) return;
    }
  }
}

// What the disk has after a start and a commit more, of which no checkpoint has emptied the log.
DiskImage OneCommitLater(const Life& life, End end) {
  const MemoryDisk disk;
  life.image.Materialise(disk.path());
  Process process(disk.data_dir());
  EXPECT_TRUE(process.Start().ok());
  EXPECT_TRUE(process.store().Commit(OneMoreCommit()).ok());
  if (end == End::kStopped) process.Stop();
  return ImageOf(disk.path());
}

TEST(DamageTest, ALogThatIsMissingIsRefused) {
  const Life life = Live(End::kStopped);
  DiskImage image = OneCommitLater(life, End::kKilled);
  image.files.erase(kLog);
  std::string why;
  EXPECT_EQ(Judge(image, life.dump, &why), Verdict::kRefused);
  EXPECT_THAT(why, HasSubstr("commits, but"));
  EXPECT_THAT(why, HasSubstr("were acknowledged"));
}

TEST(DamageTest, ADatabaseThatIsMissingOrEmptyIsNotTakenForAFirstStart) {
  for (const End end : {End::kStopped, End::kKilled}) {
    const Life life = Live(end);
    for (const bool is_empty : {false, true}) {
      DiskImage image = life.image;
      image.files.erase(kDatabase);
      if (is_empty) image.files[kDatabase];
      const std::string what = is_empty ? "haul.db is empty, but " : "haul.db is missing, but ";
      std::string why;
      EXPECT_EQ(Judge(image, life.dump, &why), Verdict::kRefused);
      EXPECT_THAT(why, HasSubstr(what));
      EXPECT_THAT(why, HasSubstr("haul.db-commits says"));
      // Directories of before there was a count of commits have the log or outputs to tell.
      image.files.erase(kCommits);
      if (end == End::kKilled) {
        EXPECT_EQ(Judge(image, life.dump, &why), Verdict::kRefused);
        EXPECT_THAT(why, HasSubstr("haul.db-wal says"));
      }
      image.files.erase(kLog);
      EXPECT_EQ(Judge(image, life.dump, &why), Verdict::kRefused);
      EXPECT_THAT(why, HasSubstr("/outputs/"));
    }
  }
}

TEST(DamageTest, ADatabaseThatLostItsTablesIsNotTakenForAFirstStart) {
  Life life = Live(End::kStopped);
  {
    const MemoryDisk disk;
    ::mkdir(disk.data_dir().c_str(), 0700);
    auto empty = *sqlite::Connection::Open(disk.path() + "/" + kDatabase,
                                           sqlite::Connection::Mode::kReadWrite);
    ASSERT_TRUE(empty.Execute("PRAGMA journal_mode=WAL; VACUUM").ok());
    life.image.files[kDatabase] = ImageOf(disk.path()).files.at(kDatabase);
    ASSERT_FALSE(life.image.files[kDatabase].empty());
  }
  std::string why;
  EXPECT_EQ(Judge(life.image, life.dump, &why), Verdict::kRefused);
  EXPECT_THAT(why, HasSubstr("haul.db has no tables, but "));
}

TEST(DamageTest, AnOlderDatabaseInPlaceOfTheOneThatWasThereIsRefused) {
  const Life before = Live(End::kStopped);
  DiskImage after = OneCommitLater(before, End::kStopped);
  after.files[kDatabase] = before.image.files.at(kDatabase);
  std::string why;
  EXPECT_EQ(Judge(after, before.dump, &why), Verdict::kRefused);
  EXPECT_THAT(why, HasSubstr("the last 2 are damaged or missing"));  // the start's, and one more
  // Which is how to go on with it all the same.
  after.files.erase(kCommits);
  EXPECT_EQ(Judge(after, before.dump), Verdict::kUnharmed);
}

TEST(DamageTest, ADirectoryWithATokenAloneIsAFirstStart) {
  DiskImage image;
  image.directories = {"data", "data/outputs", "data/outputs/lost+found"};
  image.files["data/token"] = "0123456789abcdef0123456789abcdef\n";
  EXPECT_EQ(Judge(image, ExpectedDumps({}, {}).front()), Verdict::kUnharmed);
}

}  // namespace
}  // namespace haul::coordinator
