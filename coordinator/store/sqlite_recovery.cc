// SqliteStore: what a start gives back.
#include <sqlite3.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "coordinator/store/recovered_outcomes.h"
#include "coordinator/store/row_check.h"
#include "coordinator/store/sqlite_rows.h"
#include "coordinator/store/sqlite_schema.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

using sqlite::Statement;

// The template, the one long column, is read only where it is needed.
constexpr char kJobsQuery[] =
    "SELECT id,name,owner,request_id,kind,function,signature,task_count,priority,cpus_milli,"
    "max_running,max_attempts,input_set,input_bytes,accepted_unix_us,state,"
    "cancel_by IS NOT NULL,cancel_by,cancel_unix_us,ended_unix_us,succeeded,failed,cancelled,lost,"
    "CASE WHEN state='accepted' THEN template END,description,row_check,cancel_check,end_check,"
    "at_most_once,is_open,parent_assignment,parent_job,parent_task,depth FROM jobs ORDER BY id";

// Ids are keys, and rows come in their order.
absl::Status CheckId(std::string_view table, std::uint64_t id, std::uint64_t previous,
                     std::uint64_t last) {
  if (id <= previous) return DamagedRow(table, id, "is out of order");
  if (id > last) return DamagedRow(table, id, "has a greater id than was ever given out");
  return absl::OkStatus();
}

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
                              .at_most_once = row.Signed(29) != 0,
                              .is_volatile = false,
                              .is_open = row.Signed(30) != 0,
                              .input_bytes = row.Unsigned(13),
                              .input_set = InputSetId(row.Unsigned(12)),
                              .parent = {.assignment = AssignmentId(row.Unsigned(31)),
                                         .job = JobId(row.Unsigned(32)),
                                         .task = row.Unsigned(33)},
                              .depth = row.Unsigned32(34)},
                     .unix_us = row.Signed(14)};
}

}  // namespace

absl::StatusOr<Recovered> SqliteStore::Recover() {
  if (!broken_.ok()) return broken_;
  Recovered recovered;
  const absl::Status status = AsDamage(RecoverAll(recovered));
  if (!status.ok()) return Fail(WithAdvice(status, directory_->path()));
  return recovered;
}

absl::Status SqliteStore::RecoverAll(Recovered& recovered) {
  statements_.begin.Bind();
  absl::Status status = statements_.begin.Run();
  if (status.ok()) status = ReadMeta(recovered);
  if (status.ok()) status = CheckCommits();
  if (status.ok()) status = ReadWorkers(recovered);
  if (status.ok()) status = ReadJobs(recovered);
  // Rows that look like rows and cannot be may be from before each had a check.
  if (status.ok()) status = CheckRecovered(recovered);
  if (!status.ok()) return status;
  absl::flat_hash_set<std::uint64_t> used;
  for (const RecoveredJob& job : recovered.jobs) used.insert(job.record.spec.input_set.value());
  status = DropLooseInputs(used);
  if (status.ok()) status = SetMeta("epoch", recovered.epoch);
  return status.ok() ? EndTransaction() : status;
}

// What the database lacks, the log held: it was cut off, damaged or removed.
absl::Status SqliteStore::CheckCommits() const {
  const std::string path = absl::StrCat(directory_->path(), "/", kDatabaseName);
  const absl::StatusOr<CommitNote::Content> note = CommitNote::Read(path);
  if (!note.ok()) return note.status();
  if (!note->commits || *note->commits <= commits_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      path, " and its log hold ", commits_, " commits, but ", CommitNote::PathOf(path),
      " says that ", *note->commits, " were acknowledged: the last ", *note->commits - commits_,
      " are damaged or missing (remove that file to go on "
      "without them)"));
}

