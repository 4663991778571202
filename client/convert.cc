#include "client/convert.h"

#include <limits>
#include <type_traits>
#include <utility>

#include "common/utf8.h"

namespace haul::client {
namespace {

// A number that these types have no room for is unknown, and not the one that its last bits say.
template <typename Enum>
Enum ToEnum(int number) {
  constexpr int kMost = std::numeric_limits<std::underlying_type_t<Enum>>::max();
  return static_cast<Enum>(number < 0 || number > kMost ? kMost : number);
}

void ToWire(const Command& command, v1::Command* out) {
  for (const std::string& argument : command.arguments) out->add_arguments(argument);
  for (const auto& [name, value] : command.environment) {
    v1::EnvironmentVariable* variable = out->add_environment();
    variable->set_name(name);
    variable->set_value(value);
  }
  out->set_directory(command.directory);
  out->set_temporary_directory(command.temporary_directory);
  out->set_stdin_file(command.stdin_file);
}

Command CommandFromWire(v1::Command&& wire) {
  Command command;
  for (std::string& argument : *wire.mutable_arguments()) {
    command.arguments.push_back(std::move(argument));
  }
  for (v1::EnvironmentVariable& variable : *wire.mutable_environment()) {
    command.environment.emplace_back(std::move(*variable.mutable_name()),
                                     std::move(*variable.mutable_value()));
  }
  command.directory = std::move(*wire.mutable_directory());
  command.temporary_directory = wire.temporary_directory();
  command.stdin_file = std::move(*wire.mutable_stdin_file());
  return command;
}

JobSpec SpecFromWire(v1::JobSpec&& wire) {
  JobSpec spec;
  spec.name = std::move(*wire.mutable_name());
  if (wire.has_function()) {
    v1::FunctionCall& function = *wire.mutable_function();
    spec.work =
        FunctionCall{.name = std::move(*function.mutable_name()),
                     .signature = std::move(*function.mutable_signature()),
                     .detail = function.detail(),
                     .isolation = function.own_process() ? Isolation::kProcess : Isolation::kThread,
                     .tasks_per_process = function.tasks_per_process()};
  } else {
    spec.work = CommandFromWire(std::move(*wire.mutable_command()));
  }
  if (wire.has_array()) {
    spec.array = Array{
        .start = wire.array().start(), .step = wire.array().step(), .count = wire.task_count()};
  }
  spec.priority = wire.priority();
  spec.max_running = wire.max_running();
  spec.cpus_milli = wire.cpus_milli();
  spec.timeout_ms = wire.timeout_ms();
  spec.max_attempts = wire.max_attempts();
  spec.at_most_once = wire.at_most_once();
  spec.open = wire.open();
  if (wire.has_parent()) {
    const v1::ParentTask& parent = wire.parent();
    spec.parent = ParentTask{.assignment_id = parent.assignment_id(),
                             .job = JobId{parent.job_id()},
                             .task = parent.task()};
  }
  spec.volatile_job = wire.volatile_job();
  spec.memory_bytes = wire.memory_bytes();
  return spec;
}

}  // namespace

void ToWire(const JobSpec& spec, v1::JobSpec* out) {
  out->set_name(spec.name);
  if (const Command* command = std::get_if<Command>(&spec.work)) {
    ToWire(*command, out->mutable_command());
  } else {
    const FunctionCall& function = std::get<FunctionCall>(spec.work);
    out->mutable_function()->set_name(function.name);
    out->mutable_function()->set_signature(function.signature);
    out->mutable_function()->set_detail(function.detail);
    out->mutable_function()->set_own_process(function.isolation == Isolation::kProcess);
    out->mutable_function()->set_tasks_per_process(function.tasks_per_process);
  }
  if (spec.array.has_value()) {
    out->set_task_count(spec.array->count);
    out->mutable_array()->set_start(spec.array->start);
    out->mutable_array()->set_step(spec.array->step);
  }
  out->set_priority(spec.priority);
  out->set_max_running(spec.max_running);
  out->set_cpus_milli(spec.cpus_milli);
  out->set_timeout_ms(spec.timeout_ms);
  out->set_max_attempts(spec.max_attempts);
  out->set_at_most_once(spec.at_most_once);
  out->set_open(spec.open);
  if (spec.parent.has_value()) {
    v1::ParentTask& parent = *out->mutable_parent();
    parent.set_assignment_id(spec.parent->assignment_id);
    parent.set_job_id(spec.parent->job.value);
    parent.set_task(spec.parent->task);
  }
  out->set_volatile_job(spec.volatile_job);
  out->set_memory_bytes(spec.memory_bytes);
}

void ToWire(const JobRef& job, v1::JobSelector* out) {
  if (job.id() != nullptr) {
    out->set_job_id(job.id()->value);
  } else if (job.name() != nullptr) {
    out->set_name(ToUtf8(*job.name()));  // of no job, where this changes it
  } else {
    out->set_last(true);
  }
}

JobStatus FromWire(v1::JobStatus&& wire) {
  JobStatus status;
  status.id = JobId{wire.job_id()};
  status.state = ToEnum<JobState>(wire.state());
  status.task_count = wire.spec().task_count();
  status.spec = SpecFromWire(std::move(*wire.mutable_spec()));
  status.description = std::move(*wire.mutable_description());
  status.owner = std::move(*wire.mutable_owner());
  status.succeeded = wire.succeeded();
  status.failed = wire.failed();
  status.cancelled = wire.cancelled();
  status.lost = wire.lost();
  status.assigned = wire.assigned();
  status.ready = wire.ready();
  status.retried = wire.retried();
  status.accepted_unix_us = wire.accepted_unix_us();
  status.ended_unix_us = wire.ended_unix_us();
  status.waiting_reason = std::move(*wire.mutable_waiting_reason());
  status.cancel_requested = wire.cancel_requested();
  for (const v1::RunningTask& running : wire.progress()) {
    status.progress.push_back({running.task(), running.permille(), running.worker_id()});
  }
  return status;
}

Result<Outcome> FromWire(v1::Outcome&& wire) {
  Outcome outcome;
  outcome.first = wire.first();
  outcome.count = wire.count();
  outcome.state = ToEnum<TaskState>(wire.status());
  outcome.cause = ToEnum<FailureCause>(wire.cause());
  if (wire.count() == 0 || wire.first() + wire.count() < wire.first() ||
      outcome.state < TaskState::kSucceeded || outcome.state > TaskState::kLost) {
    return Status(ErrorKind::kFailed, "the coordinator sent an outcome that makes no sense");
  }
  if (wire.has_results()) {
    v1::PackedBytes& pack = *wire.mutable_results();
    std::vector<std::uint32_t> ends(pack.end_offsets().begin(), pack.end_offsets().end());
    if (!Values::FromParts(wire.count(), pack.uniform_size(), std::move(ends),
                           std::move(*pack.mutable_data()), &outcome.results)) {
      return Status(ErrorKind::kFailed, "the coordinator sent results that make no sense");
    }
  }
  outcome.code = wire.code();
  outcome.message = std::move(*wire.mutable_message());
  outcome.error_output = std::move(*wire.mutable_error_output());
  outcome.output_file = std::move(*wire.mutable_output_file());
  outcome.output_bytes = wire.output_bytes();
  outcome.error_file = std::move(*wire.mutable_error_file());
  outcome.error_bytes = wire.error_bytes();
  outcome.queued_unix_us = wire.queued_unix_us();
  outcome.started_unix_us = wire.started_unix_us();
  outcome.finished_unix_us = wire.finished_unix_us();
  outcome.busy_ns = wire.busy_ns();
  outcome.pid = wire.pid();
  outcome.user_cpu_us = wire.user_cpu_us();
  outcome.system_cpu_us = wire.system_cpu_us();
  outcome.peak_memory_bytes = wire.peak_memory_bytes();
  outcome.attempt = wire.attempt();
  outcome.fencing_token = wire.assignment_id();
  outcome.worker_id = wire.worker_id();
  outcome.worker_name = std::move(*wire.mutable_worker_name());
  outcome.host = std::move(*wire.mutable_host());
  outcome.sequence = wire.sequence();
  return outcome;
}

FunctionInfo FromWire(v1::FunctionInfo&& wire) {
  return {.name = std::move(*wire.mutable_name()),
          .signature = std::move(*wire.mutable_signature()),
          .library = std::move(*wire.mutable_library()),
          .workers = 0};
}

WorkerStatus FromWire(v1::WorkerStatus&& wire) {
  WorkerStatus status;
  status.id = wire.worker_id();
  status.name = std::move(*wire.mutable_name());
  status.host = std::move(*wire.mutable_host());
  status.pid = wire.pid();
  status.state = ToEnum<WorkerState>(wire.state());
  status.version = std::move(*wire.mutable_version());
  status.cpus_milli = wire.cpus_milli();
  status.cpus_milli_reserved = wire.cpus_milli_reserved();
  status.processes = wire.processes();
  status.threads = wire.threads();
  status.tasks_assigned = wire.tasks_assigned();
  status.tasks_ended = wire.tasks_ended();
  status.joined_unix_us = wire.joined_unix_us();
  status.last_heard_unix_us = wire.last_heard_unix_us();
  for (v1::FunctionInfo& function : *wire.mutable_functions()) {
    status.functions.push_back(FromWire(std::move(function)));
  }
  for (const v1::WorkerAssignment& assignment : wire.assignments()) {
    status.assignments.push_back({.assignment_id = assignment.assignment_id(),
                                  .job = JobId{assignment.job_id()},
                                  .first = assignment.first(),
                                  .remaining = assignment.remaining(),
                                  .width = assignment.width()});
  }
  return status;
}

CoordinatorInfo FromWire(v1::InfoReply&& wire) {
  CoordinatorInfo info;
  info.version = std::move(*wire.mutable_version());
  info.epoch = wire.epoch();
  info.pid = wire.pid();
  info.data_directory = std::move(*wire.mutable_data_directory());
  info.address = std::move(*wire.mutable_address());
  info.started_unix_us = wire.started_unix_us();
  info.jobs_active = wire.jobs_active();
  info.jobs_ended = wire.jobs_ended();
  info.workers_connected = wire.workers_connected();
  info.tasks_ready = wire.tasks_ready();
  info.tasks_assigned = wire.tasks_assigned();
  info.cpus_milli = wire.cpus_milli();
  info.resident_bytes = wire.resident_bytes();
  info.adopting = wire.adopting();
  return info;
}

}  // namespace haul::client
