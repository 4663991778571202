// A coordinator against whatever clients and workers say: messages are converted as the rpc rooms
// do it, and what passes goes into the core, whose invariants hold whatever comes. A restart gives
// a new core what was durable.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/function_signature.h"
#include "common/utf8.h"
#include "common/wire/convert.h"
#include "coordinator/core/core.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/rpc/selector.h"
#include "coordinator/store/store.h"
#include "haul/v1/session.pb.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "worker/exec/launch/command_template.h"

namespace haul::fuzz {
namespace {

using coordinator::Core;
using coordinator::Event;

constexpr std::size_t kSessions = 4;
constexpr int kMostSteps = 40;
// A core is not asked to count to a hundred million here.
constexpr std::uint64_t kMostTasks = 2000;

coordinator::CoreOptions Options() {
  coordinator::CoreOptions options;
  options.lease_ms = 1000;
  options.max_tasks_per_job = kMostTasks;
  options.max_active_jobs = 20;
  return options;
}

void CheckName(const std::string& name) {
  HAUL_CHECK(name.size() <= coordinator::Limits().name_bytes && IsPrintableUtf8(name));
}

void CheckSpec(const coordinator::JobSpec& spec, const v1::JobSpec& wire) {
  CheckName(spec.name);
  CheckName(spec.owner);
  CheckName(spec.request_id);
  HAUL_CHECK(spec.description.size() <= 200 && IsUtf8(spec.description));
  HAUL_CHECK(spec.cpus_milli >= 1 && spec.cpus_milli <= 1'000'000);
  HAUL_CHECK(spec.max_attempts >= 1 && spec.max_attempts <= 1000);
  if (wire.has_command()) HAUL_CHECK(exec::CommandSpec::Parse(wire.command()).ok());
}

// What a worker says that it holds or gives back is ranges that do not wrap around.
void CheckRanges(const std::vector<TaskRange>& ranges) {
  for (const TaskRange& range : ranges) HAUL_CHECK(range.end() >= range.first);
}

void CheckConnected(const coordinator::WorkerConnected& event) {
  CheckName(event.profile.name);
  CheckName(event.profile.incarnation);
  HAUL_CHECK(!event.profile.name.empty() && !event.profile.incarnation.empty());
  HAUL_CHECK(event.profile.cpus_milli > 0);
  for (const coordinator::ServedFunction& function : event.profile.functions) {
    CheckName(function.name);
    HAUL_CHECK(function.library.size() <= 4096);
    HAUL_CHECK(ParseFunctionSignature(function.signature).ok());
  }
  for (const coordinator::HeldAssignment& held : event.held) CheckRanges(held.ranges);
}

// What came by the wire leaves by the wire as it came.
void CheckOutcomes(const coordinator::TasksFinished& event, const std::vector<Outcome>& outcomes) {
  HAUL_CHECK(event.outcomes.size() == outcomes.size());
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    HAUL_CHECK(event.outcomes[i].tasks == outcome.tasks && outcome.tasks.count > 0);
    HAUL_CHECK(outcome.tasks.end() > outcome.tasks.first);
    HAUL_CHECK(outcome.results.count() == 0 || outcome.results.count() == outcome.tasks.count);
    HAUL_CHECK(outcome.status != TaskStatus::kCrashed || outcome.tasks.count == 1);
    HAUL_CHECK(TaskStatusName(outcome.status) != "unknown" &&
               CauseName(outcome.cause) != "unknown");
    v1::Outcome wire;
    wire::ToWire(outcome, &wire);
    const absl::StatusOr<Outcome> again = wire::FromWire(std::move(wire));
    HAUL_CHECK(again.ok() && *again == outcome);
  }
}

class World {
 public:
  World() : core_(std::make_unique<Core>(Options(), epoch_)) {
    Step(coordinator::ServingStarted{});
  }

