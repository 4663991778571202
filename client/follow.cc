#include "client/follow.h"

#include <utility>

#include "client/convert.h"

namespace haul::client {

FollowCursor::FollowCursor(const JobRef& job, const FollowOptions& options) {
  ToWire(job, request_.mutable_job());
  request_.set_follow(options.follow);
  request_.set_in_order(options.in_order);
  request_.set_cursor(options.cursor);
  request_.set_with_payload(options.with_payload);
  request_.set_first(options.first);
  request_.set_count(options.count);
  request_.set_unsuccessful_only(options.unsuccessful_only);
  request_.set_status_only(options.status_only);
}

Result<FollowUpdate> FollowCursor::Take(v1::FollowReply&& reply) {
  FollowUpdate update;
  update.outcomes.reserve(static_cast<std::size_t>(reply.outcomes_size()));
  for (v1::Outcome& wire : *reply.mutable_outcomes()) {
    Result<Outcome> outcome = FromWire(std::move(wire));
    if (!outcome.ok()) return outcome.status();
    update.outcomes.push_back(*std::move(outcome));
  }
  if (reply.has_status()) {
    update.status = FromWire(std::move(*reply.mutable_status()));
    // A name, or "last", may mean another job when it is asked for again.
    request_.mutable_job()->set_job_id(update.status->id.value);
  }
  // A message about the status alone need not repeat the cursor.
  if (reply.cursor() != 0) request_.set_cursor(reply.cursor());
  update.cursor = request_.cursor();
  return update;
}

JobFollower::JobFollower(const Client::Impl& client, CallQueue& calls, JobId job, Quick quick,
                         Rest rest, std::stop_token stop)
    : client_(client),
      calls_(calls),
      quick_(std::move(quick)),
      rest_(std::move(rest)),
      stop_(std::move(stop)),
      cursor_(JobRef(job), {}) {}

Status JobFollower::Run() {
  Patience patience(*client_.channel, client_.reconnect_timeout, stop_);
  while (true) {
    const grpc::Status ended = RunConnection();
    if (ended.ok()) return Status();
    if (stop_.stop_requested()) return Stopped();
    if (std::exchange(heard_, false)) patience.OnProgress();
    const Status status = client_.ToStatus(ended);
    if (!patience.TryAgain(status)) return stop_.stop_requested() ? Stopped() : status;
  }
}

grpc::Status JobFollower::RunConnection() {
  grpc::ClientContext context;
  client_.Authorize(context);
  const CancelOnStop cancel(context, stop_);
  std::unique_lock lock(mutex_);
  over_ = false;
  error_ = {};
  reader_ = client_.jobs->AsyncFollow(&context, cursor_.request(), &calls_.queue(), &started_);
  while (!over_ || update_.has_value() || !later_.empty()) {
    changed_.wait(lock, [this] { return over_ || update_.has_value() || !later_.empty(); });
    RunWhatWaits(lock);
  }
  if (!error_.ok()) context.TryCancel();
  AwaitedTag finished;
  grpc::Status status;
  reader_->Finish(&status, &finished);
  lock.unlock();
  finished.Await();
  lock.lock();
  reader_.reset();
  return error_.ok() ? status : error_;
}

void JobFollower::RunWhatWaits(std::unique_lock<std::mutex>& lock) {
  for (const std::function<void()>& fn : std::exchange(later_, {})) {
    lock.unlock();
    fn();
    lock.lock();
  }
  if (!update_.has_value()) return;
  lock.unlock();
  rest_(*update_);
  lock.lock();
  update_.reset();
  ReadNext();
}

void JobFollower::RunLater(std::function<void()> fn) {
  const std::lock_guard lock(mutex_);
  later_.push_back(std::move(fn));
  changed_.notify_all();
}

void JobFollower::OnStarted(bool ok) {
  const std::lock_guard lock(mutex_);
  if (!ok) return EndStream();
  ReadNext();
}

void JobFollower::ReadNext() {
  reply_ = v1::FollowReply();
  reader_->Read(&reply_, &read_);
}

void JobFollower::OnRead(bool ok) {
  std::optional<FollowUpdate> update;
  {
    const std::lock_guard lock(mutex_);
    if (!ok) return EndStream();
    heard_ = true;
    Result<FollowUpdate> taken = cursor_.Take(std::move(reply_));
    if (!taken.ok()) {
      error_ = grpc::Status(grpc::StatusCode::INTERNAL, taken.status().message());
      return EndStream();
    }
    update = *std::move(taken);
  }
  const bool was_all = quick_(*update);
  const std::lock_guard lock(mutex_);
  if (was_all) return ReadNext();
  update_ = std::move(update);
  changed_.notify_all();
}

void JobFollower::EndStream() {
  over_ = true;
  changed_.notify_all();
}

}  // namespace haul::client
