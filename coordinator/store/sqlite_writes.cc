// SqliteStore: each kind of write as rows.
#include <sqlite3.h>

#include <algorithm>

#include "coordinator/store/row_check.h"
#include "coordinator/store/sqlite_rows.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

using sqlite::Blob;
using sqlite::NullIf;
using sqlite::NullIfEmpty;

// An assignment reads the rows that its inputs lie in, whole, so rows are short however long the
// messages were that brought them.
constexpr std::uint64_t kInputRowBytes = 64 << 10;

// How many values from `first` on make one row; at least one.
std::uint64_t RowLength(const PackedBytes& values, std::uint64_t first) {
  const std::uint64_t left = values.count() - first;
  if (values.end_offsets().empty()) {
    const std::uint64_t size = values.uniform_size();
    return size == 0 ? left : std::clamp<std::uint64_t>(kInputRowBytes / size, 1, left);
  }
  std::uint64_t length = 0;
  std::uint64_t bytes = 0;
  while (length < left) {
    bytes += values[first + length].size() + sizeof(std::uint32_t);
    if (length > 0 && bytes > kInputRowBytes) break;
    ++length;
  }
  return length;
}

}  // namespace

absl::Status SqliteStore::ApplyAll(const std::vector<Write>& writes) {
  for (const Write& write : writes) {
    absl::Status status = std::visit([this](const auto& w) { return Apply(w); }, write);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

bool SqliteStore::ChangedNothing() const { return sqlite3_changes(database_.handle()) == 0; }

absl::Status SqliteStore::SetMeta(const char* name, std::uint64_t value) {
  statements_.set_meta.Bind(std::string_view(name), value);
  return statements_.set_meta.Run();
}

std::uint32_t SqliteStore::CheckOfMeta() const {
  return RowCheck()
      .Add(epoch_)
      .Add(commits_)
      .Add(last_ids_.job)
      .Add(last_ids_.worker)
      .Add(last_ids_.input_set)
      .Add(job_count_)
      .Add(must_have_check_ ? 1u : 0u)
      .sum();
}

absl::Status SqliteStore::SetLastIds() {
  absl::Status status;
  if (last_ids_.job != stored_last_ids_.job) status.Update(SetMeta("last_job", last_ids_.job));
  if (last_ids_.worker != stored_last_ids_.worker) {
    status.Update(SetMeta("last_worker", last_ids_.worker));
  }
  if (last_ids_.input_set != stored_last_ids_.input_set) {
    status.Update(SetMeta("last_input_set", last_ids_.input_set));
  }
  if (job_count_ != stored_job_count_) status.Update(SetMeta("jobs", job_count_));
  return status;
}

absl::Status SqliteStore::CheckJob(JobId job) {
  if (job == checked_job_) return absl::OkStatus();
  statements_.has_job.Bind(job.value());
  const sqlite::ScopedReset reset(statements_.has_job);
  if (!statements_.has_job.Next()) {
    return statements_.has_job.status().ok() ? UnknownJob(job) : statements_.has_job.status();
  }
  checked_job_ = job;
  return absl::OkStatus();
}

// ---- inputs ----

absl::Status SqliteStore::AppendRow(InputSetId set, TaskIndex first, const PackedBytes& values) {
  std::optional<Blob> offsets;
  if (!values.end_offsets().empty()) offsets = Blob{EncodeOffsets(values)};
  statements_.add_inputs.Bind(set.value(), first, values.count(), values.uniform_size(), offsets,
                              Blob{values.data()},
                              CheckOfInputs(set, first, values.count(), values.uniform_size(),
                                            EncodeOffsets(values), values.data()));
  return statements_.add_inputs.Run();
}

absl::Status SqliteStore::Apply(const AppendInputs& write) {
  if (absl::Status checked = CheckInputs(write); !checked.ok()) return checked;
  {
    statements_.last_inputs.Bind(write.set.value());
    const sqlite::ScopedReset reset(statements_.last_inputs);
    const TaskIndex expected =
        statements_.last_inputs.Next() ? statements_.last_inputs.Unsigned(0) : 0;
    if (!statements_.last_inputs.status().ok()) return statements_.last_inputs.status();
    if (write.first != expected) return InputGap(write.set, write.first, expected);
  }
  std::uint64_t done = 0;
  while (done < write.values.count()) {
    const std::uint64_t length = RowLength(write.values, done);
    const bool whole = length == write.values.count();
    absl::Status added =
        whole ? AppendRow(write.set, write.first, write.values)
              : AppendRow(write.set, write.first + done, write.values.Slice(done, length));
    if (!added.ok()) return added;
    done += length;
  }
  last_ids_.input_set = std::max(last_ids_.input_set, write.set.value());
  return absl::OkStatus();
}

absl::Status SqliteStore::Apply(const DropInputs& write) {
  statements_.drop_inputs.Bind(write.set.value());
  return statements_.drop_inputs.Run();
}

// ---- jobs ----

absl::Status SqliteStore::Apply(const AddJob& write) {
  const JobSpec& spec = write.record.spec;
  if (spec.is_volatile) return absl::InternalError("a volatile job must not touch the disk");
  statements_.add_job.Bind(
      write.record.job.value(), std::string_view(spec.name), std::string_view(spec.owner),
      NullIfEmpty(spec.request_id), WorkKindName(spec.kind), NullIfEmpty(spec.function),
      NullIfEmpty(spec.signature), spec.task_count, spec.priority, spec.cpus_milli,
      spec.max_running, spec.max_attempts, static_cast<int>(spec.at_most_once),
      static_cast<int>(spec.is_open), NullIf(spec.parent.assignment.value(), 0),
      NullIf(spec.parent.job.value(), 0), NullIf(spec.parent.task, 0), spec.depth,
      NullIf(spec.input_set.value(), 0), spec.input_bytes, write.record.unix_us,
      std::string_view(spec.description), Blob{write.job_template},
      SplitCheck{CheckOf(write.record), CheckOfTemplate(write.record.job, write.job_template)}
          .packed());
  if (absl::Status added = statements_.add_job.Run(); !added.ok()) return added;
  ++job_count_;
  last_ids_.job = std::max(last_ids_.job, write.record.job.value());
  last_ids_.input_set = std::max(last_ids_.input_set, spec.input_set.value());
  return absl::OkStatus();
}

absl::Status SqliteStore::Apply(const JobExtended& write) {
  if (absl::Status known = CheckJob(write.job); !known.ok()) return known;
  statements_.add_extension.Bind(write.job.value(), write.count, write.input_bytes,
                                 static_cast<int>(write.closed), CheckOf(write));
  return statements_.add_extension.Run();
}

absl::Status SqliteStore::Apply(const JobCancelRequested& write) {
  statements_.cancel_job.Bind(write.job.value(), std::string_view(write.by), write.unix_us,
                              CheckOf(write));
  if (absl::Status asked = statements_.cancel_job.Run(); !asked.ok()) return asked;
  return ChangedNothing() ? UnknownJob(write.job) : absl::OkStatus();
}

absl::Status SqliteStore::Apply(const JobEnded& write) {
  statements_.end_job.Bind(write.job.value(), JobStateName(write.state), write.unix_us,
                           write.counts.succeeded, write.counts.failed, write.counts.cancelled,
                           write.counts.lost, CheckOf(write));
  if (absl::Status ended = statements_.end_job.Run(); !ended.ok()) return ended;
  return ChangedNothing() ? UnknownJob(write.job) : absl::OkStatus();
}

// Costs a delete for each row of outcomes and inputs (a microsecond or two), and a read of every
// page of large values to free it; nothing else is committed meanwhile. A job of a million rows
// holds the store for a second or more. The space is used again by later jobs; the file does not
// shrink.
absl::Status SqliteStore::Apply(const JobForgotten& write) {
  InputSetId inputs;
  {
    statements_.input_set_of_job.Bind(write.job.value());
    const sqlite::ScopedReset reset(statements_.input_set_of_job);
    if (!statements_.input_set_of_job.Next()) {
      const absl::Status& status = statements_.input_set_of_job.status();
      return status.ok() ? UnknownJob(write.job) : status;
    }
    inputs = InputSetId(statements_.input_set_of_job.Unsigned(0));
  }
  if (!inputs.is_none()) {
    if (absl::Status dropped = Apply(DropInputs{inputs}); !dropped.ok()) return dropped;
  }
  for (sqlite::Statement* forget :
       {&statements_.forget_outcomes, &statements_.forget_attempts, &statements_.forget_starts,
        &statements_.forget_extensions, &statements_.forget_job}) {
    forget->Bind(write.job.value());
    if (absl::Status forgotten = forget->Run(); !forgotten.ok()) return forgotten;
  }
  --job_count_;
  checked_job_ = {};
  return absl::OkStatus();
}

// ---- tasks ----

absl::Status SqliteStore::Apply(const AddOutcome& write) {
  if (absl::Status checked = CheckOutcome(write); !checked.ok()) return checked;
  if (absl::Status known = CheckJob(write.job); !known.ok()) return known;
  {
    // Ranges in the table are disjoint, so if any of them touches the new one, then the last of
    // those that begin before its end does.
    const TaskRange tasks = write.outcome.tasks;
    sqlite::Statement& before = statements_.outcome_before;
    before.Bind(write.job.value(), tasks.end());
    const sqlite::ScopedReset reset(before);
    if (before.Next()) {
      const TaskRange earlier{before.Unsigned(0), before.Unsigned(1)};
      if (Touches(earlier, tasks)) return SecondOutcome(write.job, tasks, earlier);
    }
    if (!before.status().ok()) return before.status();
  }
  BindOutcome(statements_.add_outcome, write.job, write.outcome);
  if (absl::Status added = statements_.add_outcome.Run(); !added.ok()) return added;
  outcome_sequences_.push_back(
      static_cast<std::uint64_t>(sqlite3_last_insert_rowid(database_.handle())));
  return absl::OkStatus();
}

absl::Status SqliteStore::Apply(const AttemptsCharged& write) {
  if (absl::Status known = CheckJob(write.job); !known.ok()) return known;
  statements_.add_attempts.Bind(write.job.value(), write.task, write.attempts, write.crashes,
                                static_cast<int>(write.run_alone),
                                NullIf(write.assignment.value(), 0), CheckOf(write));
  return statements_.add_attempts.Run();
}

absl::Status SqliteStore::Apply(const StartsRecorded& write) {
  if (absl::Status known = CheckJob(write.job); !known.ok()) return known;
  statements_.add_starts.Bind(write.job.value(), write.tasks.first, write.tasks.count,
                              write.assignment.value(), static_cast<int>(write.withdrawn),
                              CheckOf(write));
  return statements_.add_starts.Run();
}

// ---- workers ----

absl::Status SqliteStore::Apply(const WorkerJoined& write) {
  statements_.add_worker.Bind(write.worker.value(), std::string_view(write.name),
                              std::string_view(write.incarnation), std::string_view(write.host),
                              write.unix_us, write.joined_after.value(), CheckOf(write));
  if (absl::Status added = statements_.add_worker.Run(); !added.ok()) return added;
  last_ids_.worker = std::max(last_ids_.worker, write.worker.value());
  return absl::OkStatus();
}

// The row stays: outcomes name the worker, and people want to know its host.
absl::Status SqliteStore::Apply(const WorkerLeft& write) {
  statements_.end_worker.Bind(write.worker.value(), write.unix_us, std::string_view(write.reason));
  if (absl::Status ended = statements_.end_worker.Run(); !ended.ok()) return ended;
  return ChangedNothing() ? UnknownWorker(write.worker) : absl::OkStatus();
}

}  // namespace haul::coordinator
