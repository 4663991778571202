#include "coordinator/rpc/attached_worker.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/version.h"
#include "common/wire/convert.h"

namespace haul::coordinator {
namespace {

// A bundle is closed when it holds this much; what one assignment adds is cut to it too.
constexpr std::size_t kBundleBytes = 1 << 20;
constexpr std::size_t kChargedTaskBytes = 16;
constexpr std::size_t kTaskRangeBytes = 24;

}  // namespace

void AttachedWorker::Start(Loop& loop, const Limits& limits, Call::Pointer call) {
  const std::shared_ptr<AttachedWorker> worker(new AttachedWorker(loop, limits, std::move(call)));
  worker->session_ = loop.OpenSession(worker.get());
  worker->ReadNext();
}

AttachedWorker::AttachedWorker(Loop& loop, const Limits& limits, Call::Pointer call)
    : loop_(loop), limits_(limits), call_(std::move(call)) {}

// ---- from the worker ----

void AttachedWorker::ReadNext() {
  call_->Read(
      [self = shared_from_this()](v1::WorkerMessage* message) { self->OnMessage(message); });
}

void AttachedWorker::OnMessage(v1::WorkerMessage* message) {
  if (over_) return;
  if (message == nullptr) {
    loop_.SessionEnded(session_);
    if (absl::Status error = call_->read_error(); !error.ok()) return Close(error);
    return End();
  }
  if (absl::Status status = Take(*message); !status.ok()) {
    loop_.SessionEnded(session_);
    return Close(status);
  }
  loop_.WhenRelieved([self = shared_from_this()] {
    if (!self->over_) self->ReadNext();
  });
}

absl::Status AttachedWorker::Take(v1::WorkerMessage& message) {
  if (message.has_hello() == greeted_) {
    return absl::InvalidArgumentError("hello: in the first message, and only there");
  }
  if (message.has_hello()) {
    greeted_ = true;
    absl::StatusOr<WorkerConnected> event = ToCore(session_, message.hello(), limits_);
    if (!event.ok()) return event.status();
    loop_.Handle(*event);
  }
  loop_.Handle(WorkerSpoke{session_});
  for (v1::OutcomeBatch& batch : *message.mutable_outcomes()) {
    std::vector<Outcome> outcomes;
    absl::StatusOr<TasksFinished> event = ToCore(session_, std::move(batch), &outcomes);
    if (!event.ok()) return event.status();
    loop_.Handle(*event, {.outcomes = std::move(outcomes)});
  }
  for (const v1::HandedBack& handed_back : message.handed_back()) {
    absl::StatusOr<TasksHandedBack> event = ToCore(session_, handed_back);
    if (!event.ok()) return event.status();
    loop_.Handle(*event);
  }
  for (const v1::Blocked& blocked : message.blocked()) {
    loop_.Handle(BlockedReported{session_, AssignmentId(blocked.assignment_id()), blocked.count()});
  }
  for (const v1::TaskProgress& progress : message.progress()) {
    loop_.Handle(ProgressReported{session_, AssignmentId(progress.assignment_id()), progress.task(),
                                  progress.permille()});
  }
  if (message.heartbeat()) {
    Outgoing().set_heartbeat(true);
    Send();
  }
  if (message.draining()) loop_.Handle(WorkerStartedDraining{session_});
  if (message.goodbye()) loop_.Handle(WorkerSaidGoodbye{session_});
  return absl::OkStatus();
}

void AttachedWorker::End() {
  if (std::exchange(over_, true)) return;
  outgoing_.clear();
  if (!writing_) call_->Finish(absl::OkStatus());
}

// ---- to the worker ----

v1::CoordinatorMessage& AttachedWorker::Outgoing(std::size_t bytes) {
  // The first bundle may be in flight: it was given away as bytes already, see WriteNext.
  if (outgoing_.empty() || outgoing_.back().bytes + bytes > kBundleBytes) outgoing_.emplace_back();
  outgoing_.back().bytes += bytes;
  return outgoing_.back().message;
}

void AttachedWorker::Send() {
  if (!writing_ && !over_) WriteNext();
}

void AttachedWorker::WriteNext() {
  if (over_) return call_->Finish(close_status_);
  if (outgoing_.empty()) {
    if (!closing_) return;
    over_ = true;
    return call_->Finish(close_status_);
  }
  const v1::CoordinatorMessage message = std::move(outgoing_.front().message);
  outgoing_.pop_front();
  writing_ = true;
  call_->Write(message, [self = shared_from_this()](bool) {
    self->writing_ = false;
    // A failed write shows as a failed read too, which ends the session.
    self->WriteNext();
  });
}

void AttachedWorker::Welcome(const SendWelcome& send) {
  v1::Welcome& welcome = *Outgoing().mutable_welcome();
  const CoreOptions& options = loop_.core().options();
  welcome.set_worker_id(send.worker.value());
  welcome.set_epoch(loop_.core().epoch());
  welcome.set_lease_ms(static_cast<std::uint64_t>(options.lease_ms));
  welcome.set_heartbeat_interval_ms(
      static_cast<std::uint64_t>(std::max<std::int64_t>(options.lease_ms / 5, 1)));
  welcome.set_coordinator_version(std::string(kVersion));
  for (const AssignmentId id : send.dropped) welcome.add_dropped_assignments(id.value());
}

void AttachedWorker::Assign(const SendAssignment& send, const std::string* job_template,
                            const PackedBytes& inputs) {
  const JobSpec& spec = loop_.core().state().FindJob(send.job)->facts.spec;
  TaskIndex next = send.tasks.first;
  while (next < send.tasks.end()) {
    std::uint64_t count = send.tasks.end() - next;
    const TaskIndex offset = next - send.tasks.first;
    const bool with_template = next == send.tasks.first && job_template != nullptr;
    std::size_t bytes =
        64 + (with_template ? job_template->size() : 0) + kChargedTaskBytes * send.charged.size();
    if (inputs.count() > 0) {
      std::uint64_t fitting = 0;
      for (; fitting < count && (fitting == 0 || bytes < kBundleBytes); ++fitting) {
        bytes += inputs[offset + fitting].size() + sizeof(std::uint32_t);
      }
      count = fitting;
    }
    v1::Assignment& assignment = *Outgoing(bytes).add_assignments();
    assignment.set_assignment_id(send.id.value());
    assignment.set_job_id(send.job.value());
    assignment.set_first(next);
    assignment.set_count(count);
    assignment.set_width(send.width);
    assignment.set_alone(send.alone);
    assignment.set_cpus_milli(spec.cpus_milli);
    assignment.set_priority(spec.priority);
    assignment.set_at_most_once(spec.at_most_once);
    assignment.set_depth(spec.depth);
    if (inputs.count() > 0) wire::ToWire(inputs.Slice(offset, count), assignment.mutable_inputs());
    if (with_template) assignment.mutable_spec()->ParseFromString(*job_template);
    for (const ChargedTask& charged : send.charged) {
      if (charged.task < next || charged.task >= next + count) continue;
      v1::ChargedTask& wire = *assignment.add_charged();
      wire.set_task(charged.task);
      wire.set_attempts(charged.attempts);
    }
    next += count;
  }
}

void AttachedWorker::Revoke(const SendRevoke& send) {
  v1::Revoke& revoke = *Outgoing(32).add_revokes();
  revoke.set_assignment_id(send.id.value());
  revoke.set_count(send.count);
}

void AttachedWorker::Cancel(const SendCancel& send) {
  v1::Cancel& cancel = *Outgoing(64 + kTaskRangeBytes * send.tasks.size()).add_cancels();
  cancel.set_assignment_id(send.id.value());
  cancel.set_job_id(send.job.value());
  cancel.set_by(send.by);
  wire::ToWire(send.tasks, cancel.mutable_tasks());
}

void AttachedWorker::Durable(std::uint64_t through) { Outgoing().set_durable_through(through); }

void AttachedWorker::Drain(std::uint64_t deadline_ms) {
  v1::CoordinatorMessage& message = Outgoing();
  message.set_drain(true);
  // Behind an earlier one in the same bundle it is the earlier deadline, or the same.
  if (deadline_ms > 0) message.set_drain_deadline_ms(deadline_ms);
}

void AttachedWorker::Stop() { Outgoing().set_stop(true); }

void AttachedWorker::Depart() { Outgoing().set_depart(true); }

void AttachedWorker::Close(const absl::Status& status) {
  if (over_ || closing_) return;
  closing_ = true;
  close_status_ = status;
  Send();
}

}  // namespace haul::coordinator
