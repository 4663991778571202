// Disks that are full or read-only: no commit that failed was acknowledged, the error says why, and
// when there is some space again everything acknowledged is there.
//
// On a tmpfs in a mount namespace of this process, so that nothing stays mounted however a test
// ends. Where that is not permitted, the tests say that they did not run.
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "coordinator/store/output_files.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(disk());
    mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", disk().c_str(), "tmpfs", 0, "size=24m") == 0;
    if (mounted_) return;
    std::fprintf(stderr,
                 "\n*** NOT RUN: full and read-only disks, which need the right to mount. "
                 "***\n\n");
    GTEST_SKIP() << "no right to mount a tmpfs";
  }
  void TearDown() override {
    if (mounted_) {
      EXPECT_EQ(::umount(disk().c_str()), 0);
    }
  }

  std::string disk() const { return directory_.path() + "/disk"; }
  std::string data_dir() const { return disk() + "/data"; }
  std::string log() const { return data_dir() + "/haul.db-wal"; }

  std::unique_ptr<SqliteStore> Start() {
    auto store = SqliteStore::Open(data_dir());
    why_ = store.status();
    if (!store.ok()) return nullptr;
    recovered_ = (*store)->Recover();
    why_ = recovered_.status();
    return recovered_.ok() ? *std::move(store) : nullptr;
  }

  // Something else that fills the disk, in pieces that can be removed.
  void FillWithBallast(std::size_t bytes_left) {
    struct statvfs free {};
    while (::statvfs(disk().c_str(), &free) == 0 &&
           free.f_bavail * free.f_bsize > bytes_left + kPieceBytes) {
      std::ofstream(disk() + "/ballast-" + std::to_string(ballast_++))
          << std::string(kPieceBytes, 'b');
    }
  }
  bool RemoveBallast() {
    return ballast_ > 0 &&
           std::filesystem::remove(disk() + "/ballast-" + std::to_string(--ballast_));
  }

  // Starts with as little freed as it takes; how many bytes that were.
  std::size_t FreeUntilItStarts(std::unique_ptr<SqliteStore>& store) {
    std::size_t freed = 0;
    while ((store = Start()) == nullptr) {
      EXPECT_EQ(why_.code(), absl::StatusCode::kResourceExhausted) << why_;
      EXPECT_THAT(std::string(why_.message()), HasSubstr("haul.db"));
      if (!RemoveBallast()) {
        ADD_FAILURE() << "does not start: " << why_;
        break;
      }
      freed += kPieceBytes;
    }
    return freed;
  }

  static constexpr std::size_t kPieceBytes = 16 << 10;

  ScratchDirectory directory_;
  bool mounted_ = false;
  int ballast_ = 0;
  absl::Status why_;
  absl::StatusOr<Recovered> recovered_;
};

