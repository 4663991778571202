// SqliteStore: what a start gives back.
#include <sqlite3.h>

#include "coordinator/store/recovered_outcomes.h"
#include "coordinator/store/sqlite_rows.h"
#include "coordinator/store/sqlite_store.h"

namespace haul::coordinator {
namespace {

using sqlite::Statement;

// The template, the one long column, is read only where it is needed.
constexpr char kJobsQuery[] =
    "SELECT id,name,owner,request_id,kind,function,signature,task_count,priority,cpus_milli,"
    "max_running,max_attempts,input_set,input_bytes,accepted_unix_us,state,"
    "cancel_by IS NOT NULL,cancel_by,cancel_unix_us,ended_unix_us,succeeded,failed,cancelled,lost,"
    "CASE WHEN state='accepted' THEN template END,description FROM jobs ORDER BY id";

// The first columns of kJobsQuery.
absl::StatusOr<JobAccepted> ReadAccepted(const Statement& row) {
  const absl::StatusOr<WorkKind> kind = WorkKindFrom(row.Bytes(4));
  if (!kind.ok()) return kind.status();
  return JobAccepted{.job = JobId(row.Unsigned(0)),
                     .spec = {.name = row.Text(1),
                              .owner = row.Text(2),
                              .request_id = row.Text(3),
                              .description = row.Text(25),
                              .kind = *kind,
                              .function = row.Text(5),
                              .signature = row.Text(6),
                              .task_count = row.Unsigned(7),
                              .priority = static_cast<std::int32_t>(row.Signed(8)),
                              .cpus_milli = row.Unsigned32(9),
                              .max_running = row.Unsigned32(10),
                              .max_attempts = row.Unsigned32(11),
                              .is_volatile = false,
                              .input_bytes = row.Unsigned(13),
                              .input_set = InputSetId(row.Unsigned(12))},
                     .unix_us = row.Signed(14)};
}

}  // namespace

absl::StatusOr<Recovered> SqliteStore::Recover() {
  if (!broken_.ok()) return broken_;
  Recovered recovered;
  statements_.begin.Bind();
  absl::Status status = statements_.begin.Run();
  if (status.ok()) status = ReadMeta(recovered);
  if (status.ok()) status = ReadWorkers(recovered);
  if (status.ok()) status = ReadJobs(recovered);
  if (status.ok()) {
    absl::flat_hash_set<std::uint64_t> used;
    for (const RecoveredJob& job : recovered.jobs) used.insert(job.record.spec.input_set.value());
    status = DropLooseInputs(used);
  }
  if (status.ok()) status = SetMeta("epoch", recovered.epoch);
  if (status.ok()) {
    statements_.commit.Bind();
    status = statements_.commit.Run();
  }
  if (!status.ok()) return Fail(status);
  return recovered;
}

absl::Status SqliteStore::ReadMeta(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare("SELECT name,value FROM meta");
  if (!rows.ok()) return rows.status();
  while (rows->Next()) {
    const std::string_view name = rows->Bytes(0);
    const std::uint64_t value = rows->Unsigned(1);
    if (name == "epoch") recovered.epoch = value + 1;
    if (name == "last_job") last_ids_.job = value;
    if (name == "last_worker") last_ids_.worker = value;
    if (name == "last_input_set") last_ids_.input_set = value;
  }
  if (!rows->status().ok()) return rows->status();
  if (recovered.epoch == 0) return absl::DataLossError("the database is damaged: no epoch");
  stored_last_ids_ = last_ids_;
  recovered.last_job = JobId(last_ids_.job);
  recovered.last_worker = WorkerId(last_ids_.worker);
  recovered.last_input_set = InputSetId(last_ids_.input_set);
  return absl::OkStatus();
}

absl::Status SqliteStore::ReadWorkers(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT id,name,incarnation,host,joined_unix_us,joined_after,left_unix_us IS NULL FROM "
      "workers ORDER BY id");
  if (!rows.ok()) return rows.status();
  while (rows->Next()) {
    WorkerJoined joined{.worker = WorkerId(rows->Unsigned(0)),
                        .name = rows->Text(1),
                        .incarnation = rows->Text(2),
                        .host = rows->Text(3),
                        .unix_us = rows->Signed(4),
                        .joined_after = AssignmentId(rows->Unsigned(5))};
    if (rows->Signed(6) != 0) recovered.records.emplace_back(joined);
    recovered.workers_once_known.push_back(std::move(joined));
  }
  return rows->status();
}

