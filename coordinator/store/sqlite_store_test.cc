// What the SQLite store promises beyond store.h: one process, versions, crashes, full disks, and a
// database that people can read.
#include "coordinator/store/sqlite_store.h"

#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/sqlite_reader.h"
#include "coordinator/store/sqlite_schema.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::string data_dir() const { return directory_.path() + "/data"; }
  std::string database() const { return data_dir() + "/haul.db"; }

  std::unique_ptr<SqliteStore> Open() { return OpenAt(data_dir()); }
  static std::unique_ptr<SqliteStore> OpenAt(const std::string& path) {
    auto store = SqliteStore::Open(path);
    EXPECT_TRUE(store.ok()) << store.status();
    if (!store.ok()) return nullptr;
    EXPECT_TRUE((*store)->Recover().ok());
    return *std::move(store);
  }
  static void Commit(SqliteStore& store, const std::vector<Write>& writes) {
    const absl::Status status = store.Commit(writes);
    ASSERT_TRUE(status.ok()) << status;
  }
  // As a person would, with another program.
  void Sql(const char* sql) {
    auto connection = sqlite::Connection::Open(database(), sqlite::Connection::Mode::kReadWrite);
    ASSERT_TRUE(connection.ok());
    const absl::Status status = connection->Execute(sql);
    ASSERT_TRUE(status.ok()) << status;
  }
  // The columns of the first row, with NULL as "-".
  std::vector<std::string> FirstRow(const std::string& sql, int columns) {
    auto connection = sqlite::Connection::Open(database(), sqlite::Connection::Mode::kReadOnly);
    EXPECT_TRUE(connection.ok());
    auto row = connection->Prepare(sql);
    EXPECT_TRUE(row.ok()) << row.status();
    EXPECT_TRUE(row->Next()) << row->status();
    std::vector<std::string> values;
    for (int i = 0; i < columns; ++i) values.push_back(row->IsNull(i) ? "-" : row->Text(i));
    return values;
  }

  ScratchDirectory directory_;
};

// ---- opening ----

TEST_F(SqliteStoreTest, TheDataDirectoryIsItsOwnersAlone) {
  auto store = Open();
  for (const std::string& path :
       {data_dir(), database(), database() + "-wal", data_dir() + "/lock"}) {
    struct stat found {};
    ASSERT_EQ(::stat(path.c_str(), &found), 0) << path;
    EXPECT_EQ(found.st_mode & 0077, 0u) << path;
  }
}

TEST_F(SqliteStoreTest, ASecondCoordinatorIsToldWhoUsesTheDirectory) {
  auto first = Open();
  const auto second = SqliteStore::Open(data_dir());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(data_dir()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(std::to_string(::getpid())));
  first.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefusedWithBothVersions) {
  Open();
  Sql("PRAGMA user_version=12");
  const auto store = SqliteStore::Open(data_dir());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("version 12"));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("only version 4:"));
}

TEST_F(SqliteStoreTest, ADatabaseOfSomethingElseIsLeftAlone) {
  std::filesystem::create_directory(data_dir());
  Sql("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)");
  EXPECT_EQ(SqliteStore::Open(data_dir()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(FirstRow("SELECT a FROM mine", 1), ElementsAre("1"));
}

TEST_F(SqliteStoreTest, ADamagedFileIsSaidToBeDamaged) {
  std::filesystem::create_directory(data_dir());
  std::ofstream(database()) << std::string(20'000, 'x');
  const auto store = SqliteStore::Open(data_dir());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("haul.db: the file is damaged"));
}

TEST_F(SqliteStoreTest, ADamagedPageIsFoundWhenItIsRead) {
  {
    auto store = Open();
    std::vector<Write> writes = Writes(Job(1, 1'000'000));
    for (TaskIndex task = 0; task < 2000; ++task) writes.emplace_back(Ended(1, 2 * task, 1));
    Commit(*store, writes);
  }
  {
    std::fstream file(database(), std::ios::in | std::ios::out | std::ios::binary);
    const auto size = static_cast<std::streamoff>(std::filesystem::file_size(database()));
    for (std::streamoff page = 20 * 4096; page < size; page += 4096) {
      file.seekp(page);
      file << std::string(4096, '\x5a');
    }
  }
  EXPECT_EQ(SqliteStore::Open(data_dir()).status().code(), absl::StatusCode::kDataLoss);
  // A database that is too large to be checked as a whole.
  auto store = SqliteStore::Open(data_dir(), {.integrity_check_pages = 0});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->Recover().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*store)->Commit(Writes(Job(2))).code(), absl::StatusCode::kFailedPrecondition)
      << "unusable from then on";
}

