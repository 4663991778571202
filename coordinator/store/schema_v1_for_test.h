// Schema version 1, as its programs wrote it, with a little of everything in it.
#pragma once

namespace haul::coordinator {

inline constexpr char kSchemaV1[] = R"sql(
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('last_job', 0), ('last_worker', 0), ('last_input_set', 0);
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  request_id TEXT,
  kind TEXT NOT NULL,
  function TEXT,
  signature TEXT,
  task_count INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  cpus_milli INTEGER NOT NULL,
  max_running INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  input_set INTEGER,
  input_bytes INTEGER NOT NULL,
  accepted_unix_us INTEGER NOT NULL,
  cancel_by TEXT,
  cancel_unix_us INTEGER,
  state TEXT NOT NULL DEFAULT 'accepted',
  ended_unix_us INTEGER,
  succeeded INTEGER,
  failed INTEGER,
  cancelled INTEGER,
  lost INTEGER,
  description TEXT NOT NULL,
  template BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_request ON jobs(owner, request_id) WHERE request_id IS NOT NULL;
CREATE TABLE inputs (
  set_id INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  uniform_size INTEGER NOT NULL,
  end_offsets BLOB,
  data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX inputs_by_index ON inputs(set_id, first);
CREATE TABLE outcomes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  status INTEGER NOT NULL,
  cause INTEGER,
  code INTEGER,
  worker INTEGER,
  assignment INTEGER,
  attempt INTEGER,
  pid INTEGER,
  culprit INTEGER,
  started_unix_us INTEGER,
  finished_unix_us INTEGER,
  busy_ns INTEGER,
  user_cpu_us INTEGER,
  system_cpu_us INTEGER,
  peak_memory_bytes INTEGER,
  output_file TEXT,
  output_bytes INTEGER,
  error_file TEXT,
  error_bytes INTEGER,
  message TEXT,
  result_size INTEGER,
  result_ends BLOB,
  results BLOB,
  error_output BLOB
) STRICT;
CREATE UNIQUE INDEX outcomes_by_index ON outcomes(job, first);
CREATE INDEX outcomes_by_completion ON outcomes(job);
CREATE INDEX outcomes_unsuccessful ON outcomes(job) WHERE status <> 1;
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

CREATE VIEW tasks AS
SELECT
  o.job AS job,
  o.first + i.key AS task,
  CASE o.status WHEN 1 THEN 'succeeded' WHEN 2 THEN 'failed' WHEN 3 THEN 'cancelled'
                WHEN 4 THEN 'lost' END AS status,
  CASE o.cause WHEN 1 THEN 'exit_code' WHEN 2 THEN 'signal' WHEN 3 THEN 'timeout'
               WHEN 4 THEN 'memory_limit' WHEN 5 THEN 'output_limit' WHEN 6 THEN 'worker_lost'
               WHEN 7 THEN 'cancelled' WHEN 8 THEN 'function_error' WHEN 9 THEN 'start_failed'
               WHEN 10 THEN 'executor_exit' END AS cause,
  coalesce(o.code, 0) AS code,
  o.message AS message,
  CASE WHEN o.result_size > 0 THEN substr(o.results, i.key * o.result_size + 1, o.result_size) END
    AS result,
  o.error_output AS error_output,
  o.output_file AS output_file,
  o.error_file AS error_file,
  w.host AS host,
  coalesce(o.attempt, 1) AS attempt,
  strftime('%Y-%m-%dT%H:%M:%S', o.started_unix_us / 1000000, 'unixepoch')
    || printf('.%06dZ', o.started_unix_us % 1000000) AS started,
  strftime('%Y-%m-%dT%H:%M:%S', o.finished_unix_us / 1000000, 'unixepoch')
    || printf('.%06dZ', o.finished_unix_us % 1000000) AS finished,
  o.sequence AS sequence
FROM outcomes AS o
CROSS JOIN json_each(
  '[' || substr(replace(hex(zeroblob(o.count)), '00', '0,'), 1, 2 * o.count - 1) || ']') AS i
LEFT JOIN workers AS w ON w.id = o.worker;

PRAGMA application_id=0x4861756c;
PRAGMA user_version=1;
)sql";

inline constexpr char kRowsV1[] = R"sql(
UPDATE meta SET value = 7 WHERE name = 'epoch';
UPDATE meta SET value = 4 WHERE name = 'last_job';
UPDATE meta SET value = 2 WHERE name = 'last_worker';
UPDATE meta SET value = 9 WHERE name = 'last_input_set';
INSERT INTO jobs(id, name, owner, request_id, kind, function, task_count, priority, cpus_milli,
                 max_running, max_attempts, input_set, input_bytes, accepted_unix_us, description, template)
VALUES (3, 'sweep', 'me', 'r-3', 'function', 'noop.v1', 2, 0, 1000, 0, 2, 9, 5, 1700000000000000,
        'noop.v1', x'00ff');
INSERT INTO jobs(id, name, owner, kind, task_count, priority, cpus_milli, max_running, max_attempts,
                 input_bytes, accepted_unix_us, cancel_by, cancel_unix_us, state, ended_unix_us, succeeded,
                 failed, cancelled, lost, description, template)
VALUES (4, 'old', 'me', 'command', 3, 0, 1000, 0, 1, 0, 1700000000000000, 'me', 5, 'cancelled', 6, 1, 1,
        1, 0, 'true', x'01');
INSERT INTO inputs(set_id, first, count, uniform_size, end_offsets, data)
VALUES (9, 0, 2, 0, x'0200000005000000', x'6162636465');
INSERT INTO outcomes(job, first, count, status, worker, assignment, finished_unix_us, result_size, results)
VALUES (3, 0, 1, 1, 2, 100, 1700000001000000, 4, x'646f6e65');
INSERT INTO attempts(job, task, attempts, crashes, run_alone) VALUES (3, 1, 1, 0, 0);
INSERT INTO workers(id, name, incarnation, host, joined_unix_us, joined_after)
VALUES (2, 'w', 'i', 'host', 1, 0);
)sql";

}  // namespace haul::coordinator
