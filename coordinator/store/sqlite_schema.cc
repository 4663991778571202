#include "coordinator/store/sqlite_schema.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/store/commit_note.h"
#include "coordinator/store/data_directory.h"

namespace haul::coordinator {
namespace {

using sqlite::Connection;

// SQLite keeps these texts, comments included: a person sees them with .schema.
constexpr char kTables[] = R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('last_job', 0), ('last_worker', 0), ('last_input_set', 0),
  ('jobs', 0), ('commits', 0), ('rows_checked', 1), ('check', 0);

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  request_id TEXT,
  kind TEXT NOT NULL,                    -- command, function
  function TEXT,
  signature TEXT,
  task_count INTEGER NOT NULL,           -- when it was accepted; an open job has extensions
  priority INTEGER NOT NULL,
  cpus_milli INTEGER NOT NULL,           -- of each task; 1000 is one cpu
  max_running INTEGER NOT NULL,          -- 0: no limit
  max_attempts INTEGER NOT NULL,
  at_most_once INTEGER NOT NULL DEFAULT 0,
  is_open INTEGER NOT NULL DEFAULT 0,    -- was accepted as an open job
  parent_assignment INTEGER,             -- NULL: no task submitted it
  parent_job INTEGER,
  parent_task INTEGER,
  depth INTEGER NOT NULL DEFAULT 0,      -- of tasks that submit jobs whose tasks submit jobs, ...
  input_set INTEGER,                     -- inputs.set_id
  input_bytes INTEGER NOT NULL,
  accepted_unix_us INTEGER NOT NULL,
  cancel_by TEXT,                        -- NULL: nobody asked
  cancel_unix_us INTEGER,
  state TEXT NOT NULL DEFAULT 'accepted',  -- accepted (it goes on), succeeded, failed, cancelled
  ended_unix_us INTEGER,
  succeeded INTEGER,                     -- tasks, known when the job has ended
  failed INTEGER,
  cancelled INTEGER,
  lost INTEGER,
  description TEXT NOT NULL,
  template BLOB NOT NULL,
  row_check INTEGER,                     -- over the values of the row, as in other tables
  cancel_check INTEGER,
  end_check INTEGER
) STRICT;
CREATE UNIQUE INDEX jobs_request ON jobs(owner, request_id) WHERE request_id IS NOT NULL;

-- The values of tasks [first, first + count) of a set.
CREATE TABLE inputs (
  set_id INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  uniform_size INTEGER NOT NULL,         -- of each value, while end_offsets is NULL
  end_offsets BLOB,                      -- where each value ends in data, 32 bits little-endian
  data BLOB NOT NULL,
  row_check INTEGER
) STRICT;
CREATE UNIQUE INDEX inputs_by_index ON inputs(set_id, first);

-- Tasks [first, first + count) of a job ended alike. What is NULL is 0, empty, or an attempt of 1.
CREATE TABLE outcomes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of completion
  job INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  status INTEGER NOT NULL,               -- 1 succeeded, 2 failed, 3 cancelled, 4 lost
  cause INTEGER,                         -- see the view tasks
  code INTEGER,
  worker INTEGER,
  assignment INTEGER,
  attempt INTEGER,
  pid INTEGER,
  culprit INTEGER,
  started_unix_us INTEGER,               -- of the first of them
  finished_unix_us INTEGER,              -- of the last of them
  busy_ns INTEGER,                       -- sum of the tasks' durations
  user_cpu_us INTEGER,
  system_cpu_us INTEGER,
  peak_memory_bytes INTEGER,
  output_file TEXT,                      -- below outputs/ in the data directory
  output_bytes INTEGER,
  error_file TEXT,
  error_bytes INTEGER,
  message TEXT,
  row_check INTEGER,
  result_size INTEGER,                   -- of each result, while result_ends is NULL
  result_ends BLOB,                      -- where each result ends, 32 bits little-endian
  results BLOB,
  error_output BLOB
) STRICT;
CREATE UNIQUE INDEX outcomes_by_index ON outcomes(job, first);
-- An index ends in the sequence by itself, so this one is (job, sequence).
CREATE INDEX outcomes_by_completion ON outcomes(job);
CREATE INDEX outcomes_unsuccessful ON outcomes(job) WHERE status <> 1;

-- Starts that were charged to a task; totals so far.
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  task INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  run_alone INTEGER NOT NULL,
  assignment INTEGER,                    -- of the last start that was charged
  row_check INTEGER
) STRICT;
CREATE INDEX attempts_by_job ON attempts(job);

