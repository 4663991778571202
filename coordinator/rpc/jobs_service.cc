#include "coordinator/rpc/jobs_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "common/wire/convert.h"
#include "coordinator/rpc/extend_call.h"
#include "coordinator/rpc/follow_call.h"
#include "coordinator/rpc/selector.h"
#include "coordinator/rpc/submit_call.h"

namespace haul::coordinator {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;
constexpr std::uint32_t kDefaultList = 100;
constexpr std::uint32_t kMaxList = 1000;
constexpr int kMostRanges = 65'536;  // of tasks to cancel

}  // namespace

void JobsService::Serve(const rpc::ServerQueue& server) {
  SubmitCall::Call::Serve(server, service_, &Service::RequestSubmit, [this](auto call) {
    SubmitCall::Start(loop_, limits_, std::move(call));
  });
  ExtendCall::Call::Serve(server, service_, &Service::RequestExtend, [this](auto call) {
    ExtendCall::Start(loop_, limits_, std::move(call));
  });
  GetCall::Serve(server, service_, &Service::RequestGet, [this](auto call) { Get(call); });
  ListCall::Serve(server, service_, &Service::RequestList, [this](auto call) { List(call); });
  CancelCall::Serve(server, service_, &Service::RequestCancel, [this](auto call) { Cancel(call); });
  ForgetCall::Serve(server, service_, &Service::RequestForget, [this](auto call) { Forget(call); });
  FollowCall::Call::Serve(server, service_, &Service::RequestFollow,
                          [this](auto call) { FollowCall::Start(loop_, call); });
  FetchCall::Serve(server, service_, &Service::RequestFetchOutput,
                   [this](auto call) { Fetch(call, call->request().offset()); });
}

void JobsService::Get(const GetCall::Pointer& call) {
  const absl::StatusOr<const Job*> job = FindJob(loop_.core().state(), call->request().job());
  if (!job.ok()) return call->Finish(job.status());
  loop_.ReadTemplate((*job)->id, [this, call, id = (*job)->id](absl::StatusOr<std::string> text) {
    const Job* found = loop_.core().state().FindJob(id);
    if (found == nullptr) return call->Finish(absl::NotFoundError("job: it was forgotten"));
    if (!text.ok()) return call->Finish(text.status());
    v1::JobStatus reply = ToWire(loop_.core().state(), *found);
    // All but what changes: an open job is what it was extended to.
    v1::JobSpec& spec = *reply.mutable_spec();
    spec.ParseFromString(*text);
    spec.set_task_count(found->facts.spec.task_count);
    spec.set_open(found->facts.open);
    loop_.WhenDurable([call, reply = std::move(reply)] { call->Finish(reply); });
  });
}

void JobsService::List(const ListCall::Pointer& call) {
  const v1::ListJobsRequest& request = call->request();
  if (request.limit() > kMaxList) {
    return call->Finish(absl::InvalidArgumentError(
        absl::StrCat("limit: ", request.limit(), " is over the limit of ", kMaxList)));
  }
  const State& state = loop_.core().state();
  v1::ListJobsReply reply;
  const int limit = static_cast<int>(request.limit() == 0 ? kDefaultList : request.limit());
  auto it = request.before_id() == 0 ? state.jobs().end()
                                     : state.jobs().lower_bound(JobId(request.before_id()));
  while (it != state.jobs().begin() && reply.jobs_size() < limit) {
    --it;
    if (request.active_only() && it->second.is_ended()) continue;
    *reply.add_jobs() = ToWire(state, it->second);
  }
  loop_.WhenDurable([call, reply = std::move(reply)] { call->Finish(reply); });
}

void JobsService::Cancel(const CancelCall::Pointer& call) {
  const absl::StatusOr<const Job*> job = FindJob(loop_.core().state(), call->request().job());
  if (!job.ok()) return call->Finish(job.status());
  if (call->request().tasks_size() > kMostRanges) {
    return call->Finish(absl::InvalidArgumentError(absl::StrCat(
        "tasks: ", call->request().tasks_size(), " ranges are over the limit of ", kMostRanges)));
  }
  absl::StatusOr<std::vector<TaskRange>> tasks = wire::FromWire(call->request().tasks(), "tasks");
  if (!tasks.ok()) return call->Finish(tasks.status());
  const RequestId request = loop_.NewRequest([this, call, id = (*job)->id](const Answer& answer) {
    if (!answer.ok()) return call->Finish(answer.status());
    const Job* found = loop_.core().state().FindJob(id);
    if (found == nullptr) return call->Finish(absl::NotFoundError("job: it was forgotten"));
    loop_.WhenDurable(
        [call, reply = ToWire(loop_.core().state(), *found)] { call->Finish(reply); });
  });
  const std::string by = call->request().by().empty() ? "a client" : call->request().by();
  loop_.Handle(JobCancelAsked{request, (*job)->id, std::string(CutUtf8(by, limits_.name_bytes)),
                              *std::move(tasks)});
}

void JobsService::Forget(const ForgetCall::Pointer& call) {
  const absl::StatusOr<const Job*> job = FindJob(loop_.core().state(), call->request().job());
  if (!job.ok()) return call->Finish(job.status());
  const RequestId request = loop_.NewRequest([call, id = (*job)->id](const Answer& answer) {
    if (!answer.ok()) return call->Finish(answer.status());
    v1::ForgetJobReply reply;
    reply.set_job_id(id.value());
    call->Finish(reply);
  });
  loop_.Handle(JobForgetAsked{request, (*job)->id});
}

// Piece by piece: the next is read when the one before was taken.
void JobsService::Fetch(const FetchCall::Pointer& call, std::uint64_t offset) {
  if (call->over()) return;
  const std::string file = call->request().file();
  if (loop_.core().state().FindJob(JobId(call->request().job_id())) == nullptr) {
    return call->Finish(
        absl::NotFoundError(absl::StrCat("job: there is no job ", call->request().job_id())));
  }
  const absl::StatusOr<OutputName> name = OutputName::Parse(file);
  if (!name.ok() || name->job.value() != call->request().job_id()) {
    return call->Finish(absl::InvalidArgumentError("file: not an output of this job"));
  }
  const bool taken = loop_.files().TryRun([this, call, file, offset]() -> SideThread::Continuation {
    return [this, call, offset, piece = files_.Read(file, offset, kPieceBytes)]() mutable {
      if (call->over()) return;
      if (!piece.ok()) return call->Finish(piece.status());
      if (piece->empty()) return call->Finish(absl::OkStatus());
      v1::OutputPiece reply;
      const std::uint64_t next = offset + piece->size();
      reply.set_data(*std::move(piece));
      call->Write(reply, [this, call, next](bool ok) {
        if (ok) return Fetch(call, next);
        call->Finish(absl::CancelledError("the client is gone"));
      });
    };
  });
  if (!taken) {
    call->Finish(absl::ResourceExhaustedError(
        absl::StrCat("reads: ", SideThread::kCapacity,
                     " wait for the disk, which is the limit; try again later")));
  }
}

}  // namespace haul::coordinator
