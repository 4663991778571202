// Between the wire's jobs, workers and sessions and the core's. What comes from outside is checked
// here: every refusal names the field, the value and the limit. No gRPC. Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/core.h"
#include "coordinator/core/events.h"
#include "coordinator/store/store.h"
#include "haul/v1/cluster.pb.h"
#include "haul/v1/common.pb.h"
#include "haul/v1/jobs.pb.h"
#include "haul/v1/session.pb.h"

namespace haul::coordinator {

struct Limits {
  std::size_t argument_bytes = 128
                               << 10;  // arguments and environment of a task, and one input value
  std::size_t name_bytes = 256;
};

// Printable UTF-8 within the limit. Empty passes.
absl::Status CheckName(absl::string_view field, const std::string& name, const Limits& limits);
// The scheduling half of a spec, checked; the whole spec is its template. Without counts of inputs.
absl::StatusOr<JobSpec> ToCore(const v1::JobSpec& spec, const Limits& limits);
// What the first message of a submit asks for, with its owner and request id.
absl::StatusOr<JobSpec> ToCore(const v1::SubmitRequest& first, const Limits& limits);
// `count` values behind `count_before` others, of at most `most_tasks` in all.
absl::StatusOr<PackedBytes> ToInputs(v1::PackedBytes&& inputs, std::uint64_t count,
                                     std::uint64_t count_before, std::uint64_t most_tasks,
                                     const Limits& limits);
// The inputs that a message of a submit brings, perhaps none; `count_before` came already of at
// most `most_tasks`.
absl::StatusOr<PackedBytes> ToInputs(v1::SubmitRequest&& message, bool is_array,
                                     std::uint64_t count_before, std::uint64_t most_tasks,
                                     const Limits& limits);
// After all inputs came: their number is the number of tasks, unless the job is an array.
absl::Status CheckTaskCount(const v1::JobSpec& spec, std::uint64_t input_count);
// The command line or call, for people; at most 200 bytes of UTF-8.
std::string Describe(const v1::JobSpec& spec);

absl::StatusOr<WorkerConnected> ToCore(SessionId session, const v1::Hello& hello,
                                       const Limits& limits);
// Outcomes move into `payload`, their heads into the event.
absl::StatusOr<TasksFinished> ToCore(SessionId session, v1::OutcomeBatch&& batch,
                                     std::vector<Outcome>* payload);
absl::StatusOr<TasksHandedBack> ToCore(SessionId session, const v1::HandedBack& handed_back);

// What of the job's outcomes a follower reads, from its cursor on.
OutcomeQuery ToQuery(JobId job, const v1::FollowRequest& request);

// The job as it is now; the spec without command, which is in the template.
v1::JobStatus ToWire(const State& state, const Job& job);
v1::WorkerStatus ToWire(const State& state, const Worker& worker, bool with_assignments);

}  // namespace haul::coordinator
