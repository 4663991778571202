#include "coordinator/store/row_check.h"

#include <cstring>

#include "coordinator/store/sqlite_rows.h"

namespace haul::coordinator {

// Multiply and fold, 8 bytes at a time: every input bit reaches the upper half of the state.
RowCheck& RowCheck::Add(std::uint64_t value) {
  state_ = (state_ ^ value) * 0xff51afd7ed558ccd;
  state_ = (state_ ^ (state_ >> 29)) * 0xc4ceb9fe1a85ec53;
  state_ ^= state_ >> 32;
  return *this;
}

RowCheck& RowCheck::Add(std::string_view bytes) {
  Add(bytes.size());
  std::uint64_t word = 0;
  for (; bytes.size() >= sizeof word; bytes.remove_prefix(sizeof word)) {
    std::memcpy(&word, bytes.data(), sizeof word);
    Add(word);
  }
  word = 0;
  if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
  return Add(word);
}

namespace {

std::uint64_t Bits(std::int64_t value) { return static_cast<std::uint64_t>(value); }

}  // namespace

std::uint32_t CheckOf(const JobAccepted& record) {
  const JobSpec& spec = record.spec;
  RowCheck check;
  // What came with a later version counts where it is there: older rows keep their check.
  if (spec.at_most_once) check.Add(1u);
  if (spec.is_open) check.Add(2u);
  if (spec.depth > 0) {
    check.Add(3u)
        .Add(spec.parent.assignment.value())
        .Add(spec.parent.job.value())
        .Add(spec.parent.task)
        .Add(spec.depth);
  }
  return check.Add(record.job.value())
      .Add(spec.name)
      .Add(spec.owner)
      .Add(spec.request_id)
      .Add(spec.description)
      .Add(static_cast<std::uint64_t>(spec.kind))
      .Add(spec.function)
      .Add(spec.signature)
      .Add(spec.task_count)
      .Add(Bits(spec.priority))
      .Add(spec.cpus_milli)
      .Add(spec.max_running)
      .Add(spec.max_attempts)
      .Add(spec.input_bytes)
      .Add(spec.input_set.value())
      .Add(Bits(record.unix_us))
      .sum();
}

std::uint32_t CheckOfTemplate(JobId job, std::string_view job_template) {
  return RowCheck().Add(job.value()).Add(job_template).sum();
}

std::uint32_t CheckOf(const JobCancelRequested& record) {
  return RowCheck().Add(record.job.value()).Add(record.by).Add(Bits(record.unix_us)).sum();
}

std::uint32_t CheckOf(const JobEnded& record) {
  return RowCheck()
      .Add(record.job.value())
      .Add(static_cast<std::uint64_t>(record.state))
      .Add(record.counts.succeeded)
      .Add(record.counts.failed)
      .Add(record.counts.cancelled)
      .Add(record.counts.lost)
      .Add(Bits(record.unix_us))
      .sum();
}

std::uint32_t CheckOf(const AttemptsCharged& record) {
  return RowCheck()
      .Add(record.job.value())
      .Add(record.task)
      .Add(record.attempts)
      .Add(record.crashes)
      .Add(record.run_alone ? 1u : 0u)
      .Add(record.assignment.value())
      .sum();
}

std::uint32_t CheckOf(const StartsRecorded& record) {
  return RowCheck()
      .Add(record.job.value())
      .Add(record.tasks.first)
      .Add(record.tasks.count)
      .Add(record.assignment.value())
      .Add(record.withdrawn ? 1u : 0u)
      .sum();
}

std::uint32_t CheckOf(const JobExtended& record) {
  return RowCheck()
      .Add(record.job.value())
      .Add(record.count)
      .Add(record.input_bytes)
      .Add(record.closed ? 1u : 0u)
      .sum();
}

std::uint32_t CheckOf(const WorkerJoined& record) {
  return RowCheck()
      .Add(record.worker.value())
      .Add(record.name)
      .Add(record.incarnation)
      .Add(record.host)
      .Add(Bits(record.unix_us))
      .Add(record.joined_after.value())
      .sum();
}

std::uint32_t CheckOfHead(JobId job, TaskRange tasks, TaskStatus status, Cause cause,
                          WorkerId worker, std::int64_t finished_unix_us) {
  return RowCheck()
      .Add(job.value())
      .Add(tasks.first)
      .Add(tasks.count)
      .Add(static_cast<std::uint64_t>(status))
      .Add(static_cast<std::uint64_t>(cause))
      .Add(worker.value())
      .Add(Bits(finished_unix_us))
      .sum();
}

std::uint32_t CheckOfRest(const Outcome& outcome) {
  RowCheck check;
  check.Add(Bits(outcome.code)).Add(outcome.message).Add(outcome.error_output);
  check.Add(outcome.output_file).Add(outcome.output_bytes);
  check.Add(outcome.error_file).Add(outcome.error_bytes);
  check.Add(Bits(outcome.started_unix_us)).Add(outcome.busy_ns).Add(outcome.pid);
  check.Add(outcome.user_cpu_us).Add(outcome.system_cpu_us).Add(outcome.peak_memory_bytes);
  check.Add(outcome.attempt).Add(outcome.assignment.value()).Add(outcome.culprit ? 1u : 0u);
  // Results that are all empty are not kept.
  if (!outcome.results.data().empty()) {
    check.Add(outcome.results.uniform_size());
    check.Add(EncodeOffsets(outcome.results)).Add(outcome.results.data());
  }
  return check.sum();
}

std::uint32_t CheckOfInputs(InputSetId set, TaskIndex first, std::uint64_t count,
                            std::uint32_t uniform_size, std::string_view end_offsets,
                            std::string_view data) {
  return RowCheck()
      .Add(set.value())
      .Add(first)
      .Add(count)
      .Add(uniform_size)
      .Add(end_offsets)
      .Add(data)
      .sum();
}

}  // namespace haul::coordinator