CREATE TABLE workers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  host TEXT NOT NULL,
  joined_unix_us INTEGER NOT NULL,
  joined_after INTEGER NOT NULL,
  left_unix_us INTEGER,
  left_reason TEXT,
  row_check INTEGER
) STRICT;
)sql";

// Came with version 3.
constexpr char kTablesOfVersion3[] = R"sql(
-- Tasks [first, first + count) of an at-most-once job were about to start; or, withdrawn, did not.
CREATE TABLE starts (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  assignment INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL,
  row_check INTEGER
) STRICT;
CREATE INDEX starts_by_job ON starts(job);

-- An open job got so many tasks more, behind those that it had; or, closed, gets no more.
CREATE TABLE extensions (
  id INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  count INTEGER NOT NULL,
  input_bytes INTEGER NOT NULL,
  closed INTEGER NOT NULL,
  row_check INTEGER
) STRICT;
CREATE INDEX extensions_by_job ON extensions(job);
)sql";

// Ranges taken apart again. A JSON array of `count` zeros counts from 0 to count - 1 for each row
// of outcomes, and unlike a recursive query leaves the conditions on job and sequence to the
// indices.
constexpr char kViews[] = R"sql(
CREATE VIEW tasks AS
SELECT
  o.job AS job,
  o.first + i.key AS task,
  CASE o.status WHEN 1 THEN 'succeeded' WHEN 2 THEN 'failed' WHEN 3 THEN 'cancelled'
                WHEN 4 THEN 'lost' END AS status,
  CASE o.cause WHEN 1 THEN 'exit_code' WHEN 2 THEN 'signal' WHEN 3 THEN 'timeout'
               WHEN 4 THEN 'memory_limit' WHEN 5 THEN 'output_limit' WHEN 6 THEN 'worker_lost'
               WHEN 7 THEN 'cancelled' WHEN 8 THEN 'function_error' WHEN 9 THEN 'start_failed'
               WHEN 10 THEN 'executor_exit' WHEN 11 THEN 'process_limit' END AS cause,
  coalesce(o.code, 0) AS code,
  o.message AS message,
  CASE WHEN o.result_size > 0 THEN substr(o.results, i.key * o.result_size + 1, o.result_size) END
    AS result,                           -- NULL where sizes differ within the run
  o.error_output AS error_output,
  o.output_file AS output_file,
  o.error_file AS error_file,
  w.host AS host,
  coalesce(o.attempt, 1) AS attempt,
  strftime('%Y-%m-%dT%H:%M:%S', o.started_unix_us / 1000000, 'unixepoch')
    || printf('.%06dZ', o.started_unix_us % 1000000) AS started,    -- of its run
  strftime('%Y-%m-%dT%H:%M:%S', o.finished_unix_us / 1000000, 'unixepoch')
    || printf('.%06dZ', o.finished_unix_us % 1000000) AS finished,  -- of its run
  o.sequence AS sequence
FROM outcomes AS o
CROSS JOIN json_each(
  '[' || substr(replace(hex(zeroblob(o.count)), '00', '0,'), 1, 2 * o.count - 1) || ']') AS i
LEFT JOIN workers AS w ON w.id = o.worker;
)sql";

// Version 1 counted no commits, checked no rows, forgot whose start was charged, and its view knew
// fewer causes. Rows from before stay unchecked.
constexpr char kToVersion2[] =
    "INSERT INTO meta VALUES ('commits', 0), ('rows_checked', 0), ('check', 0),"
    "('jobs', (SELECT count(*) FROM jobs));"
    "ALTER TABLE jobs ADD COLUMN row_check INTEGER;"
    "ALTER TABLE jobs ADD COLUMN cancel_check INTEGER;"
    "ALTER TABLE jobs ADD COLUMN end_check INTEGER;"
    "ALTER TABLE inputs ADD COLUMN row_check INTEGER;"
    "ALTER TABLE outcomes ADD COLUMN row_check INTEGER;"
    "ALTER TABLE workers ADD COLUMN row_check INTEGER;"
    "ALTER TABLE attempts ADD COLUMN assignment INTEGER;"
    "ALTER TABLE attempts ADD COLUMN row_check INTEGER;"
    "DROP VIEW tasks;";

// Version 2 had no jobs that start at most once, and none that grow.
constexpr char kToVersion3[] =
    "ALTER TABLE jobs ADD COLUMN at_most_once INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN is_open INTEGER NOT NULL DEFAULT 0;";

// Version 3 had no jobs that tasks submit.
constexpr char kToVersion4[] =
    "ALTER TABLE jobs ADD COLUMN parent_assignment INTEGER;"
    "ALTER TABLE jobs ADD COLUMN parent_job INTEGER;"
    "ALTER TABLE jobs ADD COLUMN parent_task INTEGER;"
    "ALTER TABLE jobs ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;";