AddOutcome LargeOutcome(TaskIndex task) {
  AddOutcome write = Ended(1, task, 1);
  write.outcome.results = Pack({std::string(60'000, 'r')});
  return write;
}

TEST_F(FullDiskTest, AfterwardsALittleSpaceIsEnoughToStart) {
  std::uint64_t acknowledged = 0;
  {
    auto store = Start();
    ASSERT_NE(store, nullptr) << why_;
    ASSERT_TRUE(store->Commit(Writes(Job(1, 1'000'000))).ok());
    FillWithBallast(15 << 20);
    absl::Status failure;
    while ((failure = store->Commit(Writes(LargeOutcome(acknowledged)))).ok()) ++acknowledged;
    EXPECT_EQ(failure.code(), absl::StatusCode::kResourceExhausted) << failure;
    EXPECT_THAT(std::string(failure.message()), HasSubstr("haul.db"));
    ASSERT_GT(acknowledged, 50u);
  }
  const auto log_bytes = std::filesystem::file_size(log());
  std::unique_ptr<SqliteStore> store;
  const std::size_t freed = FreeUntilItStarts(store);
  ASSERT_NE(store, nullptr);
  std::printf("a log of %zu KiB; %zu KiB had to be freed\n", std::size_t{log_bytes >> 10},
              freed >> 10);
  EXPECT_LE(freed, 256u << 10);
  std::uint64_t found = 0;
  for (const auto& outcome : Only<OutcomeRecorded>(recovered_->records)) {
    found += outcome.tasks.count;
  }
  EXPECT_EQ(found, acknowledged);
  for (int i = 0; i < 8; ++i) RemoveBallast();
  EXPECT_TRUE(store->Commit(Writes(Ended(1, 999'999, 1))).ok());
}

// What a submit had staged is dropped by the next start, which must not need the space for it.
TEST_F(FullDiskTest, StagedInputsThatFilledTheDiskGoAway) {
  {
    auto store = Start();
    ASSERT_NE(store, nullptr) << why_;
    ASSERT_TRUE(store->Commit(Writes(Job(1, 10))).ok());
    FillWithBallast(15 << 20);
    const PackedBytes values = Pack({std::string(60'000, 'i'), std::string(60'000, 'j')});
    for (TaskIndex task = 0; store->Commit(Writes(AppendInputs{InputSetId(1), task, values})).ok();
         task += 2) {
    }
  }
  std::unique_ptr<SqliteStore> store;
  const std::size_t freed = FreeUntilItStarts(store);
  ASSERT_NE(store, nullptr);
  std::printf("%zu KiB had to be freed\n", freed >> 10);
  EXPECT_LE(freed, 256u << 10);
  EXPECT_EQ(recovered_->jobs.size(), 1u);
  for (int i = 0; i < 8; ++i) RemoveBallast();
  EXPECT_TRUE(store->Commit(Writes(Ended(1, 0, 1))).ok());
}

TEST_F(FullDiskTest, AFirstStartOnAFullDiskSaysSoAndLeavesNothingInTheWay) {
  FillWithBallast(0);
  std::unique_ptr<SqliteStore> store;
  FreeUntilItStarts(store);
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(recovered_->jobs.empty());
}

TEST_F(FullDiskTest, ALargeOutputThatDoesNotFitIsRefusedAndGivesItsSpaceBack) {
  auto store = Start();
  ASSERT_NE(store, nullptr) << why_;
  auto files = *OutputFiles::Open(data_dir());
  FillWithBallast(1 << 20);
  const OutputName name{JobId(1), AssignmentId(1, 1), 0, OutputStream::kOutput};
  {
    auto writer = *files->NewWriter(name);
    absl::Status status;
    while (status.ok()) status = writer->Append(std::string(100'000, 'o'));
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_FALSE(writer->Finish().ok());
  }
  EXPECT_EQ(files->Read(name.Reference(), 0, 1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(store->Commit(Writes(Job(1))).ok()) << "there is space again";
}

TEST_F(FullDiskTest, AReadOnlyDirectoryIsRefusedAndKeepsWhatItHas) {
  {
    auto store = Start();
    ASSERT_NE(store, nullptr) << why_;
    ASSERT_TRUE(store->Commit(Writes(Job(1), Ended(1, 0, 10))).ok());
  }
  ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_EQ(Start(), nullptr);
  EXPECT_THAT(std::string(why_.message()), HasSubstr(data_dir()));
  EXPECT_THAT(std::string(why_.message()), HasSubstr("Read-only file system"));
  ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT, nullptr), 0);
  auto store = Start();
  ASSERT_NE(store, nullptr) << why_;
  EXPECT_EQ(recovered_->jobs.size(), 1u);
  EXPECT_TRUE(store->Commit(Writes(Ended(1, 10, 10))).ok());
}

// The directory may be written and the database not: a file that another user made, or a mount.
TEST_F(FullDiskTest, AReadOnlyDatabaseIsRefusedByName) {
  Start();
  const std::string database = data_dir() + "/haul.db";
  ASSERT_EQ(::mount(database.c_str(), database.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(::mount(nullptr, database.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr),
            0);
  EXPECT_EQ(Start(), nullptr);
  EXPECT_THAT(std::string(why_.message()), HasSubstr(database));
  ASSERT_EQ(::umount(database.c_str()), 0);
  EXPECT_NE(Start(), nullptr) << why_;
}

}  // namespace
}  // namespace haul::coordinator