  void Take(CoordinatorInput::Step& step) {
    connection_ = &connections_[step.session() % kSessions];
    switch (step.what_case()) {
      case CoordinatorInput::Step::kSubmit:
        return Submit(std::move(*step.mutable_submit()));
      case CoordinatorInput::Step::kWorker:
        return Listen(*step.mutable_worker());
      case CoordinatorInput::Step::kCancel:
        return WithJob(step.cancel().job(), [&](JobId job) {
          absl::StatusOr<std::vector<TaskRange>> tasks =
              wire::FromWire(step.cancel().tasks(), "tasks");
          if (!tasks.ok()) return;
          Step(coordinator::JobCancelAsked{Request(), job, step.cancel().by(), *std::move(tasks)});
        });
      case CoordinatorInput::Step::kForget:
        return WithJob(step.forget().job(), [&](JobId job) {
          Step(coordinator::JobForgetAsked{Request(), job});
        });
      case CoordinatorInput::Step::kFollow:
        return WithJob(step.follow().job(), [&](JobId job) { CheckFollow(job, step.follow()); });
      case CoordinatorInput::Step::kDeath:
        return Step(
            coordinator::WorkerDeathReported{step.death().incarnation(), step.death().cause()});
      case CoordinatorInput::Step::kDrain:
        return WithWorker(step.drain().worker(), [&](WorkerId worker) {
          Step(coordinator::WorkerDrainAsked{Request(), worker});
        });
      case CoordinatorInput::Step::kStop:
        return WithWorker(step.stop().worker(), [&](WorkerId worker) {
          Step(coordinator::WorkerStopAsked{Request(), worker});
        });
      case CoordinatorInput::Step::kTimePassesMs:
        now_us_ += std::int64_t{step.time_passes_ms()} * 1000;
        return Step(coordinator::TimePassed{});
      case CoordinatorInput::Step::kDisconnect:
        return Disconnect();
      case CoordinatorInput::Step::kRestart:
        return Restart();
      case CoordinatorInput::Step::WHAT_NOT_SET:
        return Step(coordinator::TimePassed{});
    }
  }

 private:
  struct Connection {
    SessionId session;  // of a worker that was greeted
    // Of a submit under way.
    bool begun = false;
    v1::JobSpec wire_spec;
    coordinator::JobSpec spec;
    std::uint64_t input_count = 0;
  };

  coordinator::RequestId Request() { return coordinator::RequestId(++last_request_); }

  void Step(const Event& event) {
    now_us_ += 100;
    for (coordinator::StepResult::Durable& durable :
         core_->Step(event, {.monotonic_us = now_us_, .unix_us = now_us_}).records) {
      if (!durable.is_volatile) durable_.push_back(std::move(durable.record));
    }
    coordinator::CheckInvariants(core_->state());
  }

  void Submit(v1::SubmitRequest message) {
    Connection& call = *connection_;
    if (!call.begun) {
      const v1::JobSpec wire = message.spec();
      const auto spec = coordinator::ToCore(message, limits_);
      if (!spec.ok()) return HAUL_CHECK(!spec.status().message().empty());
      CheckSpec(*spec, wire);
      call.begun = true;
      call.wire_spec = wire;
      call.spec = *spec;
      call.input_count = 0;
    }
    const bool complete = message.complete();
    const auto values = coordinator::ToInputs(std::move(message), call.wire_spec.has_array(),
                                              call.input_count, kMostTasks, limits_);
    if (!values.ok()) return EndSubmit();
    call.input_count += values->count();
    HAUL_CHECK(call.input_count <= kMostTasks);
    for (std::uint64_t i = 0; i < values->count(); ++i) {
      HAUL_CHECK((*values)[i].size() <= limits_.argument_bytes);
    }
    if (!complete) return;
    if (coordinator::CheckTaskCount(call.wire_spec, call.input_count).ok()) {
      call.spec.task_count =
          call.wire_spec.has_array() ? call.wire_spec.task_count() : call.input_count;
      Step(coordinator::JobSubmitted{Request(), call.spec});
    }
    EndSubmit();
  }
  void EndSubmit() { connection_->begun = false; }

