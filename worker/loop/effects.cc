// How the loop carries out what the core decides.
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/utf8.h"
#include "common/wire/convert.h"
#include "spdlog/spdlog.h"
#include "worker/loop/worker_loop.h"

namespace haul::worker {
namespace {

v1::HandedBack::Reason ToWire(HandBackReason reason) {
  switch (reason) {
    case HandBackReason::kRevoked:
      return v1::HandedBack::REASON_REVOKED;
    case HandBackReason::kDirectoryMissing:
      return v1::HandedBack::REASON_DIRECTORY_MISSING;
    case HandBackReason::kLeaving:
      return v1::HandedBack::REASON_LEAVING;
    case HandBackReason::kExecutorDied:
      return v1::HandedBack::REASON_EXECUTOR_DIED;
  }
  HAUL_CHECK(false);
}

}  // namespace

// ------------------------------------------------------------------------------------- what runs

void WorkerLoop::Do(const StartCommand& effect) {
  const KnownJob& job = payloads_.job(effect.job);
  if (!job.command.ok()) {
    Outcome outcome;
    outcome.tasks = {effect.task, 1};
    outcome.status = TaskStatus::kFailed;
    outcome.cause = Cause::kStartFailed;
    outcome.message = std::string(job.command.status().message());
    outcome.attempt = effect.attempt;
    outcome.assignment = effect.assignment;
    return OnCommandEnded(
        {.job = effect.job, .outcome = std::move(outcome), .output_path = {}, .error_path = {}});
  }
  exec::CommandTask task{.assignment = effect.assignment,
                         .job = effect.job,
                         .task = effect.task,
                         .attempt = effect.attempt,
                         .command = *job.command,
                         .input = {},
                         .array_value = {},
                         .timeout_ms = job.spec.timeout_ms(),
                         .memory_bytes = job.spec.memory_bytes()};
  if (job.spec.has_array()) {
    // In unsigned arithmetic, where an overflow is defined.
    task.array_value = static_cast<std::int64_t>(
        static_cast<std::uint64_t>(job.spec.array().start()) +
        effect.task * static_cast<std::uint64_t>(job.spec.array().step()));
  } else {
    task.input = std::string(payloads_.InputOf(effect.assignment, effect.task));
  }
  effect.ahead ? runner_->StartAhead(std::move(task)) : runner_->Start(std::move(task));
}

void WorkerLoop::Do(const AdvanceCommands& effect) { runner_->Advance(effect.assignment); }

void WorkerLoop::Do(const WithdrawCommands& effect) {
  // Before anything else that is told of its commands: whoever is not there gets no place.
  later_.emplace_front(CommandsWithdrawn{effect.assignment, runner_->Withdraw(effect.assignment)},
                       std::nullopt);
}

void WorkerLoop::Do(const StopCommand& effect) {
  runner_->Stop(effect.assignment, effect.task, Cause::kCancelled, effect.by);
}

void WorkerLoop::Do(const KillCommands&) { runner_.reset(); }

void WorkerLoop::Do(const StartExecutor& effect) { executors_.Start(effect.executor); }

void WorkerLoop::Do(const EndExecutor& effect) { executors_.End(effect.executor); }

void WorkerLoop::Do(const StartRun& effect) {
  const v1::JobSpec& spec = payloads_.job(effect.job).spec;
  std::vector<InputChunk> parts;
  if (effect.tasks.count > 0) {
    parts = payloads_.InputsOf(effect.assignment, effect.tasks);
  } else {
    parts.emplace_back();  // only the width changes
  }
  for (InputChunk& part : parts) {
    v1::Run run;
    run.set_assignment_id(effect.assignment.value());
    run.set_job_id(effect.job.value());
    run.set_function(spec.function().name());
    run.set_first(part.tasks.first);
    run.set_count(part.tasks.count);
    run.set_width(effect.width);
    run.set_priority(spec.priority());
    run.set_detail(spec.function().detail());
    run.set_timeout_ms(spec.timeout_ms());
    if (spec.has_array()) {
      *run.mutable_array() = spec.array();
    } else {
      wire::ToWire(std::move(part.values), run.mutable_inputs());
    }
    for (const ChargedTask& charged : effect.charged) {
      if (charged.task < part.tasks.first || charged.task >= part.tasks.end()) continue;
      run.add_charged_tasks(charged.task);
      run.add_charged_attempts(charged.attempts);
    }
    const absl::Status status = executors_.Run(effect.executor, std::move(run));
    if (status.ok() || part.tasks.count == 0) continue;
    Outcome outcome;
    outcome.tasks = part.tasks;
    outcome.status = TaskStatus::kFailed;
    outcome.cause = Cause::kStartFailed;
    outcome.message = std::string(status.message());
    OnExecutorOutcome(effect.executor, effect.assignment, std::move(outcome));
  }
}

void WorkerLoop::Do(const ReclaimRun& effect) {
  executors_.Reclaim(effect.executor, effect.assignment, effect.count);
}

void WorkerLoop::Do(const StopRun& effect) {
  executors_.StopTasks(effect.executor, effect.assignment);
}

void WorkerLoop::Do(const StopTasks& effect) {
  executors_.StopTasks(effect.executor, effect.assignment, effect.tasks);
}

void WorkerLoop::Do(const ResumeTask& effect) {
  executors_.Resume(effect.executor, effect.assignment, effect.task);
}

void WorkerLoop::Do(const ReportBlocked& effect) {
  v1::Blocked& blocked = *outbox_.add_blocked();
  blocked.set_assignment_id(effect.assignment.value());
  blocked.set_count(effect.count);
  outbox_used_ = true;
}

// ----------------------------------------------------------------------------------- what is owed

void WorkerLoop::Do(const KeepOutcome& effect) {
  HAUL_CHECK(staged_.has_value());
  Outcome outcome = std::move(staged_->outcome);
  staged_.reset();
  if (effect.cancelled) {
    outcome.status = TaskStatus::kCancelled;
    outcome.cause = Cause::kCancelled;
    outcome.message = effect.by;
  }
  payloads_.Keep(effect.assignment, std::move(outcome));
}

void WorkerLoop::Do(const UploadOutput& effect) {
  HAUL_CHECK(staged_.has_value());
  StagedOutcome staged = *std::move(staged_);
  staged_.reset();
  staged.job = core_.state().assignments.at(effect.assignment).job;
  const std::uint64_t id = ++last_id_;
  awaited_[id].assignment = effect.assignment;
  if (!staged.output_path.empty()) StartUpload(id, staged, false);
  if (!staged.error_path.empty()) StartUpload(id, staged, true);
  awaited_[id].outcome = std::move(staged.outcome);
}

void WorkerLoop::StartUpload(std::uint64_t outcome_id, const StagedOutcome& staged,
                             bool error_output) {
  AwaitedOutcome& awaited = awaited_.at(outcome_id);
  const std::uint64_t id = ++last_id_;
  uploads_[id] = {outcome_id, error_output};
  ++awaited.uploads;
  const std::string& path = error_output ? staged.error_path : staged.output_path;
  awaited.paths.push_back(path);
  session_.Upload(
      {.id = id,
       .job_id = staged.job.value(),
       .assignment_id = awaited.assignment.value(),
       .task = staged.outcome.tasks.first,
       .error_output = error_output,
       .total_bytes = error_output ? staged.outcome.error_bytes : staged.outcome.output_bytes,
       .path = path});
}

void WorkerLoop::Do(const RecordOutcome& effect) {
  payloads_.Keep(effect.assignment, effect.outcome);
}

void WorkerLoop::Do(const SealBatch& effect) { payloads_.Seal(effect); }

void WorkerLoop::Do(const SendBatch& effect) {
  *outbox_.add_outcomes() = payloads_.batch(effect.sequence);
  outbox_used_ = true;
}

void WorkerLoop::Do(const ForgetBatches& effect) { payloads_.ForgetBatches(effect.through); }

void WorkerLoop::Do(const VoidBatch& effect) { payloads_.VoidBatch(effect.sequence); }

void WorkerLoop::Do(const SendHandedBack& effect) {
  v1::HandedBack& handed_back = *outbox_.add_handed_back();
  handed_back.set_assignment_id(effect.assignment.value());
  handed_back.set_job_id(effect.job.value());
  handed_back.set_reason(ToWire(effect.reason));
  handed_back.set_message(ToUtf8(effect.message));
  wire::ToWire(effect.tasks, handed_back.mutable_ranges());
  outbox_used_ = true;
}

void WorkerLoop::Do(const ForgetAssignment& effect) {
  for (auto it = awaited_.begin(); it != awaited_.end();) {
    if (it->second.assignment != effect.assignment) {
      ++it;
      continue;
    }
    for (auto upload = uploads_.begin(); upload != uploads_.end();) {
      if (upload->second.outcome == it->first) {
        session_.CancelUpload(upload->first);
        upload = uploads_.erase(upload);
      } else {
        ++upload;
      }
    }
    for (const std::string& path : it->second.paths) ::unlink(path.c_str());
    it = awaited_.erase(it);
  }
  payloads_.Forget(effect.assignment, effect.job);
}

void WorkerLoop::Do(const SayDraining&) {
  spdlog::info("draining: {} assignments are held", core_.state().assignments.size());
  outbox_.set_draining(true);
  outbox_used_ = true;
}

void WorkerLoop::Do(const Leave&) { leaving_ = true; }

}  // namespace haul::worker
