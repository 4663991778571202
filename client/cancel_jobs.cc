// Cancelling many jobs: some calls at once, and again where the connection is lost.
#include <grpcpp/completion_queue.h>

#include <memory>
#include <utility>
#include <vector>

#include "client/impl.h"
#include "common/utf8.h"

namespace haul::client {
namespace {

// Calls under way together: the coordinator writes them down in one commit.
constexpr std::size_t kCallsAtOnce = 32;

}  // namespace

struct Client::Impl::CancelCall {
  CancelCall(const Impl& client, JobId the_job, grpc::CompletionQueue& queue)
      : job(the_job), cancel_on_stop(context, client.stop) {
    client.Authorize(context);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    v1::CancelJobRequest request;
    request.mutable_job()->set_job_id(the_job.value);
    request.set_by(ToUtf8(UserName()));
    reader = client.jobs->AsyncCancel(&context, request, &queue);
    reader->Finish(&reply, &status, this);
  }

  const JobId job;
  grpc::ClientContext context;
  const CancelOnStop cancel_on_stop;
  v1::JobStatus reply;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::JobStatus>> reader;
};

std::vector<std::unique_ptr<Client::Impl::CancelCall>> Client::Impl::CancelTogether(
    const std::vector<JobId>& some) const {
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<CancelCall>> under_way;
  for (const JobId job : some) under_way.push_back(std::make_unique<CancelCall>(*this, job, queue));
  queue.Shutdown();  // it is empty once all of them have ended
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) continue;
  return under_way;
}

Status Client::CancelJobs(std::vector<JobId> jobs) {
  Patience patience(*impl_->channel, impl_->reconnect_timeout, impl_->stop);
  Status refused;
  while (!jobs.empty()) {
    const std::size_t count = std::min(jobs.size(), kCallsAtOnce);
    const std::vector<JobId> some(jobs.end() - static_cast<std::ptrdiff_t>(count), jobs.end());
    jobs.resize(jobs.size() - count);
    Status unreachable;
    for (const auto& call : impl_->CancelTogether(some)) {
      const Status status = impl_->ToStatus(call->status);
      if (status.kind() == ErrorKind::kUnreachable) {
        unreachable = status;
        jobs.push_back(call->job);
      } else if (!status.ok() && status.kind() != ErrorKind::kNotFound && refused.ok()) {
        refused = status;
      }
    }
    if (impl_->stop.stop_requested()) return Stopped();
    if (unreachable.ok()) {
      patience.OnProgress();
    } else if (!patience.TryAgain(unreachable)) {
      return impl_->stop.stop_requested() ? Stopped() : unreachable;
    }
  }
  return refused;
}

}  // namespace haul::client
