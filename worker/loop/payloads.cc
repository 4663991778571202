#include "worker/loop/payloads.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/merge_outcomes.h"
#include "common/wire/convert.h"

namespace haul::worker {
namespace {

constexpr std::uint32_t kDefaultCpusMilli = 1000;

std::shared_ptr<const KnownJob> Understand(v1::JobSpec&& spec) {
  auto job = std::make_shared<KnownJob>();
  if (spec.has_command()) job->command = exec::CommandSpec::Parse(spec.command());
  job->spec = std::move(spec);
  return job;
}

absl::Status CheckRange(const v1::Assignment& message) {
  if (message.assignment_id() == 0) return absl::InvalidArgumentError("assignment_id: missing");
  if (message.job_id() == 0) return absl::InvalidArgumentError("job_id: missing");
  if (message.count() == 0) return absl::InvalidArgumentError("count: 0, must be at least 1");
  if (message.first() > std::numeric_limits<std::uint64_t>::max() - message.count()) {
    return absl::InvalidArgumentError("count: the range overflows");
  }
  return absl::OkStatus();
}

}  // namespace

Welcomed FromWire(const v1::Welcome& welcome) {
  // In milliseconds; deadlines are added to it.
  constexpr std::uint64_t kMostLeaseMs = 100ull * 366 * 24 * 3600 * 1000;
  Welcomed welcomed;
  welcomed.lease_us = static_cast<std::int64_t>(std::min(welcome.lease_ms(), kMostLeaseMs)) * 1000;
  for (const std::uint64_t id : welcome.dropped_assignments()) welcomed.dropped.emplace_back(id);
  return welcomed;
}

// What the message brings, or what is known already.
absl::StatusOr<std::shared_ptr<const KnownJob>> Payloads::JobOf(v1::Assignment& message) const {
  const auto known = jobs_.find(JobId(message.job_id()));
  if (!message.has_spec()) {
    if (known != jobs_.end()) return known->second.job;
    return absl::NotFoundError(
        absl::StrCat("spec: missing, and job ", message.job_id(), " is not known"));
  }
  const v1::JobSpec& spec = message.spec();
  if (!spec.has_command() && !spec.has_function()) {
    return absl::InvalidArgumentError("spec.work: neither a command nor a function");
  }
  if (known != jobs_.end()) {
    // A job never changes, and what is held of it rests on that.
    const v1::JobSpec& before = known->second.job->spec;
    if (spec.work_case() != before.work_case() || spec.has_array() != before.has_array()) {
      return absl::InvalidArgumentError(
          absl::StrCat("spec: not the one that job ", message.job_id(), " came with before"));
    }
  }
  return Understand(std::move(*message.mutable_spec()));
}

absl::StatusOr<AssignmentReceived> Payloads::Add(v1::Assignment&& message) {
  if (absl::Status status = CheckRange(message); !status.ok()) return status;
  const AssignmentId id(message.assignment_id());
  const JobId job_id(message.job_id());
  const bool has_spec = message.has_spec();
  const auto held = assignments_.find(id);
  if (held != assignments_.end() && held->second.job != job_id) {
    return absl::InvalidArgumentError(absl::StrCat("job_id: ", job_id.value(), ", but assignment ",
                                                   id.value(), " is of job ",
                                                   held->second.job.value()));
  }
  absl::StatusOr<std::shared_ptr<const KnownJob>> found = JobOf(message);
  if (!found.ok()) return found.status();
  const std::shared_ptr<const KnownJob> job = *std::move(found);
  const TaskRange tasks{message.first(), message.count()};
  PackedBytes inputs;
  if (!job->spec.has_array()) {
    absl::StatusOr<PackedBytes> parsed =
        wire::FromWire(std::move(*message.mutable_inputs()), message.count());
    if (!parsed.ok()) return parsed.status();
    inputs = *std::move(parsed);
  }

  AssignmentReceived event{
      .assignment = id,
      .job = job_id,
      .tasks = tasks,
      .width = message.width(),
      .cpus_milli = message.cpus_milli() == 0 ? kDefaultCpusMilli : message.cpus_milli(),
      .priority = message.priority(),
      .kind = job->spec.has_command() ? WorkKind::kCommand : WorkKind::kFunction,
      .alone = message.alone(),
      .at_most_once = message.at_most_once(),
      .own_process = job->spec.has_function() && job->spec.function().own_process(),
      .tasks_per_process = job->spec.function().tasks_per_process(),
      .depth = message.depth(),
      .charged = {}};
  for (const v1::ChargedTask& charged : message.charged()) {
    event.charged.push_back({charged.task(), charged.attempts()});
  }
  JobEntry& job_entry = jobs_[job_id];
  if (job_entry.job == nullptr || has_spec) job_entry.job = job;
  const auto [entry, is_new] = assignments_.try_emplace(id);
  if (is_new) {
    entry->second.job = job_id;
    ++job_entry.assignments;
  }
  if (!job->spec.has_array()) {
    std::vector<InputChunk>& chunks = entry->second.inputs;
    const auto after = std::find_if(chunks.begin(), chunks.end(), [&](const InputChunk& chunk) {
      return chunk.tasks.first > tasks.first;
    });
    chunks.insert(after, {tasks, std::move(inputs)});
  }
  return event;
}

void Payloads::Forget(AssignmentId assignment, JobId job) {
  if (assignments_.erase(assignment) == 0) return;
  JobEntry& entry = jobs_.at(job);
  if (--entry.assignments > 0) return;
  idle_jobs_.push_back(job);
  if (idle_jobs_.size() <= kIdleJobs) return;
  const auto oldest = jobs_.find(idle_jobs_.front());
  idle_jobs_.pop_front();
  const bool idle_again_later =
      oldest != jobs_.end() &&
      std::find(idle_jobs_.begin(), idle_jobs_.end(), oldest->first) != idle_jobs_.end();
  if (oldest != jobs_.end() && oldest->second.assignments == 0 && !idle_again_later) {
    jobs_.erase(oldest);
  }
}

const KnownJob& Payloads::job(JobId id) const { return *jobs_.at(id).job; }

std::string_view Payloads::InputOf(AssignmentId assignment, TaskIndex task) const {
  for (const InputChunk& chunk : assignments_.at(assignment).inputs) {
    if (task >= chunk.tasks.first && task < chunk.tasks.end()) {
      return chunk.values[task - chunk.tasks.first];
    }
  }
  return {};
}

std::vector<InputChunk> Payloads::InputsOf(AssignmentId assignment, TaskRange tasks) const {
  const std::vector<InputChunk>& chunks = assignments_.at(assignment).inputs;
  if (chunks.empty()) return {{tasks, {}}};
  std::vector<InputChunk> parts;
  TaskIndex next = tasks.first;
  for (const InputChunk& chunk : chunks) {
    if (next >= tasks.end()) break;
    if (chunk.tasks.first > next || chunk.tasks.end() <= next) continue;
    const std::uint64_t count = std::min(chunk.tasks.end(), tasks.end()) - next;
    parts.push_back({{next, count}, chunk.values.Slice(next - chunk.tasks.first, count)});
    next += count;
  }
  HAUL_CHECK(next == tasks.end());
  return parts;
}

void Payloads::Keep(AssignmentId assignment, Outcome outcome) {
  assignments_.at(assignment).unsealed.push_back(std::move(outcome));
}

void Payloads::Seal(const SealBatch& seal) {
  std::deque<Outcome>& unsealed = assignments_.at(seal.assignment).unsealed;
  HAUL_CHECK(unsealed.size() >= seal.outcome_count);
  const KnownJob& known = job(seal.job);
  const bool mergeable = known.spec.has_function() && !known.spec.function().detail();
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < seal.outcome_count; ++i) {
    MergeInto(outcomes, std::move(unsealed.front()), mergeable);
    unsealed.pop_front();
  }
  v1::OutcomeBatch& batch = batches_[seal.sequence];
  batch.set_sequence(seal.sequence);
  batch.set_assignment_id(seal.assignment.value());
  batch.set_job_id(seal.job.value());
  for (Outcome& outcome : outcomes) {
    outcome.assignment = seal.assignment;
    wire::ToWire(std::move(outcome), batch.add_outcomes());
  }
}

const v1::OutcomeBatch& Payloads::batch(std::uint64_t sequence) const {
  return batches_.at(sequence);
}

void Payloads::VoidBatch(std::uint64_t sequence) { batches_.at(sequence).clear_outcomes(); }

void Payloads::ForgetBatches(std::uint64_t through) {
  batches_.erase(batches_.begin(), batches_.upper_bound(through));
}

}  // namespace haul::worker
