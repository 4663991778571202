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

// A log that readers have kept from starting over is waited for: 128 MiB.
constexpr int kLogLimitCheckpoints = 8;
constexpr int kLogWaitMs = 200;

absl::Status WithContext(const absl::Status& status, const char* what) {
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

std::string DatabasePath(const DataDirectory& directory) {
  return absl::StrCat(directory.path(), "/", kDatabaseName);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& data_dir,
                                                               const SqliteStoreOptions& options) {
  absl::StatusOr<std::unique_ptr<DataDirectory>> directory = DataDirectory::Hold(data_dir);
  if (!directory.ok()) return directory.status();
  const std::string path = DatabasePath(**directory);
  absl::StatusOr<Connection> database = OpenDatabase(path, options.integrity_check_pages);
  if (!database.ok()) return WithAdvice(database.status(), data_dir);
  absl::StatusOr<std::unique_ptr<CommitNote>> note = CommitNote::Open(path);
  if (!note.ok()) return note.status();
  std::unique_ptr<SqliteStore> store(
      new SqliteStore(*std::move(directory), *std::move(database), *std::move(note), options));
  if (absl::Status prepared = store->Prepare(); !prepared.ok()) {
    return WithAdvice(prepared, data_dir);
  }
  return store;
}

SqliteStore::SqliteStore(std::unique_ptr<DataDirectory> directory, Connection database,
                         std::unique_ptr<CommitNote> note, const SqliteStoreOptions& options)
    : directory_(std::move(directory)),
      database_(std::move(database)),
      note_(std::move(note)),
      checkpoint_pages_(options.checkpoint_pages),
      next_checkpoint_pages_(options.checkpoint_pages) {
  sqlite3_wal_hook(
      database_.handle(),
      [](void* pages, sqlite3*, const char*, int count) {
        *static_cast<int*>(pages) = count;
        return SQLITE_OK;
      },
      &log_pages_);
}

// What the disk holds after an error is known only by opening it again: then it is left as it is.
SqliteStore::~SqliteStore() {
  if (broken_.ok() && commits_ > 0) database_.KeepLogOnClose(false);
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
       "INSERT INTO inputs(set_id,first,count,uniform_size,end_offsets,data,row_check) "
       "VALUES(?,?,?,?,?,?,?)"},
      {&statements_.drop_inputs, "DELETE FROM inputs WHERE set_id=?"},
      {&statements_.has_job, "SELECT 1 FROM jobs WHERE id=?"},
      {&statements_.add_job,
       "INSERT INTO jobs(id,name,owner,request_id,kind,function,signature,task_count,priority,"
       "cpus_milli,max_running,max_attempts,at_most_once,is_open,parent_assignment,"
       "parent_job,parent_task,depth,input_set,input_bytes,accepted_unix_us,description,template,"
       "row_check) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
      {&statements_.cancel_job,
       "UPDATE jobs SET cancel_by=?2,cancel_unix_us=?3,cancel_check=?4 WHERE id=?1"},
      {&statements_.end_job,
       "UPDATE jobs SET state=?2,ended_unix_us=?3,succeeded=?4,failed=?5,cancelled=?6,lost=?7,"
       "end_check=?8 WHERE id=?1"},
      {&statements_.input_set_of_job, "SELECT input_set FROM jobs WHERE id=?"},
      {&statements_.forget_job, "DELETE FROM jobs WHERE id=?"},
      {&statements_.outcome_before,
       "SELECT first,count FROM outcomes WHERE job=?1 AND first<?2 ORDER BY first DESC LIMIT 1"},
      {&statements_.add_outcome, kInsertOutcome},
      {&statements_.forget_outcomes, "DELETE FROM outcomes WHERE job=?"},
      {&statements_.add_attempts,
       "INSERT INTO attempts(job,task,attempts,crashes,run_alone,assignment,row_check) "
       "VALUES(?,?,?,?,?,?,?)"},
      {&statements_.forget_attempts, "DELETE FROM attempts WHERE job=?"},
      {&statements_.add_starts,
       "INSERT INTO starts(job,first,count,assignment,withdrawn,row_check) VALUES(?,?,?,?,?,?)"},
      {&statements_.forget_starts, "DELETE FROM starts WHERE job=?"},
      {&statements_.add_extension,
       "INSERT INTO extensions(job,count,input_bytes,closed,row_check) VALUES(?,?,?,?,?)"},
      {&statements_.forget_extensions, "DELETE FROM extensions WHERE job=?"},
      {&statements_.add_worker,
       "INSERT INTO workers(id,name,incarnation,host,joined_unix_us,joined_after,row_check) "
       "VALUES(?,?,?,?,?,?,?)"},
      {&statements_.end_worker,
       "UPDATE workers SET left_unix_us=?2,left_reason=?3 WHERE id=?1 AND left_unix_us IS NULL"},
  };
  for (const auto& [statement, sql] : wanted) {
    absl::StatusOr<Statement> prepared = database_.Prepare(sql);
    if (!prepared.ok()) return AsDamage(prepared.status());
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
  outcome_sequences_.clear();
  statements_.begin.Bind();
  absl::Status status = statements_.begin.Run();
  if (status.ok()) status = ApplyAll(writes);
  if (status.ok()) status = SetLastIds();
  if (status.ok()) status = EndTransaction();
  if (!status.ok()) return Fail(WithContext(status, "cannot commit"));
  stored_last_ids_ = last_ids_;
  stored_job_count_ = job_count_;
  status = BoundLog();
  if (!status.ok()) return Fail(WithContext(status, "cannot move the log into the database"));
  return absl::OkStatus();
}

absl::Status SqliteStore::EndTransaction() {
  ++commits_;
  if (absl::Status counted = SetMeta("commits", commits_); !counted.ok()) return counted;
  if (absl::Status checked = SetMeta("check", CheckOfMeta()); !checked.ok()) return checked;
  statements_.commit.Bind();
  if (absl::Status committed = statements_.commit.Run(); !committed.ok()) return committed;
  note_->Write(commits_);
  return absl::OkStatus();
}

absl::Status SqliteStore::BoundLog() {
  if (log_pages_ < checkpoint_pages_)
    next_checkpoint_pages_ = checkpoint_pages_;  // it started over
  if (log_pages_ < next_checkpoint_pages_) return absl::OkStatus();
  sqlite3* const handle = database_.handle();
  // A passive checkpoint never waits; when nobody reads the log any more, the next commit starts it
  // over.
  int code =
      sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if ((code == SQLITE_OK || code == SQLITE_BUSY) &&
      log_pages_ >= kLogLimitCheckpoints * checkpoint_pages_) {
    sqlite3_busy_timeout(handle, kLogWaitMs);
    code = sqlite3_wal_checkpoint_v2(handle, nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
    sqlite3_busy_timeout(handle, sqlite::kBusyTimeoutMs);
  }
  // Not on every commit while a reader keeps the log.
  next_checkpoint_pages_ = log_pages_ + checkpoint_pages_;
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
