#include "coordinator/rpc/extend_call.h"

#include <utility>

#include "common/time.h"

namespace haul::coordinator {
namespace {

constexpr std::int64_t kReplyUs = 2'000;

}  // namespace

void ExtendCall::Start(Loop& loop, const Limits& limits, Call::Pointer call) {
  std::shared_ptr<ExtendCall>(new ExtendCall(loop, limits, std::move(call)))->ReadNext();
}

void ExtendCall::ReadNext() {
  if (finished_ || !error_.ok()) return;
  call_->Read(
      [self = shared_from_this()](v1::ExtendRequest* message) { self->OnMessage(message); });
}

void ExtendCall::OnMessage(v1::ExtendRequest* message) {
  if (finished_ || !error_.ok()) return;
  if (message == nullptr) {
    reads_are_over_ = true;
    if (absl::Status error = call_->read_error(); !error.ok()) return End(error);
    return WriteOrFinish();
  }
  if (absl::Status status = Take(*message); !status.ok()) return End(status);
  loop_.WhenRelieved([self = shared_from_this()] { self->ReadNext(); });
}

absl::Status ExtendCall::Take(v1::ExtendRequest& message) {
  if (job_.is_none()) {
    job_ = JobId(message.job_id());
    if (job_.is_none()) {
      return absl::InvalidArgumentError("job_id: missing in the first message");
    }
  } else if (message.job_id() != 0) {
    return absl::InvalidArgumentError("job_id: only in the first message");
  }
  absl::StatusOr<PackedBytes> values =
      ToInputs(std::move(*message.mutable_inputs()), message.input_count(), message.first(),
               loop_.core().options().max_tasks_per_job, limits_);
  if (!values.ok()) return values.status();
  if (absl::Status room = loop_.CheckRoom(job_, *values); !room.ok()) return room;
  JobExtendAsked event{.job = job_,
                       .first = message.first(),
                       .count = values->count(),
                       .input_bytes = values->byte_count(),
                       .close = message.close()};
  event.request = loop_.NewRequest(
      [self = shared_from_this()](const Answer& answer) { self->OnAnswer(answer); });
  ++unanswered_;
  loop_.Handle(event, {.inputs = *std::move(values)});
  return absl::OkStatus();
}

void ExtendCall::OnAnswer(const Answer& answer) {
  --unanswered_;
  if (!answer.ok()) return End(answer.status());
  const auto& extended = std::get<AnswerExtend>(*answer);
  reply_.emplace();
  reply_->set_task_count(extended.task_count);
  reply_->set_open(extended.open);
  if (!has_replied_ || !extended.open || reads_are_over_) return WriteOrFinish();
  ReplySoon();
}

// One reply stands for several: nobody waits for each.
void ExtendCall::ReplySoon() {
  if (std::exchange(replies_soon_, true)) return;
  loop_.RunAt(ReadClocks().monotonic_us + kReplyUs, [self = shared_from_this()] {
    self->replies_soon_ = false;
    self->WriteOrFinish();
  });
}

void ExtendCall::End(absl::Status status) {
  if (error_.ok()) error_ = std::move(status);
  WriteOrFinish();
}

void ExtendCall::WriteOrFinish() {
  if (finished_ || writing_) return;
  if (reply_.has_value()) {
    writing_ = true;
    has_replied_ = true;
    call_->Write(*std::exchange(reply_, std::nullopt), [self = shared_from_this()](bool ok) {
      self->writing_ = false;
      if (!ok) self->End(absl::CancelledError("the client is gone"));
      self->WriteOrFinish();
    });
    return;
  }
  // Also before an error: what was accepted before it is told, or the client takes it for refused.
  if (unanswered_ > 0 || (error_.ok() && !reads_are_over_)) return;
  finished_ = true;
  call_->Finish(error_);
}

}  // namespace haul::coordinator
