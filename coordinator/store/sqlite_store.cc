#include "coordinator/store/sqlite_store.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"
#include "coordinator/store/sqlite_reader.h"
#include "coordinator/store/sqlite_rows.h"
#include "coordinator/store/sqlite_schema.h"

namespace haul::coordinator {
namespace {

using sqlite::Connection;
using sqlite::Statement;

// A checkpoint copies pages and syncs twice, so it is done once for many commits: 16 MiB of log.
constexpr int kCheckpointPages = 4096;
// A log that readers have kept from starting over is waited for: 128 MiB.
constexpr int kLogLimitPages = 8 * kCheckpointPages;
constexpr int kLogWaitMs = 200;

absl::Status WithContext(const absl::Status& status, const char* what) {
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

std::string DatabasePath(const DataDirectory& directory) {
  return absl::StrCat(directory.path(), "/", kDatabaseName);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& data_dir) {
  absl::StatusOr<std::unique_ptr<DataDirectory>> directory = DataDirectory::Hold(data_dir);
  if (!directory.ok()) return directory.status();
  absl::StatusOr<Connection> database = OpenDatabase(DatabasePath(**directory));
  if (!database.ok()) return database.status();
  std::unique_ptr<SqliteStore> store(new SqliteStore(*std::move(directory), *std::move(database)));
  if (absl::Status prepared = store->Prepare(); !prepared.ok()) return prepared;
  return store;
}

SqliteStore::SqliteStore(std::unique_ptr<DataDirectory> directory, Connection database)
    : directory_(std::move(directory)),
      database_(std::move(database)),
      next_checkpoint_pages_(kCheckpointPages) {
  sqlite3_wal_hook(
      database_.handle(),
      [](void* pages, sqlite3*, const char*, int count) {
        *static_cast<int*>(pages) = count;
        return SQLITE_OK;
      },
      &log_pages_);
}

SqliteStore::~SqliteStore() {
  if (broken_.ok()) return;
  // What the disk holds is known only by opening it again: leave it as it is.
  sqlite3_db_config(database_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

absl::Status SqliteStore::Prepare() {
  const std::pair<Statement*, const char*> wanted[] = {
      {&statements_.begin, "BEGIN IMMEDIATE"},
      {&statements_.commit, "COMMIT"},
      {&statements_.rollback, "ROLLBACK"},
      {&statements_.set_meta, "UPDATE meta SET value=?2 WHERE name=?1"},
      {&statements_.last_inputs,
       "SELECT first+count FROM inputs WHERE set_id=? ORDER BY first DESC LIMIT 1"},
      {&statements_.add_inputs,
       "INSERT INTO inputs(set_id,first,count,uniform_size,end_offsets,data) VALUES(?,?,?,?,?,?)"},
      {&statements_.drop_inputs, "DELETE FROM inputs WHERE set_id=?"},
      {&statements_.has_job, "SELECT 1 FROM jobs WHERE id=?"},
      {&statements_.add_job,
       "INSERT INTO jobs(id,name,owner,request_id,kind,function,signature,task_count,priority,"
       "cpus_milli,max_running,max_attempts,input_set,input_bytes,accepted_unix_us,description,"
       "template) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
      {&statements_.cancel_job, "UPDATE jobs SET cancel_by=?2,cancel_unix_us=?3 WHERE id=?1"},
      {&statements_.end_job,
       "UPDATE jobs SET state=?2,ended_unix_us=?3,succeeded=?4,failed=?5,cancelled=?6,lost=?7 "
       "WHERE id=?1"},
      {&statements_.input_set_of_job, "SELECT input_set FROM jobs WHERE id=?"},
      {&statements_.forget_job, "DELETE FROM jobs WHERE id=?"},
      {&statements_.outcome_before,
       "SELECT first,count FROM outcomes WHERE job=?1 AND first<?2 ORDER BY first DESC LIMIT 1"},
      {&statements_.add_outcome, kInsertOutcome},
      {&statements_.forget_outcomes, "DELETE FROM outcomes WHERE job=?"},
      {&statements_.add_attempts,
       "INSERT INTO attempts(job,task,attempts,crashes,run_alone) VALUES(?,?,?,?,?)"},
      {&statements_.forget_attempts, "DELETE FROM attempts WHERE job=?"},
      {&statements_.add_worker,
       "INSERT INTO workers(id,name,incarnation,host,joined_unix_us,joined_after) "
       "VALUES(?,?,?,?,?,?)"},
      {&statements_.end_worker,
       "UPDATE workers SET left_unix_us=?2,left_reason=?3 WHERE id=?1 AND left_unix_us IS NULL"},
  };
  for (const auto& [statement, sql] : wanted) {
    absl::StatusOr<Statement> prepared = database_.Prepare(sql);
    if (!prepared.ok()) return prepared.status();
    *statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Fail(absl::Status status) {
  broken_ = absl::FailedPreconditionError(
      absl::StrCat("the store is unusable since an earlier error: ", status.message()));
  // Best effort: after some errors SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(database_.handle()) == 0) {
    statements_.rollback.Bind();
    statements_.rollback.Run().IgnoreError();
  }
  return status;
}

absl::Status SqliteStore::Commit(const std::vector<Write>& writes) {
  if (!broken_.ok()) return broken_;
  if (writes.empty()) return absl::OkStatus();
  checked_job_ = {};
  statements_.begin.Bind();
  absl::Status status = statements_.begin.Run();
  if (status.ok()) status = ApplyAll(writes);
  if (status.ok()) status = SetLastIds();
  if (status.ok()) {
    statements_.commit.Bind();
    status = statements_.commit.Run();
  }
  if (!status.ok()) return Fail(WithContext(status, "cannot commit"));
  stored_last_ids_ = last_ids_;
  status = BoundLog();
  if (!status.ok()) return Fail(WithContext(status, "cannot move the log into the database"));
  return absl::OkStatus();
}

absl::Status SqliteStore::BoundLog() {
  if (log_pages_ < kCheckpointPages) next_checkpoint_pages_ = kCheckpointPages;  // it started over
  if (log_pages_ < next_checkpoint_pages_) return absl::OkStatus();
  sqlite3* const handle = database_.handle();
  // A passive checkpoint never waits; when nobody reads the log any more, the next commit starts it
  // over.
  int code =
      sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if ((code == SQLITE_OK || code == SQLITE_BUSY) && log_pages_ >= kLogLimitPages) {
    sqlite3_busy_timeout(handle, kLogWaitMs);
    code = sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
    sqlite3_busy_timeout(handle, sqlite::kBusyTimeoutMs);
  }
  // Not on every commit while a reader keeps the log.
  next_checkpoint_pages_ = log_pages_ + kCheckpointPages;
  const int primary = code & 0xff;
  // A database that cannot grow loses nothing: the log still has it all, and is what then fills the
  // disk.
  if (primary == SQLITE_OK || primary == SQLITE_BUSY || primary == SQLITE_LOCKED ||
      primary == SQLITE_FULL) {
    return absl::OkStatus();
  }
  return sqlite::ErrorOf(handle, code);
}

absl::StatusOr<std::unique_ptr<StoreReader>> SqliteStore::NewReader() {
  return SqliteReader::Open(DatabasePath(*directory_));
}

}  // namespace haul::coordinator
