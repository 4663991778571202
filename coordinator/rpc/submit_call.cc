#include "coordinator/rpc/submit_call.h"

#include <utility>

namespace haul::coordinator {

void SubmitCall::Start(Loop& loop, const Limits& limits, Call::Pointer call) {
  std::shared_ptr<SubmitCall>(new SubmitCall(loop, limits, std::move(call)))->ReadNext();
}

void SubmitCall::ReadNext() {
  call_->Read(
      [self = shared_from_this()](v1::SubmitRequest* message) { self->OnMessage(message); });
}

void SubmitCall::OnMessage(v1::SubmitRequest* message) {
  if (message == nullptr) {
    Drop();
    if (absl::Status error = call_->read_error(); !error.ok()) return call_->Finish(error);
    return call_->Finish(absl::InvalidArgumentError("the submit ended before it was complete"));
  }
  if (absl::Status status = Take(*message); !status.ok()) {
    Drop();
    return call_->Finish(status);
  }
  if (message->complete()) return Accept();
  loop_.WhenRelieved([self = shared_from_this()] { self->ReadNext(); });
}

absl::Status SubmitCall::Take(v1::SubmitRequest& message) {
  if (!begun_) {
    begun_ = true;
    absl::StatusOr<JobSpec> spec = ToCore(message, limits_);
    if (!spec.ok()) return spec.status();
    spec_ = *std::move(spec);
    wire_spec_ = std::move(*message.mutable_spec());
  } else if (message.has_spec()) {
    return absl::InvalidArgumentError("spec: only in the first message");
  }
  absl::StatusOr<PackedBytes> values =
      ToInputs(std::move(message), wire_spec_.has_array(), input_count_,
               loop_.core().options().max_tasks_per_job, limits_);
  if (!values.ok()) return values.status();
  if (values->count() == 0) return absl::OkStatus();
  if (input_set_.is_none()) input_set_ = loop_.NewInputSet();
  const TaskIndex first = input_count_;
  input_count_ += values->count();
  input_bytes_ += values->byte_count();
  input_sizes_.Append(values->count(), values->byte_count());
  return loop_.StageInputs(input_set_, spec_.is_volatile, first, *std::move(values));
}

void SubmitCall::Accept() {
  if (absl::Status status = CheckTaskCount(wire_spec_, input_count_); !status.ok()) {
    Drop();
    return call_->Finish(status);
  }
  if (!wire_spec_.has_array()) wire_spec_.set_task_count(input_count_);
  spec_.task_count = wire_spec_.task_count();
  if (spec_.is_open && input_set_.is_none()) input_set_ = loop_.NewInputSet();
  spec_.input_set = input_set_;
  spec_.input_bytes = input_bytes_;
  std::string job_template = wire_spec_.SerializeAsString();
  if (absl::Status status = loop_.CheckRoom(spec_, job_template.size()); !status.ok()) {
    Drop();
    return call_->Finish(status);
  }
  const RequestId request = loop_.NewRequest([self = shared_from_this()](const Answer& answer) {
    if (!answer.ok()) {
      self->Drop();
      return self->call_->Finish(answer.status());
    }
    const auto& submitted = std::get<AnswerSubmit>(*answer);
    if (submitted.already_accepted) self->Drop();
    v1::SubmitReply reply;
    reply.set_job_id(submitted.job.value());
    reply.set_already_accepted(submitted.already_accepted);
    self->call_->Finish(reply);
  });
  loop_.Handle(JobSubmitted{request, spec_, std::move(input_sizes_)},
               {.job_template = std::move(job_template)});
}

void SubmitCall::Drop() {
  if (input_set_.is_none()) return;
  loop_.DropInputs(input_set_, spec_.is_volatile);
  input_set_ = {};
}

}  // namespace haul::coordinator
