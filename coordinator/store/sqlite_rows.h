// Values to rows of the tables and back.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/outcome.h"
#include "common/packed_bytes.h"
#include "coordinator/core/records.h"
#include "coordinator/store/sqlite.h"

namespace haul::coordinator {

// ---- packed values ----

// `end_offsets` as a column holds it: 32 bits each, little-endian.
std::string_view EncodeOffsets(const PackedBytes& values);
// DATA_LOSS for what does not describe `count` values.
absl::StatusOr<PackedBytes> DecodePacked(std::uint64_t count, std::uint32_t uniform_size,
                                         std::string_view end_offsets, std::string_view data);

// ---- checks (row_check.h) ----

// DATA_LOSS that names the table, unless `check` is what the column has. Without a value it passes
// where rows from before there were checks may stand.
absl::Status CheckRow(const sqlite::Statement& row, int column, std::uint32_t check,
                      std::string_view table, std::uint64_t id, bool must_have_check);
absl::Status DamagedRow(std::string_view table, std::uint64_t id, std::string_view what);

// ---- outcomes ----

// How a run of tasks ended, and what it left behind: payload columns stand last, where a query that
// does not ask for them does not touch them.
inline constexpr char kOutcomeColumns[] =
    "sequence,first,count,status,cause,code,worker,assignment,attempt,pid,culprit,started_unix_us,"
    "finished_unix_us,busy_ns,user_cpu_us,system_cpu_us,peak_memory_bytes,output_file,output_bytes,"
    "error_file,error_bytes,message,row_check";
inline constexpr char kPayloadColumns[] = ",result_size,result_ends,results,error_output";
inline constexpr char kInsertOutcome[] =
    "INSERT INTO outcomes(job,first,count,status,cause,code,worker,assignment,attempt,pid,culprit,"
    "started_unix_us,finished_unix_us,busy_ns,user_cpu_us,system_cpu_us,peak_memory_bytes,"
    "output_file,output_bytes,error_file,error_bytes,message,row_check,result_size,result_ends,"
    "results,error_output) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

void BindOutcome(sqlite::Statement& insert, JobId job, const Outcome& outcome);
// How a run of tasks ended, without what it left behind.
struct OutcomeHead {
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
};
// DATA_LOSS for what no store ever wrote.
absl::StatusOr<OutcomeHead> ReadHead(const sqlite::Statement& row);
absl::Status CheckRun(TaskRange tasks);
absl::StatusOr<TaskStatus> FinalStatusFrom(std::int64_t number);
// DATA_LOSS where the row is not what was written; without its payload, as far as that shows.
absl::StatusOr<Outcome> ReadOutcome(JobId job, const sqlite::Statement& row, bool with_payload,
                                    bool must_have_check);

// ---- jobs ----

std::string_view WorkKindName(WorkKind kind);
std::string_view JobStateName(JobState state);  // of an ended job
absl::StatusOr<WorkKind> WorkKindFrom(std::string_view name);
absl::StatusOr<JobState> JobStateFrom(std::string_view name);

}  // namespace haul::coordinator