absl::Status SqliteStore::ReadMeta(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare("SELECT name,value FROM meta");
  if (!rows.ok()) return rows.status();
  std::uint64_t check = 0;
  bool has_epoch = false;
  while (rows->Next()) {
    const std::string_view name = rows->Bytes(0);
    const std::uint64_t value = rows->Unsigned(1);
    if (name == "epoch") {
      epoch_ = value;
      has_epoch = true;
    }
    if (name == "commits") commits_ = value;
    if (name == "jobs") job_count_ = value;
    if (name == "rows_checked") must_have_check_ = value != 0;
    if (name == "check") check = value;
    if (name == "last_job") last_ids_.job = value;
    if (name == "last_worker") last_ids_.worker = value;
    if (name == "last_input_set") last_ids_.input_set = value;
  }
  if (!rows->status().ok()) return rows->status();
  // Nothing was committed before the first start, nor with a check before there were checks.
  const bool is_unchecked = check == 0 && commits_ == 0;
  if (!is_unchecked && check != CheckOfMeta()) {
    return absl::DataLossError(absl::StrCat(kDatabaseName, " is damaged: meta is not what it was"));
  }
  if (!has_epoch || ++epoch_ >= kMostEpochs) {
    return absl::DataLossError(absl::StrCat(kDatabaseName, " is damaged: no epoch that can be"));
  }
  recovered.epoch = epoch_;
  stored_last_ids_ = last_ids_;
  stored_job_count_ = job_count_;
  recovered.last_job = JobId(last_ids_.job);
  recovered.last_worker = WorkerId(last_ids_.worker);
  recovered.last_input_set = InputSetId(last_ids_.input_set);
  return absl::OkStatus();
}

absl::Status SqliteStore::ReadWorkers(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT id,name,incarnation,host,joined_unix_us,joined_after,left_unix_us IS NULL,row_check "
      "FROM "
      "workers ORDER BY id");
  if (!rows.ok()) return rows.status();
  std::uint64_t previous = 0;
  while (rows->Next()) {
    absl::Status id = CheckId("workers", rows->Unsigned(0), previous, last_ids_.worker);
    if (!id.ok()) return id;
    previous = rows->Unsigned(0);
    WorkerJoined joined{.worker = WorkerId(rows->Unsigned(0)),
                        .name = rows->Text(1),
                        .incarnation = rows->Text(2),
                        .host = rows->Text(3),
                        .unix_us = rows->Signed(4),
                        .joined_after = AssignmentId(rows->Unsigned(5))};
    absl::Status checked =
        CheckRow(*rows, 7, CheckOf(joined), "workers", joined.worker.value(), must_have_check_);
    if (!checked.ok()) return checked;
    if (rows->Signed(6) != 0) recovered.records.emplace_back(joined);
    recovered.workers_once_known.push_back(std::move(joined));
  }
  return rows->status();
}

absl::Status SqliteStore::ReadJobs(Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(kJobsQuery);
  if (!rows.ok()) return rows.status();
  std::uint64_t previous = 0;
  while (rows->Next()) {
    absl::Status status = CheckId("jobs", rows->Unsigned(0), previous, last_ids_.job);
    previous = rows->Unsigned(0);
    if (status.ok()) status = ReadJob(*rows, recovered);
    if (!status.ok()) return status;
  }
  if (!rows->status().ok()) return rows->status();
  if (!must_have_check_ || job_count_ == recovered.jobs.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(kDatabaseName, " is damaged: it has ",
                                          recovered.jobs.size(), " of ", job_count_, " jobs"));
}

absl::Status SqliteStore::ReadJob(const Statement& row, Recovered& recovered) {
  absl::StatusOr<JobAccepted> accepted = ReadAccepted(row);
  if (!accepted.ok()) return accepted.status();
  const JobId job = accepted->job;
  absl::Status checked =
      CheckRow(row, 26, CheckOf(*accepted), "jobs", job.value(), must_have_check_);
  if (!checked.ok()) return checked;
  const bool ended = row.Bytes(15) != "accepted";
  recovered.jobs.push_back({*std::move(accepted), row.Text(24)});
  if (!ended) {
    if (!row.IsNull(26) && SplitCheck::Unpack(row.Signed(26)).rest !=
                               CheckOfTemplate(job, recovered.jobs.back().job_template)) {
      return DamagedRow("jobs", job.value(), "has not the template it had");
    }
    absl::Status read = ReadInputSizes(recovered.jobs.back().record);
    if (read.ok()) read = ReadUnfinished(recovered.jobs.back().record, recovered);
    if (!read.ok()) return read;
  }
  if (row.Signed(16) != 0) {
    const JobCancelRequested cancel{job, row.Text(17), row.Signed(18)};
    checked = CheckRow(row, 27, CheckOf(cancel), "jobs", job.value(), must_have_check_);
    if (!checked.ok()) return checked;
    recovered.records.emplace_back(cancel);
  }
  if (!ended) return absl::OkStatus();
  const absl::StatusOr<JobState> state = JobStateFrom(row.Bytes(15));
  if (!state.ok()) return state.status();
  const JobEnded end{.job = job,
                     .state = *state,
                     .counts = {.succeeded = row.Unsigned(20),
                                .failed = row.Unsigned(21),
                                .cancelled = row.Unsigned(22),
                                .lost = row.Unsigned(23)},
                     .unix_us = row.Signed(19)};
  checked = CheckRow(row, 28, CheckOf(end), "jobs", job.value(), must_have_check_);
  if (!checked.ok()) return checked;
  recovered.records.emplace_back(end);
  return absl::OkStatus();
}

