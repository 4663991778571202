#include "coordinator/store/sqlite_rows.h"

#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "common/check.h"
#include "common/utf8.h"
#include "coordinator/store/row_check.h"

namespace haul::coordinator {
namespace {

using sqlite::Blob;
using sqlite::NullIf;
using sqlite::NullIfEmpty;
using sqlite::Statement;

// Offsets go to the file as they stand in memory.
static_assert(std::endian::native == std::endian::little);

// Positions in kOutcomeColumns and, after them, kPayloadColumns.
enum Column : int {
  kSequence,
  kFirst,
  kCount,
  kStatus,
  kCauseColumn,
  kCode,
  kWorker,
  kAssignment,
  kAttempt,
  kPid,
  kCulprit,
  kStarted,
  kFinished,
  kBusy,
  kUserCpu,
  kSystemCpu,
  kPeakMemory,
  kOutputFile,
  kOutputBytes,
  kErrorFile,
  kErrorBytes,
  kMessage,
  kRowCheck,
  kResultSize,
  kResultEnds,
  kResults,
  kErrorOutput,
};

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("haul.db is damaged: ", what));
}

std::optional<Blob> BlobOrNull(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  return Blob{bytes};
}

}  // namespace

std::string_view EncodeOffsets(const PackedBytes& values) {
  const std::vector<std::uint32_t>& offsets = values.end_offsets();
  return {reinterpret_cast<const char*>(offsets.data()), offsets.size() * sizeof(std::uint32_t)};
}

absl::StatusOr<PackedBytes> DecodePacked(std::uint64_t count, std::uint32_t uniform_size,
                                         std::string_view end_offsets, std::string_view data) {
  std::vector<std::uint32_t> offsets(end_offsets.size() / sizeof(std::uint32_t));
  if (!offsets.empty()) {
    std::memcpy(offsets.data(), end_offsets.data(), offsets.size() * sizeof(std::uint32_t));
  }
  PackedBytes values;
  if (end_offsets.size() % sizeof(std::uint32_t) != 0 ||
      !PackedBytes::FromParts(count, uniform_size, std::move(offsets), std::string(data),
                              &values)) {
    return Damaged(absl::StrCat("a row does not hold the ", count, " values that it should"));
  }
  return values;
}

void BindOutcome(Statement& insert, JobId job, const Outcome& outcome) {
  const PackedBytes& results = outcome.results;
  const SplitCheck check{CheckOfHead(job, outcome.tasks, outcome.status, outcome.cause,
                                     outcome.worker, outcome.finished_unix_us),
                         CheckOfRest(outcome)};
  insert.Bind(
      job.value(), outcome.tasks.first, outcome.tasks.count, static_cast<int>(outcome.status),
      NullIf(static_cast<int>(outcome.cause), static_cast<int>(Cause::kNone)),
      NullIf(outcome.code, 0), NullIf(outcome.worker.value(), 0),
      NullIf(outcome.assignment.value(), 0), NullIf(outcome.attempt, 1), NullIf(outcome.pid, 0),
      NullIf(static_cast<int>(outcome.culprit), 0), NullIf(outcome.started_unix_us, 0),
      NullIf(outcome.finished_unix_us, 0), NullIf(outcome.busy_ns, 0),
      NullIf(outcome.user_cpu_us, 0), NullIf(outcome.system_cpu_us, 0),
      NullIf(outcome.peak_memory_bytes, 0), NullIfEmpty(outcome.output_file),
      NullIf(outcome.output_bytes, 0), NullIfEmpty(outcome.error_file),
      NullIf(outcome.error_bytes, 0), NullIfEmpty(outcome.message), check.packed(),
      NullIf(results.uniform_size(), 0), BlobOrNull(EncodeOffsets(results)),
      BlobOrNull(results.data()), BlobOrNull(outcome.error_output));
}

absl::Status CheckRun(TaskRange tasks) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (tasks.count > 0 && tasks.first < kMost && tasks.count <= kMost - tasks.first) {
    return absl::OkStatus();
  }
  return Damaged(absl::StrCat("a run of ", static_cast<std::int64_t>(tasks.count), " tasks from ",
                              static_cast<std::int64_t>(tasks.first)));
}

absl::StatusOr<OutcomeHead> ReadHead(const Statement& row) {
  const TaskRange tasks{row.Unsigned(kFirst), row.Unsigned(kCount)};
  if (absl::Status status = CheckRun(tasks); !status.ok()) return status;
  const absl::StatusOr<TaskStatus> status = FinalStatusFrom(row.Signed(kStatus));
  if (!status.ok()) return status.status();
  return OutcomeHead{tasks, *status};
}

absl::StatusOr<TaskStatus> FinalStatusFrom(std::int64_t number) {
  if (number >= static_cast<int>(TaskStatus::kSucceeded) &&
      number <= static_cast<int>(TaskStatus::kLost)) {
    return static_cast<TaskStatus>(number);
  }
  return Damaged(absl::StrCat("a task ended with status ", number));
}