absl::Status SqliteStore::ReadJobs(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(kJobsQuery);
  if (!rows.ok()) return rows.status();
  while (rows->Next()) {
    absl::StatusOr<JobAccepted> accepted = ReadAccepted(*rows);
    if (!accepted.ok()) return accepted.status();
    const JobId job = accepted->job;
    recovered.jobs.push_back({*std::move(accepted), rows->Text(24)});
    const bool ended = rows->Bytes(15) != "accepted";
    if (!ended) {
      // Charges first: an outcome ends what is charged to its tasks.
      if (absl::Status read = ReadAttempts(job, recovered); !read.ok()) return read;
      if (absl::Status read = ReadOutcomes(job, recovered); !read.ok()) return read;
    }
    if (rows->Signed(16) != 0) {
      recovered.records.emplace_back(JobCancelRequested{job, rows->Text(17), rows->Signed(18)});
    }
    if (ended) {
      const absl::StatusOr<JobState> state = JobStateFrom(rows->Bytes(15));
      if (!state.ok()) return state.status();
      recovered.records.emplace_back(JobEnded{.job = job,
                                              .state = *state,
                                              .counts = {.succeeded = rows->Unsigned(20),
                                                         .failed = rows->Unsigned(21),
                                                         .cancelled = rows->Unsigned(22),
                                                         .lost = rows->Unsigned(23)},
                                              .unix_us = rows->Signed(19)});
    }
  }
  return rows->status();
}

absl::Status SqliteStore::ReadAttempts(JobId job, Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT task,attempts,crashes,run_alone FROM attempts WHERE job=? ORDER BY id");
  if (!rows.ok()) return rows.status();
  rows->Bind(job.value());
  while (rows->Next()) {
    recovered.records.emplace_back(AttemptsCharged{.job = job,
                                                   .task = rows->Unsigned(0),
                                                   .attempts = rows->Unsigned32(1),
                                                   .crashes = rows->Unsigned32(2),
                                                   .run_alone = rows->Signed(3) != 0});
  }
  return rows->status();
}

absl::Status SqliteStore::ReadOutcomes(JobId job, Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT first,count,status,cause,worker,finished_unix_us FROM outcomes WHERE job=? "
      "ORDER BY first");
  if (!rows.ok()) return rows.status();
  rows->Bind(job.value());
  RecoveredOutcomes outcomes(recovered.records);
  while (rows->Next()) {
    outcomes.Add({.job = job,
                  .tasks = {rows->Unsigned(0), rows->Unsigned(1)},
                  .status = static_cast<TaskStatus>(rows->Unsigned32(2)),
                  .cause = static_cast<Cause>(rows->Unsigned32(3)),
                  .message = {},
                  .worker = WorkerId(rows->Unsigned(4)),
                  .unix_us = rows->Signed(5)});
  }
  return rows->status();
}

// From set to set by index: the cost is that of the sets, not of their values.
absl::Status SqliteStore::DropLooseInputs(const absl::flat_hash_set<std::uint64_t>& used) {
  absl::StatusOr<Statement> next =
      database_.Prepare("SELECT set_id FROM inputs WHERE set_id>? ORDER BY set_id LIMIT 1");
  if (!next.ok()) return next.status();
  std::uint64_t set = 0;
  while (true) {
    next->Bind(set);
    if (!next->Next()) return next->status();
    // What is no number compares as greater than any, and reads as one that is not: it would be
    // found for ever.
    if (next->Unsigned(0) <= set) {
      return absl::DataLossError("the database is damaged: a row of inputs is of no set");
    }
    set = next->Unsigned(0);
    next->Reset();
    if (used.contains(set)) continue;
    if (absl::Status dropped = Apply(DropInputs{InputSetId(set)}); !dropped.ok()) return dropped;
  }
}

}  // namespace haul::coordinator
