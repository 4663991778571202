#include "common/wire/convert.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"

namespace haul::wire {

void ToWire(PackedBytes&& pack, v1::PackedBytes* out) {
  out->set_uniform_size(pack.uniform_size());
  out->mutable_end_offsets()->Add(pack.end_offsets().begin(), pack.end_offsets().end());
  out->set_data(std::move(pack).data());
}

void ToWire(const PackedBytes& pack, v1::PackedBytes* out) { ToWire(PackedBytes(pack), out); }

absl::StatusOr<PackedBytes> FromWire(v1::PackedBytes&& pack, std::uint64_t count) {
  PackedBytes result;
  std::vector<std::uint32_t> end_offsets(pack.end_offsets().begin(), pack.end_offsets().end());
  const std::size_t byte_count = pack.data().size();
  if (!PackedBytes::FromParts(count, pack.uniform_size(), std::move(end_offsets),
                              std::move(*pack.mutable_data()), &result)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "packed values: ", pack.end_offsets_size(), " offsets and ", byte_count, " bytes of size ",
        pack.uniform_size(), " do not describe ", count, " values"));
  }
  return result;
}

void ToWire(const Outcome& outcome, v1::Outcome* out) { ToWire(Outcome(outcome), out); }

void ToWire(Outcome&& outcome, v1::Outcome* out) {
  out->set_first(outcome.tasks.first);
  out->set_count(outcome.tasks.count);
  out->set_status(static_cast<v1::TaskStatus>(outcome.status));
  out->set_cause(static_cast<v1::Cause>(outcome.cause));
  out->set_code(outcome.code);
  // Paths and programs that it names are bytes.
  out->set_message(ToUtf8(outcome.message));
  if (outcome.results.byte_count() > 0) {
    ToWire(std::move(outcome.results), out->mutable_results());
  }
  out->set_error_output(std::move(outcome.error_output));
  out->set_output_file(std::move(outcome.output_file));
  out->set_output_bytes(outcome.output_bytes);
  out->set_error_file(std::move(outcome.error_file));
  out->set_error_bytes(outcome.error_bytes);
  out->set_started_unix_us(outcome.started_unix_us);
  out->set_finished_unix_us(outcome.finished_unix_us);
  out->set_busy_ns(outcome.busy_ns);
  out->set_pid(outcome.pid);
  out->set_user_cpu_us(outcome.user_cpu_us);
  out->set_system_cpu_us(outcome.system_cpu_us);
  out->set_peak_memory_bytes(outcome.peak_memory_bytes);
  out->set_attempt(outcome.attempt);
  out->set_assignment_id(outcome.assignment.value());
  out->set_worker_id(outcome.worker.value());
  out->set_culprit(outcome.culprit);
}

absl::StatusOr<Outcome> FromWire(v1::Outcome&& wire) {
  if (wire.count() == 0) return absl::InvalidArgumentError("outcome.count: 0, must be at least 1");
  if (wire.first() + wire.count() < wire.first()) {
    return absl::InvalidArgumentError("outcome.count: the range overflows");
  }
  if (wire.status() < v1::TASK_STATUS_SUCCEEDED || wire.status() > v1::TASK_STATUS_CRASHED) {
    return absl::InvalidArgumentError(
        absl::StrCat("outcome.status: unknown value ", wire.status()));
  }
  if (wire.cause() < v1::CAUSE_UNSPECIFIED || wire.cause() > v1::CAUSE_PROCESS_LIMIT) {
    return absl::InvalidArgumentError(absl::StrCat("outcome.cause: unknown value ", wire.cause()));
  }
  Outcome outcome;
  outcome.tasks = {wire.first(), wire.count()};
  outcome.status = static_cast<TaskStatus>(wire.status());
  outcome.cause = static_cast<Cause>(wire.cause());
  outcome.code = wire.code();
  outcome.message = std::move(*wire.mutable_message());
  if (wire.has_results()) {
    absl::StatusOr<PackedBytes> results =
        FromWire(std::move(*wire.mutable_results()), wire.count());
    if (!results.ok()) return results.status();
    // Where every one is empty there are none: an outcome of a great many tasks stays small
    // whatever is appended to it.
    if (results->byte_count() > 0) outcome.results = *std::move(results);
  }
  outcome.error_output = std::move(*wire.mutable_error_output());
  outcome.output_file = std::move(*wire.mutable_output_file());
  outcome.output_bytes = wire.output_bytes();
  outcome.error_file = std::move(*wire.mutable_error_file());
  outcome.error_bytes = wire.error_bytes();
  outcome.started_unix_us = wire.started_unix_us();
  outcome.finished_unix_us = wire.finished_unix_us();
  outcome.busy_ns = wire.busy_ns();
  outcome.pid = wire.pid();
  outcome.user_cpu_us = wire.user_cpu_us();
  outcome.system_cpu_us = wire.system_cpu_us();
  outcome.peak_memory_bytes = wire.peak_memory_bytes();
  outcome.attempt = wire.attempt();
  outcome.assignment = AssignmentId(wire.assignment_id());
  outcome.worker = WorkerId(wire.worker_id());
  outcome.culprit = wire.culprit();
  return outcome;
}

void ToWire(const std::vector<TaskRange>& ranges, TaskRanges* out) {
  for (const TaskRange& range : ranges) {
    v1::TaskRange& wire = *out->Add();
    wire.set_first(range.first);
    wire.set_count(range.count);
  }
}

absl::StatusOr<std::vector<TaskRange>> FromWire(const TaskRanges& ranges, absl::string_view field) {
  std::vector<TaskRange> parsed;
  parsed.reserve(static_cast<std::size_t>(ranges.size()));
  for (const v1::TaskRange& range : ranges) {
    if (range.count() == 0 || range.first() + range.count() < range.first()) {
      return absl::InvalidArgumentError(absl::StrCat(field, ": ", range.count(), " tasks from ",
                                                     range.first(), " on are no range of tasks"));
    }
    parsed.push_back({range.first(), range.count()});
  }
  return parsed;
}

}  // namespace haul::wire