// ---- crashes ----

// Batch n of the writer below: job n with three runs of tasks.
std::vector<Write> Batch(std::uint64_t n) {
  return Writes(Job(n, 30), Ended(n, 0, 10), Ended(n, 10, 10), Ended(n, 20, 5));
}

void ExpectWhole(const Recovered& recovered, std::uint64_t acknowledged) {
  ASSERT_GE(recovered.jobs.size(), acknowledged) << "an acknowledged commit is lost";
  ASSERT_LE(recovered.jobs.size(), acknowledged + 1) << "at most the one in flight";
  const auto outcomes = Only<OutcomeRecorded>(recovered.records);
  ASSERT_EQ(outcomes.size(), recovered.jobs.size()) << "no half batch";
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQ(recovered.jobs[i].record.job, JobId(i + 1));
    EXPECT_EQ(outcomes[i].job, JobId(i + 1));
    EXPECT_EQ(outcomes[i].tasks, (TaskRange{0, 25}));
  }
}

// Commits batches from `first` on for ever, and writes a byte after each.
[[noreturn]] void CommitForEver(const std::string& data_dir, std::uint64_t first, int acknowledge) {
  auto store = SqliteStore::Open(data_dir);
  if (!store.ok() || !(*store)->Recover().ok()) ::_exit(1);
  for (std::uint64_t n = first;; ++n) {
    if (!(*store)->Commit(Batch(n)).ok()) ::_exit(2);
    if (::write(acknowledge, "+", 1) != 1) ::_exit(3);
  }
}

TEST_F(SqliteStoreTest, WhatWasAcknowledgedSurvivesKill9) {
  std::uint64_t acknowledged = 0;
  for (int round = 0; round < 8; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) CommitForEver(data_dir(), acknowledged + 1, pipe[1]);
    ::close(pipe[1]);
    char byte = 0;
    const int until = 5 + 7 * round;
    int got = 0;
    while (got < until && ::read(pipe[0], &byte, 1) == 1) ++got;
    ASSERT_EQ(got, until) << "the writer ended early";
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    while (::read(pipe[0], &byte, 1) == 1) ++got;  // acknowledged before it died
    ::close(pipe[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));

    auto store = SqliteStore::Open(data_dir());
    ASSERT_TRUE(store.ok()) << store.status();
    const auto recovered = (*store)->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    ExpectWhole(*recovered, acknowledged + static_cast<std::uint64_t>(got));
    EXPECT_EQ(recovered->epoch, 2u * static_cast<unsigned>(round) + 2);
    acknowledged = recovered->jobs.size();
  }
}

// ---- full disks ----

// Commits until that fails; how many went well.
std::uint64_t FillUp(SqliteStore& store, std::uint64_t first, absl::Status& failure) {
  std::uint64_t n = first;
  for (;; ++n) {
    AddJob job = Job(n, 30);
    job.job_template = std::string(50'000, 't');
    std::vector<Write> batch = Batch(n);
    batch[0] = job;
    failure = store.Commit(batch);
    if (!failure.ok()) return n - 1;
    if (n > 20'000) break;
  }
  ADD_FAILURE() << "the disk never filled up";
  return n;
}

void ExpectFullDiskIsSurvived(const std::string& data_dir,
                              const std::function<void()>& free_space) {
  std::uint64_t acknowledged = 0;
  {
    auto store = SqliteStore::Open(data_dir);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->Recover().ok());
    absl::Status failure;
    acknowledged = FillUp(**store, 1, failure);
    EXPECT_EQ(failure.code(), absl::StatusCode::kResourceExhausted) << failure;
    EXPECT_THAT(std::string(failure.message()), HasSubstr("haul.db"));
    EXPECT_GT(acknowledged, 10u);
    EXPECT_EQ((*store)->Commit(Batch(acknowledged + 1)).code(),
              absl::StatusCode::kFailedPrecondition)
        << "unusable after a failed commit";
  }
  free_space();
  auto store = SqliteStore::Open(data_dir);
  ASSERT_TRUE(store.ok()) << store.status();
  const auto recovered = (*store)->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  ExpectWhole(*recovered, acknowledged);
  EXPECT_TRUE((*store)->Commit(Batch(recovered->jobs.size() + 1)).ok());
}

TEST_F(SqliteStoreTest, AFullDiskLosesNothingThatWasAcknowledged) {
  const std::string disk = directory_.path() + "/disk";
  std::filesystem::create_directory(disk);
  // In a mount namespace of this process, so that nothing stays mounted however the test ends.
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=12m") != 0) {
    std::fprintf(
        stderr,
        "\n*** NOT RUN: the full disk on a tmpfs, which needs the right to mount. A limit of "
        "the file size stands in for it. ***\n\n");
    GTEST_SKIP() << "no right to mount a tmpfs";
  }
  {
    const std::string ballast = disk + "/ballast";
    std::ofstream(ballast) << std::string(4 << 20, 'b');
    ExpectFullDiskIsSurvived(disk + "/data", [&] { std::filesystem::remove(ballast); });
  }
  EXPECT_EQ(::umount(disk.c_str()), 0);
}

