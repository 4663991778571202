#include "coordinator/store/sqlite_schema.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "coordinator/store/data_directory.h"

namespace haul::coordinator {
namespace {

using sqlite::Connection;

// SQLite keeps these texts, comments included: a person sees them with .schema.
constexpr char kTables[] = R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('last_job', 0), ('last_worker', 0), ('last_input_set', 0);

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  request_id TEXT,
  kind TEXT NOT NULL,                    -- command, function
  function TEXT,
  signature TEXT,
  task_count INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  cpus_milli INTEGER NOT NULL,           -- of each task; 1000 is one cpu
  max_running INTEGER NOT NULL,          -- 0: no limit
  max_attempts INTEGER NOT NULL,
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
  template BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_request ON jobs(owner, request_id) WHERE request_id IS NOT NULL;

-- The values of tasks [first, first + count) of a set.
CREATE TABLE inputs (
  set_id INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  uniform_size INTEGER NOT NULL,         -- of each value, while end_offsets is NULL
  end_offsets BLOB,                      -- where each value ends in data, 32 bits little-endian
  data BLOB NOT NULL
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
  run_alone INTEGER NOT NULL
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
  left_reason TEXT
) STRICT;
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

// Only its owner may read the database; its companions take their mode from it.
absl::Status MakeFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  ::close(fd);
  return absl::OkStatus();
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
  if (version < kSchemaVersion) {
    return absl::DataLossError(absl::StrCat(path, " has schema version ", version,
                                            ", which no haul ever wrote: the file is damaged"));
  }
  return absl::OkStatus();
}

absl::Status MakeTables(Connection& database) {
  const std::string sql =
      absl::StrCat("BEGIN IMMEDIATE;", kTables, kViews, "PRAGMA application_id=", kApplicationId,
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

}  // namespace

absl::StatusOr<Connection> OpenDatabase(const std::string& path) {
  if (absl::Status made = MakeFile(path); !made.ok()) return made;
  absl::StatusOr<Connection> database = Connection::Open(path, Connection::Mode::kReadWrite);
  if (!database.ok()) return database.status();
  const auto application = database->ReadInteger("PRAGMA application_id");
  if (!application.ok()) return application.status();
  const auto version = database->ReadInteger("PRAGMA user_version");
  if (!version.ok()) return version.status();
  const auto tables = database->ReadInteger("SELECT count(*) FROM sqlite_schema");
  if (!tables.ok()) return tables.status();

  // Tables come in one transaction, so a file has all of them or none.
  const bool is_new = *application == 0 && *version == 0 && *tables == 0;
  if (!is_new) {
    if (absl::Status known = CheckIdentity(path, *application, *version); !known.ok()) return known;
  }
  if (absl::Status set = Configure(*database); !set.ok()) return set;
  const auto mode = database->ReadText("PRAGMA journal_mode");
  if (!mode.ok()) return mode.status();
  if (*mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": this file system cannot hold a database with a write-ahead log"));
  }
  if (is_new) {
    if (absl::Status made = MakeTables(*database); !made.ok()) return made;
    const std::string directory = path.substr(0, path.rfind('/'));
    if (absl::Status synced = SyncDirectory(directory); !synced.ok()) return synced;
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
