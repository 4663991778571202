#include "coordinator/rpc/convert.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/command_template.h"
#include "common/function_text.h"
#include "common/utf8.h"
#include "common/wire/convert.h"

namespace haul::coordinator {
namespace {

constexpr std::size_t kDescriptionBytes = 200;
constexpr std::uint32_t kMaxCpusMilli = 1'000'000;
constexpr std::size_t kMaxPathBytes = 4096;
constexpr std::uint32_t kMaxAttempts = 1'000;
// Less holds no program; more no machine has.
constexpr std::uint64_t kMinMemoryBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 50;
constexpr std::uint64_t kMaxTimeoutMs = 10ull * 366 * 24 * 3600 * 1000;

absl::Status Refused(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
}

absl::Status TooLarge(absl::string_view field, std::uint64_t value, std::uint64_t limit,
                      absl::string_view unit) {
  return Refused(field, absl::StrCat(value, " ", unit, " are over the limit of ", limit));
}

absl::Status CheckCommand(const v1::Command& command, const Limits& limits) {
  // What a worker will do with it is tried here: arguments, names of variables, zero bytes.
  CommandText text;
  text.arguments.assign(command.arguments().begin(), command.arguments().end());
  std::size_t bytes = 0;
  for (const std::string& argument : command.arguments()) bytes += argument.size() + 1;
  for (const v1::EnvironmentVariable& variable : command.environment()) {
    text.environment.emplace_back(variable.name(), variable.value());
    bytes += variable.name().size() + variable.value().size() + 2;
  }
  text.directory = command.directory();
  text.stdin_file = command.stdin_file();
  if (bytes > limits.argument_bytes) {
    return TooLarge("command.arguments", bytes, limits.argument_bytes,
                    "bytes of arguments and environment");
  }
  const std::pair<const char*, const std::string&> paths[] = {
      {"command.directory", command.directory()}, {"command.stdin_file", command.stdin_file()}};
  for (const auto& [field, path] : paths) {
    if (path.size() > kMaxPathBytes) return TooLarge(field, path.size(), kMaxPathBytes, "bytes");
  }
  if (command.temporary_directory() && !command.directory().empty()) {
    return Refused("command.directory", absl::StrCat("'", absl::CEscape(command.directory()),
                                                     "' is given beside a temporary one"));
  }
  if (!command.temporary_directory() &&
      (command.directory().empty() || command.directory()[0] != '/')) {
    return Refused("command.directory", absl::StrCat("'", absl::CEscape(command.directory()),
                                                     "' is not an absolute path"));
  }
  const absl::Status parsed = CommandTemplate::Parse(text).status();
  return parsed.ok() ? parsed : Refused("command", parsed.message());
}

absl::Status CheckArray(const v1::JobSpec& spec) {
  if (spec.array().step() == 0) return Refused("array.step", "0, must not be 0");
  const auto steps = static_cast<std::int64_t>(spec.task_count() == 0 ? 0 : spec.task_count() - 1);
  std::int64_t last = 0;
  if (__builtin_mul_overflow(steps, spec.array().step(), &last) ||
      __builtin_add_overflow(last, spec.array().start(), &last)) {
    return Refused("array", "its values do not fit 64 bits");
  }
  if (!spec.has_function()) return absl::OkStatus();
  absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature(spec.function().signature());
  if (!signature.ok()) return Refused("function.signature", signature.status().message());
  return CheckArrayCall(spec.function().name(), *signature, spec.array().start(),
                        spec.array().step(), spec.task_count());
}

// As an executor's table of functions holds it.
absl::Status CheckFunction(const v1::FunctionInfo& function) {
  if (absl::Status s = CheckFunctionName(function.name()); !s.ok())
    return Refused("hello.functions", s.message());
  const absl::Status signature = ParseFunctionSignature(function.signature()).status();
  if (!signature.ok()) {
    return Refused("hello.functions", absl::StrCat(function.name(), ": ", signature.message()));
  }
  if (function.library().size() > kMaxPathBytes) {
    return TooLarge("hello.functions.library", function.library().size(), kMaxPathBytes, "bytes");
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(const v1::JobSpec& spec) {
  if (spec.cpus_milli() > kMaxCpusMilli) {
    return TooLarge("cpus", spec.cpus_milli(), kMaxCpusMilli, "thousandths of a cpu");
  }
  if (spec.max_attempts() > kMaxAttempts) {
    return TooLarge("max_attempts", spec.max_attempts(), kMaxAttempts, "attempts");
  }
  if (spec.timeout_ms() > kMaxTimeoutMs) {
    return TooLarge("timeout", spec.timeout_ms(), kMaxTimeoutMs, "milliseconds");
  }
  if (spec.memory_bytes() == 0) return absl::OkStatus();
  if (spec.has_function()) {
    return Refused("memory", absl::StrCat(spec.memory_bytes(),
                                          " bytes, but only commands have a limit of memory: "
                                          "functions share the memory of their executor"));
  }
  if (spec.memory_bytes() < kMinMemoryBytes) {
    return Refused("memory", absl::StrCat(spec.memory_bytes(), " bytes are below the least limit, ",
                                          kMinMemoryBytes));
  }
  if (spec.memory_bytes() > kMaxMemoryBytes) {
    return TooLarge("memory", spec.memory_bytes(), kMaxMemoryBytes, "bytes");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckName(absl::string_view field, const std::string& name, const Limits& limits) {
  if (name.size() > limits.name_bytes)
    return TooLarge(field, name.size(), limits.name_bytes, "bytes");
  if (!IsPrintableUtf8(name)) {
    return Refused(field, absl::StrCat("'", absl::CEscape(name), "' has unprintable characters"));
  }
  return absl::OkStatus();
}

absl::StatusOr<JobSpec> ToCore(const v1::JobSpec& spec, const Limits& limits) {
  if (absl::Status s = CheckName("name", spec.name(), limits); !s.ok()) return s;
  if (std::uint64_t id = 0; spec.name() == "last" || absl::SimpleAtoi(spec.name(), &id)) {
    return Refused("name", absl::StrCat("'", spec.name(),
                                        "' would be taken for another job: it must be "
                                        "neither a number nor 'last'"));
  }
  if (absl::Status s = CheckNumbers(spec); !s.ok()) return s;
  JobSpec core;
  if (spec.has_command()) {
    if (absl::Status s = CheckCommand(spec.command(), limits); !s.ok()) return s;
    core.kind = WorkKind::kCommand;
  } else if (spec.has_function()) {
    if (absl::Status s = CheckName("function.name", spec.function().name(), limits); !s.ok())
      return s;
    if (spec.function().name().empty()) return Refused("function.name", "empty");
    if (spec.function().tasks_per_process() > 0 && !spec.function().own_process()) {
      return Refused("function.tasks_per_process",
                     absl::StrCat(spec.function().tasks_per_process(),
                                  ", but tasks have no process of their own (own_process)"));
    }
    core.kind = WorkKind::kFunction;
    core.function = spec.function().name();
    core.signature = spec.function().signature();
  } else {
    return Refused("work", "the job has neither a command nor a function");
  }
  core.name = spec.name();
  core.description = Describe(spec);
  core.priority = spec.priority();
  core.cpus_milli = spec.cpus_milli() == 0 ? 1000 : spec.cpus_milli();
  core.max_running = spec.max_running();
  core.max_attempts = spec.max_attempts() == 0 ? 1 : spec.max_attempts();
  core.at_most_once = spec.at_most_once();
  core.is_volatile = spec.volatile_job();
  core.is_open = spec.open();
  if (spec.has_parent()) {
    core.parent = {.assignment = AssignmentId(spec.parent().assignment_id()),
                   .job = JobId(spec.parent().job_id()),
                   .task = spec.parent().task()};
    if (core.parent.assignment.is_none()) return Refused("parent.assignment_id", "0");
  }
  core.task_count = spec.task_count();
  return core;
}

absl::StatusOr<JobSpec> ToCore(const v1::SubmitRequest& first, const Limits& limits) {
  if (!first.has_spec()) return absl::InvalidArgumentError("spec: missing in the first message");
  absl::StatusOr<JobSpec> spec = ToCore(first.spec(), limits);
  if (!spec.ok()) return spec;
  if (absl::Status s = CheckName("request_id", first.request_id(), limits); !s.ok()) return s;
  if (absl::Status s = CheckName("owner", first.owner(), limits); !s.ok()) return s;
  spec->request_id = first.request_id();
  spec->owner = first.owner();
  return spec;
}

absl::StatusOr<PackedBytes> ToInputs(v1::PackedBytes&& inputs, std::uint64_t count,
                                     std::uint64_t count_before, std::uint64_t most_tasks,
                                     const Limits& limits) {
  // Bytes without a count are not passed over either.
  if (count == 0 && inputs.data().empty()) return PackedBytes();
  if (count_before > most_tasks || count > most_tasks - count_before) {
    return Refused("inputs", absl::StrCat(count_before, " and ", count,
                                          " more are over the limit of ", most_tasks));
  }
  absl::StatusOr<PackedBytes> values = wire::FromWire(std::move(inputs), count);
  if (!values.ok()) return Refused("inputs", values.status().message());
  if (values->uniform_size() > limits.argument_bytes) {
    return Refused("inputs", absl::StrCat("a value has ", values->uniform_size(),
                                          " bytes, over the limit of ", limits.argument_bytes));
  }
  // Without offsets all are of one size: nothing here may cost more than the message has bytes.
  for (std::size_t i = 0; i < values->end_offsets().size(); ++i) {
    if ((*values)[i].size() <= limits.argument_bytes) continue;
    return Refused("inputs", absl::StrCat("value ", count_before + i, " has ", (*values)[i].size(),
                                          " bytes, over the limit of ", limits.argument_bytes));
  }
  return values;
}

absl::StatusOr<PackedBytes> ToInputs(v1::SubmitRequest&& message, bool is_array,
                                     std::uint64_t count_before, std::uint64_t most_tasks,
                                     const Limits& limits) {
  const bool has_any = message.input_count() > 0 || !message.inputs().data().empty();
  if (has_any && is_array) return Refused("inputs", "an array job has none");
  return ToInputs(std::move(*message.mutable_inputs()), message.input_count(), count_before,
                  most_tasks, limits);
}

absl::Status CheckTaskCount(const v1::JobSpec& spec, std::uint64_t input_count) {
  if (spec.has_array()) {
    if (spec.open()) return Refused("open", "an array job has all its tasks from the start");
    if (input_count > 0) return Refused("inputs", "an array job has none");
    return CheckArray(spec);
  }
  if (spec.task_count() != 0 && spec.task_count() != input_count) {
    return Refused("task_count",
                   absl::StrCat(spec.task_count(), ", but ", input_count, " inputs came"));
  }
  return absl::OkStatus();
}

std::string Describe(const v1::JobSpec& spec) {
  std::string text;
  if (spec.has_function()) {
    text = absl::StrCat(spec.function().name(), " ", spec.function().signature());
  } else {
    for (const std::string& argument : spec.command().arguments()) {
      if (!text.empty()) text += ' ';
      text += absl::CHexEscape(argument.substr(0, kDescriptionBytes));
      if (text.size() > kDescriptionBytes) break;
    }
  }
  if (text.size() > kDescriptionBytes)
    text = std::string(CutUtf8(text, kDescriptionBytes - 3)) + "...";
  return text;
}

absl::StatusOr<WorkerConnected> ToCore(SessionId session, const v1::Hello& hello,
                                       const Limits& limits) {
  if (hello.incarnation().empty()) return Refused("hello.incarnation", "empty");
  for (const auto& [field, text] :
       {std::pair("hello.incarnation", &hello.incarnation()),
        std::pair("hello.host", &hello.host()), std::pair("hello.version", &hello.version())}) {
    if (absl::Status s = CheckName(field, *text, limits); !s.ok()) return s;
  }
  if (absl::Status s = CheckName("hello.name", hello.name(), limits); !s.ok()) return s;
  if (hello.name().empty()) return Refused("hello.name", "empty");
  if (hello.cpus_milli() == 0 || hello.cpus_milli() > 1'000ull * 65'536) {
    return Refused("hello.cpus_milli", absl::StrCat(hello.cpus_milli(), ", must be 1 to 65536000"));
  }
  WorkerConnected event;
  event.session = session;
  event.draining = hello.draining();
  event.was_member = hello.worker_id() != 0;
  event.profile = {.name = hello.name(),
                   .incarnation = hello.incarnation(),
                   .host = hello.host(),
                   .pid = hello.pid(),
                   .cpus_milli = hello.cpus_milli(),
                   .processes = hello.processes(),
                   .threads = hello.threads(),
                   .version = hello.version()};
  for (const v1::FunctionInfo& function : hello.functions()) {
    if (absl::Status s = CheckFunction(function); !s.ok()) return s;
    event.profile.functions.push_back({function.name(), function.signature(), function.library()});
  }
  for (const v1::HeldAssignment& held : hello.held()) {
    HeldAssignment& core = event.held.emplace_back();
    core = {.id = AssignmentId(held.assignment_id()),
            .job = JobId(held.job_id()),
            .width = held.width(),
            .alone = held.alone(),
            .blocked = held.blocked()};
    absl::StatusOr<std::vector<TaskRange>> ranges = wire::FromWire(held.ranges(), "hello.held");
    if (!ranges.ok()) return ranges.status();
    core.ranges = *std::move(ranges);
  }
  return event;
}

absl::StatusOr<TasksFinished> ToCore(SessionId session, v1::OutcomeBatch&& batch,
                                     std::vector<Outcome>* payload) {
  TasksFinished event{.session = session,
                      .batch_sequence = batch.sequence(),
                      .assignment = AssignmentId(batch.assignment_id()),
                      .job = JobId(batch.job_id())};
  event.outcomes.reserve(static_cast<std::size_t>(batch.outcomes_size()));
  payload->reserve(static_cast<std::size_t>(batch.outcomes_size()));
  for (v1::Outcome& wire : *batch.mutable_outcomes()) {
    absl::StatusOr<Outcome> outcome = wire::FromWire(std::move(wire));
    if (!outcome.ok()) return outcome.status();
    if (outcome->status == TaskStatus::kCrashed && outcome->tasks.count != 1) {
      return Refused("outcome.count", "a crash is reported for one task at a time");
    }
    outcome->assignment = event.assignment;
    event.outcomes.push_back({.tasks = outcome->tasks,
                              .status = outcome->status,
                              .cause = outcome->cause,
                              .busy_ns = outcome->busy_ns,
                              .culprit = outcome->culprit});
    payload->push_back(*std::move(outcome));
  }
  return event;
}

absl::StatusOr<TasksHandedBack> ToCore(SessionId session, const v1::HandedBack& handed_back) {
  TasksHandedBack event{.session = session,
                        .assignment = AssignmentId(handed_back.assignment_id()),
                        .job = JobId(handed_back.job_id())};
  absl::StatusOr<std::vector<TaskRange>> ranges =
      wire::FromWire(handed_back.ranges(), "handed_back.ranges");
  if (!ranges.ok()) return ranges.status();
  event.ranges = *std::move(ranges);
  switch (handed_back.reason()) {
    case v1::HandedBack::REASON_DIRECTORY_MISSING:
      event.reason = HandBackReason::kDirectoryMissing;
      break;
    case v1::HandedBack::REASON_LEAVING:
      event.reason = HandBackReason::kLeaving;
      break;
    case v1::HandedBack::REASON_EXECUTOR_DIED:
      event.reason = HandBackReason::kExecutorDied;
      break;
    default:
      event.reason = HandBackReason::kRevoked;
      break;  // also what a newer worker may say
  }
  return event;
}

OutcomeQuery ToQuery(JobId job, const v1::FollowRequest& request) {
  OutcomeQuery query{.job = job,
                     .in_order = request.in_order(),
                     .cursor = request.cursor(),
                     .unsuccessful_only = request.unsuccessful_only(),
                     .with_payload = request.with_payload()};
  if (request.count() == 0) return query;
  query.only = {request.first(), request.count()};
  if (query.in_order) query.cursor = std::max(query.cursor, query.only.first);
  return query;
}

namespace {

void AddProgress(const State& state, const Job& job, v1::JobStatus* status) {
  constexpr int kMost = 100;
  for (const WorkerId worker : job.workers) {
    const auto& lanes = state.FindWorker(worker)->lanes;
    for (const bool alone : {false, true}) {
      const auto lane = lanes.find(LaneKey{job.id, alone});
      if (lane == lanes.end()) continue;
      for (const AssignmentId id : lane->second.assignments) {
        for (const auto& [task, permille] : state.FindAssignment(id)->progress) {
          if (status->progress_size() == kMost) return;
          v1::RunningTask& running = *status->add_progress();
          running.set_task(task);
          running.set_permille(permille);
          running.set_worker_id(worker.value());
        }
      }
    }
  }
}

}  // namespace

v1::JobStatus ToWire(const State& state, const Job& job) {
  v1::JobStatus status;
  const JobFacts& facts = job.facts;
  status.set_job_id(job.id.value());
  status.set_state(static_cast<v1::JobState>(job.state()));
  v1::JobSpec& spec = *status.mutable_spec();
  spec.set_name(facts.spec.name);
  spec.set_task_count(facts.spec.task_count);
  spec.set_priority(facts.spec.priority);
  spec.set_cpus_milli(facts.spec.cpus_milli);
  spec.set_max_running(facts.spec.max_running);
  spec.set_max_attempts(facts.spec.max_attempts);
  spec.set_at_most_once(facts.spec.at_most_once);
  spec.set_volatile_job(facts.spec.is_volatile);
  spec.set_open(facts.open);
  if (facts.spec.depth > 0) {
    const ParentTask& parent = facts.spec.parent;
    spec.mutable_parent()->set_assignment_id(parent.assignment.value());
    spec.mutable_parent()->set_job_id(parent.job.value());
    spec.mutable_parent()->set_task(parent.task);
  }
  if (facts.spec.kind == WorkKind::kFunction) {
    spec.mutable_function()->set_name(facts.spec.function);
    spec.mutable_function()->set_signature(facts.spec.signature);
  }
  status.set_description(facts.spec.description);
  status.set_owner(facts.spec.owner);
  status.set_succeeded(facts.counts.succeeded);
  status.set_failed(facts.counts.failed);
  status.set_cancelled(facts.counts.cancelled);
  status.set_lost(facts.counts.lost);
  status.set_assigned(job.assigned_tasks);
  status.set_ready(job.ready.size() + job.ready_alone.size());
  status.set_retried(facts.retried);
  status.set_accepted_unix_us(facts.accepted_unix_us);
  status.set_ended_unix_us(facts.ended_unix_us);
  status.set_waiting_reason(WaitingReason(state, job));
  status.set_cancel_requested(facts.cancel.has_value());
  AddProgress(state, job, &status);
  return status;
}

v1::WorkerStatus ToWire(const State& state, const Worker& worker, bool with_assignments) {
  v1::WorkerStatus status;
  status.set_worker_id(worker.id.value());
  status.set_name(worker.facts.name);
  status.set_host(worker.facts.host);
  status.set_pid(worker.profile.pid);
  status.set_state(!worker.connected()                   ? v1::WORKER_STATE_AWAY
                   : worker.draining || worker.departing ? v1::WORKER_STATE_DRAINING
                                                         : v1::WORKER_STATE_CONNECTED);
  status.set_cpus_milli(worker.profile.cpus_milli);
  status.set_cpus_milli_reserved(worker.reserved_milli);
  status.set_tasks_assigned(worker.assigned_tasks);
  status.set_tasks_ended(worker.ended_tasks);
  status.set_joined_unix_us(worker.facts.unix_us);
  status.set_last_heard_unix_us(worker.last_heard_unix_us);
  status.set_version(worker.profile.version);
  status.set_processes(worker.profile.processes);
  status.set_threads(worker.profile.threads);
  for (const ServedFunction& function : worker.profile.functions) {
    v1::FunctionInfo& info = *status.add_functions();
    info.set_name(function.name);
    info.set_signature(function.signature);
    info.set_library(function.library);
  }
  if (!with_assignments) return status;
  for (const auto& [key, lane] : worker.lanes) {
    for (const AssignmentId id : lane.assignments) {
      const Assignment& assignment = *state.FindAssignment(id);
      v1::WorkerAssignment& wire = *status.add_assignments();
      wire.set_assignment_id(id.value());
      wire.set_job_id(assignment.job.value());
      wire.set_first(assignment.tasks.First(1).first);
      wire.set_remaining(assignment.tasks.size());
      wire.set_width(assignment.width);
    }
  }
  return status;
}

}  // namespace haul::coordinator