// Only its owner may read the database; its companions take their mode from it.
absl::Status MakeFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  ::close(fd);
  // The name of its log must never be more durable than its own.
  return SyncDirectory(path.substr(0, path.rfind('/')));
}

std::uint64_t SizeOf(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

// A directory below outputs/ that is named by the number of a job; empty if there is none.
std::string SomeOutputs(const std::string& data_dir) {
  const std::string outputs = absl::StrCat(data_dir, "/", kOutputsName);
  std::error_code error;
  for (std::filesystem::directory_iterator it(outputs, error), end; !error && it != end;
       it.increment(error)) {
    std::uint64_t job = 0;
    if (absl::SimpleAtoi(it->path().filename().string(), &job)) return it->path().string();
  }
  return {};
}

// What says that there was a database where now is none, or one without tables; OK if nothing does.
// A token alone does not: somebody may have put it there for a first start.
// A log beside a database without tables is that of a first start which was cut short; SQLite has
// read it by then.
absl::Status CheckNothingIsLost(const std::string& path, const char* what, bool log_is_read) {
  const absl::StatusOr<CommitNote::Content> note = CommitNote::Read(path);
  if (!note.ok()) return note.status();
  std::string witness;
  if (note->exists) {
    witness = CommitNote::PathOf(path);
  } else if (const std::string log = absl::StrCat(path, "-wal"); !log_is_read && SizeOf(log) > 0) {
    witness = log;
  } else {
    witness = SomeOutputs(path.substr(0, path.rfind('/')));
  }
  if (witness.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, " ", what, ", but ", witness,
                                          " says that there was a database with jobs"));
}

absl::Status CheckIdentity(const std::string& path, std::int64_t application,
                           std::int64_t version) {
  if (application != kApplicationId) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a database of Haul"));
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " has schema version ", version, ", but this program knows only version ",
        kSchemaVersion, ": start the newer haul that wrote it"));
  }
  return absl::OkStatus();
}

absl::Status MakeTables(Connection& database) {
  const std::string sql = absl::StrCat("BEGIN IMMEDIATE;", kTables, kTablesOfVersion3, kViews,
                                       "PRAGMA application_id=", kApplicationId,
                                       ";PRAGMA user_version=", kSchemaVersion, ";COMMIT;");
  return database.Execute(sql.c_str());
}

absl::Status Configure(Connection& database) {
  // FULL syncs the log with every commit: what was acknowledged survives power loss. The
  // checkpoints are the store's own. Deleted pages need not be overwritten: it would all go through
  // the log.
  return database.Execute(
      "PRAGMA journal_mode=WAL;"
      "PRAGMA synchronous=FULL;"
      "PRAGMA wal_autocheckpoint=0;"
      "PRAGMA journal_size_limit=67108864;"
      "PRAGMA secure_delete=OFF;"
      "PRAGMA cell_size_check=ON;"
      "PRAGMA cache_size=-8000;"
      "PRAGMA temp_store=MEMORY;");
}

// What the file says it is; the tables are those that it has.
struct Identity {
  std::int64_t application = 0;
  std::int64_t version = 0;
  std::int64_t tables = 0;
  // Tables come in one transaction, so a file has all of them or none.
  bool is_new() const { return application == 0 && version == 0 && tables == 0; }
};

absl::StatusOr<Identity> ReadIdentity(Connection& database) {
  Identity identity;
  const std::pair<std::int64_t*, const char*> wanted[] = {
      {&identity.application, "PRAGMA application_id"},
      {&identity.version, "PRAGMA user_version"},
      {&identity.tables, "SELECT count(*) FROM sqlite_schema"}};
  for (const auto& [field, sql] : wanted) {
    const absl::StatusOr<std::int64_t> value = database.ReadInteger(sql);
    if (!value.ok()) return value.status();
    *field = *value;
  }
  return identity;
}

// Rows that are gone from an index, or pages that are used twice, show nowhere else before they are
// needed. It reads the whole file, and must not keep a large cluster waiting (ADR 0004).
absl::Status CheckIntegrity(Connection& database, const std::string& path,
                            std::int64_t most_pages) {
  const absl::StatusOr<std::int64_t> pages = database.ReadInteger("PRAGMA page_count");
  if (!pages.ok()) return pages.status();
  if (*pages > most_pages) return absl::OkStatus();
  const absl::StatusOr<std::string> found = database.ReadText("PRAGMA integrity_check(1)");
  if (!found.ok()) return found.status();
  if (*found == "ok") return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      path, ": the file is damaged: ", absl::StrReplaceAll(*found, {{"\n", " "}, {"***", ""}})));
}