absl::Status DamagedRow(std::string_view table, std::uint64_t id, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("haul.db is damaged: row ", id, " of ", AbslView(table), " ", AbslView(what)));
}

absl::Status CheckRow(const Statement& row, int column, std::uint32_t check, std::string_view table,
                      std::uint64_t id, bool must_have_check) {
  if (row.IsNull(column) && !must_have_check) return absl::OkStatus();
  if (!row.IsNull(column) && SplitCheck::Unpack(row.Signed(column)).head == check) {
    return absl::OkStatus();
  }
  return DamagedRow(table, id, "is not what was written");
}

absl::StatusOr<Outcome> ReadOutcome(JobId job, const Statement& row, bool with_payload,
                                    bool must_have_check) {
  const absl::StatusOr<OutcomeHead> head = ReadHead(row);
  if (!head.ok()) return head.status();
  const std::int64_t cause = row.Signed(kCauseColumn);
  if (cause < 0 || CauseName(static_cast<Cause>(cause)) == "unknown" || cause > 255) {
    return Damaged(absl::StrCat("task ", head->tasks.first, " ended with cause ", cause));
  }
  Outcome outcome{.tasks = head->tasks,
                  .status = head->status,
                  .cause = static_cast<Cause>(cause),
                  .code = static_cast<std::int32_t>(row.Signed(kCode)),
                  .message = row.Text(kMessage),
                  .results = {},
                  .error_output = {},
                  .output_file = row.Text(kOutputFile),
                  .output_bytes = row.Unsigned(kOutputBytes),
                  .error_file = row.Text(kErrorFile),
                  .error_bytes = row.Unsigned(kErrorBytes),
                  .started_unix_us = row.Signed(kStarted),
                  .finished_unix_us = row.Signed(kFinished),
                  .busy_ns = row.Unsigned(kBusy),
                  .pid = row.Unsigned32(kPid),
                  .user_cpu_us = row.Unsigned(kUserCpu),
                  .system_cpu_us = row.Unsigned(kSystemCpu),
                  .peak_memory_bytes = row.Unsigned(kPeakMemory),
                  .attempt = row.IsNull(kAttempt) ? 1 : row.Unsigned32(kAttempt),
                  .assignment = AssignmentId(row.Unsigned(kAssignment)),
                  .worker = WorkerId(row.Unsigned(kWorker)),
                  .culprit = row.Signed(kCulprit) != 0};
  absl::Status checked = CheckRow(row, kRowCheck,
                                  CheckOfHead(job, outcome.tasks, outcome.status, outcome.cause,
                                              outcome.worker, outcome.finished_unix_us),
                                  "outcomes", row.Unsigned(kSequence), must_have_check);
  if (!checked.ok()) return checked;
  // Text on the wire, where a message with other bytes could not even be read.
  if (!IsUtf8(outcome.output_file) || !IsUtf8(outcome.error_file)) {
    return Damaged(
        absl::StrCat("the file of task ", head->tasks.first, " has a name that is not UTF-8"));
  }
  if (!with_payload) return outcome;
  outcome.error_output = row.Text(kErrorOutput);
  if (!row.IsNull(kResults)) {
    absl::StatusOr<PackedBytes> results =
        DecodePacked(outcome.tasks.count, row.Unsigned32(kResultSize), row.Bytes(kResultEnds),
                     row.Bytes(kResults));
    if (!results.ok()) return results.status();
    outcome.results = *std::move(results);
  }
  if (!row.IsNull(kRowCheck) &&
      SplitCheck::Unpack(row.Signed(kRowCheck)).rest != CheckOfRest(outcome)) {
    return DamagedRow("outcomes", row.Unsigned(kSequence), "is not what was written");
  }
  return outcome;
}

std::string_view WorkKindName(WorkKind kind) {
  switch (kind) {
    case WorkKind::kCommand:
      return "command";
    case WorkKind::kFunction:
      return "function";
  }
  HAUL_CHECK(false);  // a kind of work without a name
  return "";
}

std::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "cancelled";
    case JobState::kQueued:
    case JobState::kRunning:
      break;
  }
  HAUL_CHECK(false);  // a job that ended is not queued or running
  return "";
}

absl::StatusOr<WorkKind> WorkKindFrom(std::string_view name) {
  for (const WorkKind kind : {WorkKind::kCommand, WorkKind::kFunction}) {
    if (name == WorkKindName(kind)) return kind;
  }
  return absl::DataLossError(
      absl::StrCat("haul.db is damaged: a job is of unknown kind '", AbslView(name), "'"));
}

absl::StatusOr<JobState> JobStateFrom(std::string_view name) {
  for (const JobState state : {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    if (name == JobStateName(state)) return state;
  }
  return absl::DataLossError(
      absl::StrCat("haul.db is damaged: a job is in unknown state '", AbslView(name), "'"));
}

}  // namespace haul::coordinator
