// A worker against whatever its coordinator and its executors say. The core and the payloads are
// the worker's own, and this carries out the core's effects as the loop does, but for processes:
// what would start is only prepared.
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/check.h"
#include "common/utf8.h"
#include "common/wire/convert.h"
#include "haul/v1/executor.pb.h"
#include "haul/v1/session.pb.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "worker/core/core.h"
#include "worker/exec/launch/command_template.h"
#include "worker/loop/payloads.h"

namespace haul::fuzz {
namespace {

using worker::AssignmentReceived;
using worker::Core;
using worker::Event;
using worker::ExecutorId;

constexpr int kMostSteps = 40;

class World {
 public:
  explicit World(const worker::CoreOptions& options) : core_(options) { Step(worker::Started{}); }

  void Take(WorkerInput::Step& step) {
    switch (step.what_case()) {
      case WorkerInput::Step::kMessage:
        return Listen(*step.mutable_message());
      case WorkerInput::Step::kReport:
        return Hear(*step.mutable_report());
      case WorkerInput::Step::kTimePassesMs:
        now_us_ += std::int64_t{step.time_passes_ms()} * 1000;
        return Step(worker::TimePassed{});
      case WorkerInput::Step::kDisconnect:
        return Step(worker::Disconnected{});
      case WorkerInput::Step::kWrite:
        if (core_.HasUnsent()) Step(worker::SendSlotFree{});
        return;
      case WorkerInput::Step::WHAT_NOT_SET:
        return;
    }
  }

 private:
  // As WorkerLoop::OnMessage.
  void Listen(v1::CoordinatorMessage& message) {
    if (message.has_welcome()) {
      Step(worker::FromWire(message.welcome()));
    } else {
      Step(worker::CoordinatorHeard{});
    }
    for (v1::Assignment& assignment : *message.mutable_assignments()) {
      TakeAssignment(std::move(assignment));
    }
    for (const v1::Revoke& revoke : message.revokes()) {
      Step(worker::RevokeReceived{AssignmentId(revoke.assignment_id()), revoke.count()});
    }
    for (const v1::Cancel& cancel : message.cancels()) {
      absl::StatusOr<std::vector<TaskRange>> tasks = wire::FromWire(cancel.tasks(), "tasks");
      if (!tasks.ok()) continue;
      Step(worker::CancelReceived{AssignmentId(cancel.assignment_id()), cancel.by(),
                                  *std::move(tasks)});
    }
    if (message.durable_through() > 0) Step(worker::BatchesDurable{message.durable_through()});
    if (message.drain()) Step(worker::DrainRequested{});
    if (message.stop()) Step(worker::StopRequested{});
    if (message.depart()) Step(worker::DepartReceived{});
  }

  void TakeAssignment(v1::Assignment&& message) {
    const TaskRange tasks{message.first(), message.count()};
    absl::StatusOr<AssignmentReceived> event = payloads_.Add(std::move(message));
    if (!event.ok()) return HAUL_CHECK(!event.status().message().empty());
    HAUL_CHECK(event->tasks == tasks && tasks.count > 0 && tasks.end() > tasks.first);
    HAUL_CHECK(!event->assignment.is_none() && !event->job.is_none() && event->cpus_milli > 0);
    Step(*std::move(event));
  }

  void Hear(WorkerInput::Report& report) {
    const ExecutorId id(report.executor());
    if (report.said().has_ready()) Step(worker::ExecutorReady{id});
    for (v1::ExecutorOutcomes& group : *report.mutable_said()->mutable_outcomes()) {
      for (v1::Outcome& wire : *group.mutable_outcomes()) {
        absl::StatusOr<Outcome> outcome = wire::FromWire(std::move(wire));
        if (!outcome.ok()) return;
        // Commands end one by one, and nobody but the worker itself says so.
        if (id.is_none() && outcome->tasks.count != 1) return;
        outcome->assignment = AssignmentId(group.assignment_id());
        Step(worker::OutcomeArrived{.executor = id,
                                    .assignment = outcome->assignment,
                                    .tasks = outcome->tasks,
                                    .status = outcome->status,
                                    .byte_count = ByteCount(*outcome)},
             *outcome);
      }
    }
    for (const v1::Reclaimed& reclaimed : report.said().reclaimed()) {
      Step(worker::TasksReclaimed{
          id, AssignmentId(reclaimed.assignment_id()), {reclaimed.first(), reclaimed.count()}});
    }
    for (const v1::TaskRef& task : report.said().waiting()) {
      Step(worker::TaskBlocked{id, AssignmentId(task.assignment_id()), task.task()});
    }
    for (const v1::TaskRef& task : report.said().resumable()) {
      Step(worker::ResumeAsked{id, AssignmentId(task.assignment_id()), task.task()});
    }
    if (report.died())
      Step(worker::ExecutorDied{.executor = id, .suspects = {}, .message = "it died"});
  }