  // As AttachedWorker::Take.
  void Listen(v1::WorkerMessage& message) {
    if (message.has_hello() != connection_->session.is_none()) return Disconnect();
    if (message.has_hello()) {
      const SessionId session(++last_session_);
      const auto event = coordinator::ToCore(session, message.hello(), limits_);
      if (!event.ok()) return HAUL_CHECK(!event.status().message().empty());
      CheckConnected(*event);
      connection_->session = session;
      Step(*event);
    }
    const SessionId session = connection_->session;
    Step(coordinator::WorkerSpoke{session});
    for (v1::OutcomeBatch& batch : *message.mutable_outcomes()) {
      std::vector<Outcome> outcomes;
      const auto event = coordinator::ToCore(session, std::move(batch), &outcomes);
      if (!event.ok()) return Disconnect();
      CheckOutcomes(*event, outcomes);
      Step(*event);
    }
    for (const v1::Blocked& blocked : message.blocked()) {
      Step(coordinator::BlockedReported{session, AssignmentId(blocked.assignment_id()),
                                        blocked.count()});
    }
    for (const v1::TaskProgress& progress : message.progress()) {
      Step(coordinator::ProgressReported{session, AssignmentId(progress.assignment_id()),
                                         progress.task(), progress.permille()});
    }
    for (const v1::HandedBack& handed_back : message.handed_back()) {
      const auto event = coordinator::ToCore(session, handed_back);
      if (!event.ok()) return Disconnect();
      CheckRanges(event->ranges);
      Step(*event);
    }
    if (message.draining()) Step(coordinator::WorkerStartedDraining{session});
    if (message.goodbye()) Step(coordinator::WorkerSaidGoodbye{session});
  }

  void Disconnect() {
    const SessionId session = std::exchange(connection_->session, {});
    if (!session.is_none()) Step(coordinator::SessionClosed{session});
  }

  void Restart() {
    for (Connection& connection : connections_) connection = {};
    core_ = std::make_unique<Core>(Options(), ++epoch_);
    for (const coordinator::DurableRecord& record : durable_) core_->Recover(record);
    Step(coordinator::ServingStarted{});
  }

  template <typename Use>
  void WithJob(const v1::JobSelector& selector, Use use) {
    const auto job = coordinator::FindJob(core_->state(), selector);
    if (!job.ok()) return HAUL_CHECK(!job.status().message().empty());
    const v1::JobStatus status = coordinator::ToWire(core_->state(), **job);
    const std::uint64_t ended =
        status.succeeded() + status.failed() + status.cancelled() + status.lost();
    HAUL_CHECK(ended + status.ready() + status.assigned() <= status.spec().task_count());
    HAUL_CHECK(IsUtf8(status.waiting_reason()));
    use((*job)->id);
  }
  template <typename Use>
  void WithWorker(const std::string& name, Use use) {
    const auto worker = coordinator::FindWorker(core_->state(), name);
    if (!worker.ok()) return HAUL_CHECK(!worker.status().message().empty());
    (void)coordinator::ToWire(core_->state(), **worker, true);
    use((*worker)->id);
  }

  static void CheckFollow(JobId job, const v1::FollowRequest& request) {
    const coordinator::OutcomeQuery query = coordinator::ToQuery(job, request);
    HAUL_CHECK(query.only.count > 0);
    HAUL_CHECK(query.cursor >= request.cursor());
    if (query.in_order) HAUL_CHECK(query.cursor >= query.only.first);
  }

  const coordinator::Limits limits_;
  std::uint64_t epoch_ = 1;
  std::uint64_t last_request_ = 0;
  std::uint64_t last_session_ = 0;
  std::int64_t now_us_ = 1'000'000;
  std::unique_ptr<Core> core_;
  std::vector<coordinator::DurableRecord> durable_;
  std::array<Connection, kSessions> connections_;
  Connection* connection_ = nullptr;
};

void Run(CoordinatorInput input) {
  World world;
  int steps = 0;
  for (CoordinatorInput::Step& step : *input.mutable_steps()) {
    if (++steps > kMostSteps) break;
    world.Take(step);
  }
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::CoordinatorInput, haul::fuzz::Run)