TEST_F(SqliteStoreTest, AFileThatMayNotGrowLosesNothingThatWasAcknowledged) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = 3 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  ExpectFullDiskIsSurvived(data_dir(), [&] { ::setrlimit(RLIMIT_FSIZE, &before); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
}

// ---- the log, the queries, the view ----

TEST_F(SqliteStoreTest, TheLogStaysBoundedAlsoBesideAReader) {
  auto store = Open();
  auto reader = *store->NewReader();
  Commit(*store, Writes(Job(1, 1'000'000)));
  std::uintmax_t longest = 0;
  for (TaskIndex n = 0; n < 100; ++n) {
    AddOutcome outcome = Ended(1, n, 1);
    outcome.outcome.results = Pack({std::string(1 << 20, 'r')});
    Commit(*store, Writes(outcome));
    longest = std::max(longest, std::filesystem::file_size(database() + "-wal"));
    ASSERT_EQ(reader->ReadOutcomes({.job = JobId(1), .cursor = n})->entries.size(), 1u);
  }
  EXPECT_LT(longest, 20u << 20);
}

TEST_F(SqliteStoreTest, AReaderThatHoldsASnapshotDoesNotStopTheStore) {
  auto store = Open();
  Commit(*store, Writes(Job(1, 1'000'000)));
  auto person = *sqlite::Connection::Open(database(), sqlite::Connection::Mode::kReadOnly);
  auto snapshot = *person.Prepare("SELECT id FROM jobs");
  ASSERT_TRUE(snapshot.Next());
  for (TaskIndex n = 0; n < 160; ++n) {
    AddOutcome outcome = Ended(1, n, 1);
    outcome.outcome.results = Pack({std::string(1 << 20, 'r')});
    Commit(*store, Writes(outcome));
  }
  EXPECT_GT(std::filesystem::file_size(database() + "-wal"), 128u << 20);
  snapshot.Reset();
  for (TaskIndex n = 1000; n < 1030; ++n) {
    AddOutcome outcome = Ended(1, n, 1);
    outcome.outcome.results = Pack({std::string(1 << 20, 'r')});
    Commit(*store, Writes(outcome));
  }
  EXPECT_LE(std::filesystem::file_size(database() + "-wal"), 64u << 20) << "it shrinks again";
}

TEST_F(SqliteStoreTest, NoQueryReadsAWholeTable) {
  auto store = Open();
  auto reader = *SqliteReader::Open(database());
  const auto plans = static_cast<SqliteReader&>(*reader).ExplainQueries();
  ASSERT_TRUE(plans.ok()) << plans.status();
  EXPECT_THAT(*plans,
              HasSubstr("SEARCH outcomes USING INDEX outcomes_by_index (job=? AND first>? "));
  EXPECT_THAT(*plans,
              HasSubstr("SEARCH outcomes USING INDEX outcomes_by_completion (job=? AND rowid>?)"));
  EXPECT_THAT(*plans,
              HasSubstr("SEARCH inputs USING INDEX inputs_by_index (set_id=? AND first>?)"));
  EXPECT_THAT(*plans, Not(HasSubstr("SCAN")));
  // Only the query for a few tasks sorts, and those are few: numbers, which the index has.
  EXPECT_THAT(*plans, HasSubstr("SEARCH outcomes USING COVERING INDEX outcomes_by_index (job=? AND "
                                "first>? AND first<?)\nUSE TEMP B-TREE FOR ORDER BY"));
  EXPECT_THAT(*plans, HasSubstr("SEARCH outcomes USING INTEGER PRIMARY KEY (rowid=?)"));
  const std::size_t sort = plans->find("USE TEMP B-TREE");
  EXPECT_TRUE(sort != std::string::npos &&
              plans->find("USE TEMP B-TREE", sort + 1) == std::string::npos)
      << *plans;
}

TEST_F(SqliteStoreTest, WhatIsForgottenIsGoneFromEveryTable) {
  auto store = Open();
  Commit(*store, Writes(AppendInputs{InputSetId(1), 0, Pack({"a"})}, Job(1, 1, 1), Ended(1, 0, 1),
                        AttemptsCharged{JobId(1), 0, 1, 0, false}));
  const std::string count =
      "SELECT (SELECT count(*) FROM jobs)+(SELECT count(*) FROM inputs)+"
      "(SELECT count(*) FROM outcomes)+(SELECT count(*) FROM attempts)";
  EXPECT_THAT(FirstRow(count, 1), ElementsAre("4"));
  Commit(*store, Writes(JobForgotten{JobId(1)}));
  EXPECT_THAT(FirstRow(count, 1), ElementsAre("0"));
}

TEST_F(SqliteStoreTest, AVolatileJobIsRefused) {
  auto store = Open();
  AddJob job = Job(1);
  job.record.spec.is_volatile = true;
  EXPECT_EQ(store->Commit(Writes(job)).code(), absl::StatusCode::kInternal);
}

TEST_F(SqliteStoreTest, TheViewShowsSingleTasksToAPerson) {
  auto store = Open();
  AddOutcome run = Ended(1, 100, 3);
  run.outcome.results = Pack({"aaaa", "bbbb", "cccc"});
  run.outcome.started_unix_us = 1'700'000'000'000'005;
  run.outcome.finished_unix_us = 1'700'000'000'123'456;
  AddOutcome uneven = Ended(1, 200, 2);
  uneven.outcome.results = Pack({"a", "bb"});
  AddOutcome failed = Ended(1, 300, 1, TaskStatus::kFailed);
  failed.outcome.code = 3;
  failed.outcome.attempt = 2;
  failed.outcome.worker = WorkerId(2);
  Commit(*store, Writes(WorkerJoined{WorkerId(1), "w", "i", "host-1", 1}, Job(1), Job(2),
                        Ended(2, 0, 50), run, uneven, failed));
  const auto task = [this](int index) {
    return FirstRow(
        "SELECT status,cause,code,result,host,attempt,started,finished FROM tasks WHERE job=1 AND "
        "task=" +
            std::to_string(index),
        8);
  };
  EXPECT_THAT(task(100), ElementsAre("succeeded", "-", "0", "aaaa", "host-1", "1",
                                     "2023-11-14T22:13:20.000005Z", "2023-11-14T22:13:20.123456Z"));
  EXPECT_THAT(task(102), ElementsAre("succeeded", "-", "0", "cccc", "host-1", "1",
                                     "2023-11-14T22:13:20.000005Z", "2023-11-14T22:13:20.123456Z"));
  EXPECT_THAT(task(201), ElementsAre("succeeded", "-", "0", "-", "host-1", "1", "-",
                                     "2023-11-14T22:13:21.000000Z"));
  EXPECT_THAT(task(300), ElementsAre("failed", "exit_code", "3", "-", "-", "2", "-",
                                     "2023-11-14T22:13:21.000000Z"));
  EXPECT_THAT(FirstRow("SELECT count(*),min(task),max(task) FROM tasks WHERE job=1", 3),
              ElementsAre("6", "100", "300"));
  EXPECT_THAT(FirstRow("SELECT count(*),count(DISTINCT task) FROM tasks WHERE job=2", 2),
              ElementsAre("50", "50"));

  auto person = *sqlite::Connection::Open(database(), sqlite::Connection::Mode::kReadOnly);
  auto plan = *person.Prepare("EXPLAIN QUERY PLAN SELECT * FROM tasks WHERE job=1");
  std::string steps;
  while (plan.Next()) steps += plan.Text(3) + "\n";
  EXPECT_THAT(steps, HasSubstr("SEARCH o USING INDEX outcomes_by_"));
}

// The view's names are those of the program.
TEST_F(SqliteStoreTest, TheViewKnowsEveryStatusAndCause) {
  auto store = Open();
  Commit(*store, Writes(Job(1)));
  TaskIndex task = 0;
  for (int cause = 0; cause <= static_cast<int>(Cause::kProcessLimit); ++cause, ++task) {
    AddOutcome outcome = Ended(1, task, 1);
    outcome.outcome.status = static_cast<TaskStatus>(1 + cause % 4);
    outcome.outcome.cause = static_cast<Cause>(cause);
    Commit(*store, Writes(outcome));
    const std::string name(CauseName(outcome.outcome.cause));
    EXPECT_THAT(
        FirstRow("SELECT status,cause FROM tasks WHERE job=1 AND task=" + std::to_string(task), 2),
        ElementsAre(std::string(TaskStatusName(outcome.outcome.status)),
                    name.empty() ? "-" : name));
  }
}

}  // namespace
}  // namespace haul::coordinator