  void Step(const Event& event, std::optional<Outcome> staged = std::nullopt) {
    now_us_ += 100;
    staged_ = std::move(staged);
    for (const worker::Effect& effect :
         core_.Step(event, {.monotonic_us = now_us_, .unix_us = now_us_})) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
    core_.CheckInvariants();
  }

  void Do(const worker::StartCommand& effect) {
    const worker::KnownJob& job = payloads_.job(effect.job);
    const std::string input(payloads_.InputOf(effect.assignment, effect.task));
    if (!job.command.ok()) return HAUL_CHECK(!job.command.status().message().empty());
    exec::CommandTask task{.assignment = effect.assignment,
                           .job = effect.job,
                           .task = effect.task,
                           .attempt = effect.attempt,
                           .command = *job.command,
                           .input = input};
    (void)exec::PrepareSpawn(task, {}, "").ok();
  }
  // Each task of a run has an input, unless the job is an array.
  void Do(const worker::StartRun& effect) {
    const v1::JobSpec& spec = payloads_.job(effect.job).spec;
    if (effect.tasks.count == 0) return;
    TaskIndex next = effect.tasks.first;
    for (const worker::InputChunk& part : payloads_.InputsOf(effect.assignment, effect.tasks)) {
      HAUL_CHECK(part.tasks.first == next && part.tasks.count > 0);
      HAUL_CHECK(spec.has_array() || part.values.count() == part.tasks.count);
      next = part.tasks.end();
    }
    HAUL_CHECK(next == effect.tasks.end());
  }
  void Do(const worker::KeepOutcome& effect) {
    HAUL_CHECK(staged_.has_value());
    payloads_.Keep(effect.assignment, *std::move(staged_));
    staged_.reset();
  }
  void Do(const worker::RecordOutcome& effect) {
    payloads_.Keep(effect.assignment, effect.outcome);
  }
  void Do(const worker::SealBatch& effect) { payloads_.Seal(effect); }
  // What a worker reports, a coordinator can read.
  void Do(const worker::SendBatch& effect) {
    const v1::OutcomeBatch& batch = payloads_.batch(effect.sequence);
    HAUL_CHECK(batch.outcomes_size() == 0 || batch.sequence() == effect.sequence);
    for (v1::Outcome wire : batch.outcomes()) {
      HAUL_CHECK(IsUtf8(wire.message()));
      HAUL_CHECK(wire::FromWire(std::move(wire)).ok());
    }
  }
  void Do(const worker::ForgetBatches& effect) { payloads_.ForgetBatches(effect.through); }
  void Do(const worker::VoidBatch& effect) { payloads_.VoidBatch(effect.sequence); }
  void Do(const worker::SendHandedBack& effect) {
    for (const TaskRange& tasks : effect.tasks) HAUL_CHECK(tasks.count > 0);
  }
  void Do(const worker::ForgetAssignment& effect) {
    payloads_.Forget(effect.assignment, effect.job);
  }
  void Do(const worker::UploadOutput&) { HAUL_CHECK(false); }  // no report here has a file
  // Processes, which answer when the input says so.
  void Do(const worker::AdvanceCommands&) {}
  void Do(const worker::WithdrawCommands&) {}
  void Do(const worker::StopCommand&) {}
  void Do(const worker::KillCommands&) {}
  void Do(const worker::StartExecutor&) {}
  void Do(const worker::EndExecutor&) {}
  void Do(const worker::ReclaimRun&) {}
  void Do(const worker::StopRun&) {}
  void Do(const worker::StopTasks&) {}
  void Do(const worker::ResumeTask&) {}
  void Do(const worker::ReportBlocked& effect) {
    HAUL_CHECK(core_.state().assignments.contains(effect.assignment));
  }
  void Do(const worker::SayDraining&) {}
  void Do(const worker::Leave&) {}

  std::int64_t now_us_ = 1'000'000;
  Core core_;
  worker::Payloads payloads_;
  std::optional<Outcome> staged_;
};

void Run(WorkerInput input) {
  World world({.threads = 1 + input.threads() % 4, .serves_functions = input.serves_functions()});
  int steps = 0;
  for (WorkerInput::Step& step : *input.mutable_steps()) {
    if (++steps > kMostSteps) break;
    world.Take(step);
  }
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::WorkerInput, haul::fuzz::Run)