absl::Status SqliteStore::ReadUnfinished(JobAccepted accepted, Recovered& recovered) {
  if (absl::Status read = ReadExtensions(accepted, recovered); !read.ok()) return read;
  if (absl::Status checked = CheckInputsOf(accepted); !checked.ok()) return checked;
  // Charges and starts first: an outcome ends what they say of its tasks.
  if (absl::Status read = ReadAttempts(accepted, recovered); !read.ok()) return read;
  if (absl::Status read = ReadStarts(accepted, recovered); !read.ok()) return read;
  return ReadOutcomes(accepted, recovered);
}

// `accepted` has all tasks then.
absl::Status SqliteStore::ReadExtensions(JobAccepted& accepted, Recovered& recovered) {
  if (!accepted.spec.is_open) return absl::OkStatus();
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT count,input_bytes,closed,row_check,id FROM extensions WHERE job=? ORDER BY id");
  if (!rows.ok()) return rows.status();
  rows->Bind(accepted.job.value());
  while (rows->Next()) {
    const JobExtended extended{.job = accepted.job,
                               .count = rows->Unsigned(0),
                               .input_bytes = rows->Unsigned(1),
                               .closed = rows->Signed(2) != 0};
    absl::Status checked =
        CheckRow(*rows, 3, CheckOf(extended), "extensions", rows->Unsigned(4), must_have_check_);
    if (!checked.ok()) return checked;
    accepted.spec.task_count += extended.count;
    recovered.records.emplace_back(extended);
  }
  return rows->status();
}

// How long they are, without reading them.
absl::Status SqliteStore::ReadInputSizes(JobAccepted& accepted) {
  if (accepted.spec.input_set.is_none()) return absl::OkStatus();
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT first,count,length(data),rowid FROM inputs WHERE set_id=? AND first<? ORDER BY "
      "first");
  if (!rows.ok()) return rows.status();
  rows->Bind(accepted.spec.input_set.value(), accepted.spec.task_count);
  TaskIndex next = 0;
  while (rows->Next()) {
    const TaskRange row{rows->Unsigned(0), rows->Unsigned(1)};
    if (row.first != next || row.count > accepted.spec.task_count - next) {
      return DamagedRow("inputs", rows->Unsigned(3), "has not the tasks it had");
    }
    accepted.input_sizes.Append(row.count, rows->Unsigned(2));
    next = row.end();
  }
  return rows->status();
}

absl::Status SqliteStore::CheckInputsOf(const JobAccepted& accepted) {
  const InputSetId set = accepted.spec.input_set;
  if (set.is_none()) return absl::OkStatus();
  statements_.last_inputs.Bind(set.value());
  const sqlite::ScopedReset reset(statements_.last_inputs);
  const std::uint64_t count =
      statements_.last_inputs.Next() ? statements_.last_inputs.Unsigned(0) : 0;
  if (!statements_.last_inputs.status().ok()) return statements_.last_inputs.status();
  if (count >= accepted.spec.task_count) return absl::OkStatus();
  return DamagedRow("jobs", accepted.job.value(), "has inputs that are missing");
}