absl::Status CheckLogIsUsed(Connection& database, const std::string& path) {
  const auto mode = database.ReadText("PRAGMA journal_mode");
  if (!mode.ok()) return mode.status();
  if (*mode == "wal") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": this file system cannot hold a database with a write-ahead log"));
}

}  // namespace

absl::Span<const Migration> Migrations() {
  static const std::string* const to_version_2 = new std::string(absl::StrCat(kToVersion2, kViews));
  static const std::string* const to_version_3 =
      new std::string(absl::StrCat(kToVersion3, kTablesOfVersion3));
  static const Migration migrations[] = {
      {2, to_version_2->c_str()}, {3, to_version_3->c_str()}, {4, kToVersion4}};
  return migrations;
}

absl::Status Migrate(Connection& database, const std::string& path, std::int64_t version,
                     absl::Span<const Migration> migrations) {
  std::string sql = "BEGIN IMMEDIATE;";
  std::int64_t reached = version;
  for (const Migration& migration : migrations) {
    if (migration.to != reached + 1) continue;
    absl::StrAppend(&sql, migration.sql, "PRAGMA user_version=", migration.to, ";");
    reached = migration.to;
  }
  if (migrations.empty() || reached != migrations.back().to) {
    return absl::DataLossError(absl::StrCat(path, " has schema version ", version,
                                            ", which no haul ever wrote: the file is damaged"));
  }
  absl::StrAppend(&sql, "COMMIT;");
  absl::Status migrated = database.Execute(sql.c_str());
  if (migrated.ok()) return migrated;
  database.Execute("ROLLBACK").IgnoreError();  // SQLite may have done so by itself
  return absl::Status(migrated.code(), absl::StrCat("cannot bring schema version ", version, " to ",
                                                    reached, ": ", migrated.message()));
}

namespace {

absl::StatusOr<Connection> OpenFile(const std::string& path, std::int64_t integrity_check_pages) {
  if (SizeOf(path) == 0) {
    const bool missing = ::access(path.c_str(), F_OK) != 0;
    absl::Status fresh = CheckNothingIsLost(path, missing ? "is missing" : "is empty", false);
    if (fresh.ok()) fresh = MakeFile(path);
    if (!fresh.ok()) return fresh;
  }
  absl::StatusOr<Connection> database = Connection::Open(path, Connection::Mode::kReadWrite);
  if (!database.ok()) return database.status();
  // What is refused stays as it is, its log too: closing would move the log into the database.
  database->KeepLogOnClose(true);
  const absl::StatusOr<Identity> identity = ReadIdentity(*database);
  if (!identity.ok()) return identity.status();
  const bool is_new = identity->is_new();
  absl::Status known = is_new ? CheckNothingIsLost(path, "has no tables", true)
                              : CheckIdentity(path, identity->application, identity->version);
  if (!known.ok()) return known;
  if (absl::Status set = Configure(*database); !set.ok()) return set;
  if (absl::Status sound = CheckIntegrity(*database, path, integrity_check_pages); !sound.ok())
    return sound;
  if (absl::Status used = CheckLogIsUsed(*database, path); !used.ok()) return used;
  if (is_new) {
    if (absl::Status made = MakeTables(*database); !made.ok()) return made;
  } else if (identity->version < kSchemaVersion) {
    absl::Status migrated = Migrate(*database, path, identity->version, Migrations());
    if (!migrated.ok()) return migrated;
  }
  return database;
}

}  // namespace

absl::Status AsDamage(const absl::Status& status) {
  if (!absl::IsInternal(status)) return status;
  return absl::DataLossError(absl::StrCat("the file is damaged: ", status.message()));
}

absl::StatusOr<Connection> OpenDatabase(const std::string& path,
                                        std::int64_t integrity_check_pages) {
  absl::StatusOr<Connection> database = OpenFile(path, integrity_check_pages);
  if (!database.ok()) return AsDamage(database.status());
  if (sqlite3_db_readonly(database->handle(), "main") == 1 && ::access(path.c_str(), W_OK) == 0) {
    return absl::DataLossError(
        absl::StrCat(path, ": the file is damaged: it says that it must not be written"));
  }
  return database;
}

absl::StatusOr<Connection> OpenForReading(const std::string& path) {
  absl::StatusOr<Connection> database = Connection::Open(path, Connection::Mode::kReadOnly);
  if (!database.ok()) return database.status();
  if (absl::Status set = database->Execute("PRAGMA cache_size=-4000;PRAGMA temp_store=MEMORY;");
      !set.ok()) {
    return set;
  }
  return database;
}

}  // namespace haul::coordinator