absl::Status SqliteStore::ReadAttempts(const JobAccepted& accepted, Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT task,attempts,crashes,run_alone,assignment,row_check,id FROM attempts WHERE job=? "
      "ORDER BY id");
  if (!rows.ok()) return rows.status();
  const JobId job = accepted.job;
  rows->Bind(job.value());
  while (rows->Next()) {
    const AttemptsCharged charged{.job = job,
                                  .task = rows->Unsigned(0),
                                  .attempts = rows->Unsigned32(1),
                                  .crashes = rows->Unsigned32(2),
                                  .run_alone = rows->Signed(3) != 0,
                                  .assignment = AssignmentId(rows->Unsigned(4))};
    absl::Status checked =
        CheckRow(*rows, 5, CheckOf(charged), "attempts", rows->Unsigned(6), must_have_check_);
    if (!checked.ok()) return checked;
    recovered.records.emplace_back(charged);
  }
  return rows->status();
}

absl::Status SqliteStore::ReadStarts(const JobAccepted& accepted, Recovered& recovered) {
  if (!accepted.spec.at_most_once) return absl::OkStatus();
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT first,count,assignment,withdrawn,row_check,id FROM starts WHERE job=? ORDER BY id");
  if (!rows.ok()) return rows.status();
  const JobId job = accepted.job;
  rows->Bind(job.value());
  while (rows->Next()) {
    const StartsRecorded starts{.job = job,
                                .tasks = {rows->Unsigned(0), rows->Unsigned(1)},
                                .assignment = AssignmentId(rows->Unsigned(2)),
                                .withdrawn = rows->Signed(3) != 0};
    absl::Status checked =
        CheckRow(*rows, 4, CheckOf(starts), "starts", rows->Unsigned(5), must_have_check_);
    if (!checked.ok()) return checked;
    recovered.records.emplace_back(starts);
  }
  return rows->status();
}

absl::Status SqliteStore::ReadOutcomes(const JobAccepted& accepted, Recovered& recovered) {
  absl::StatusOr<Statement> rows = database_.Prepare(
      "SELECT first,count,status,cause,worker,finished_unix_us,row_check,sequence FROM outcomes "
      "WHERE job=? ORDER BY first");
  if (!rows.ok()) return rows.status();
  const JobId job = accepted.job;
  rows->Bind(job.value());
  RecoveredOutcomes outcomes(recovered.records);
  std::int64_t row_count = 0;
  for (; rows->Next(); ++row_count) {
    const TaskRange tasks{rows->Unsigned(0), rows->Unsigned(1)};
    const absl::StatusOr<TaskStatus> status = FinalStatusFrom(rows->Signed(2));
    if (!status.ok()) return status.status();
    OutcomeRecorded record{.job = job,
                           .tasks = tasks,
                           .status = *status,
                           .cause = static_cast<Cause>(rows->Unsigned32(3)),
                           .message = {},
                           .worker = WorkerId(rows->Unsigned(4)),
                           .unix_us = rows->Signed(5)};
    absl::Status checked = CheckRow(
        *rows, 6,
        CheckOfHead(job, tasks, record.status, record.cause, record.worker, record.unix_us),
        "outcomes", rows->Unsigned(7), must_have_check_);
    if (!checked.ok()) return checked;
    outcomes.Add(std::move(record));
  }
  if (!rows->status().ok()) return rows->status();
  return CheckOutcomeCount(job, row_count);
}

// A row that is gone from one index is still in the other: else its tasks would run again.
absl::Status SqliteStore::CheckOutcomeCount(JobId job, std::int64_t row_count) {
  absl::StatusOr<Statement> count = database_.Prepare(
      "SELECT count(*) FROM outcomes INDEXED BY outcomes_by_completion WHERE job=?");
  if (!count.ok()) return count.status();
  count->Bind(job.value());
  if (!count->Next()) return count->status();
  if (count->Signed(0) == row_count) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(kDatabaseName, " is damaged: job ", job.value(), " has ",
                                          row_count, " outcomes by one index and ",
                                          count->Signed(0), " by another"));
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
      return absl::DataLossError("haul.db is damaged: a row of inputs is of no set");
    }
    set = next->Unsigned(0);
    next->Reset();
    if (used.contains(set)) continue;
    if (absl::Status dropped = Apply(DropInputs{InputSetId(set)}); !dropped.ok()) return dropped;
  }
}

}  // namespace haul::coordinator
