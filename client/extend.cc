#include "client/extend.h"

#include <utility>

#include "common/wire/convert.h"

namespace haul::client {
namespace {

// What was sent and not answered yet is kept, to be sent again.
constexpr std::size_t kUnansweredBytes = 16 << 20;
// A message at least so often, or the job is closed after a minute.
constexpr std::chrono::seconds kKeepOpen{10};

}  // namespace

Extender::Extender(const Client::Impl& client, CallQueue& calls, JobId job, TaskFeed& feed,
                   std::stop_token stop)
    : client_(client), calls_(calls), job_(job), feed_(feed), stop_(std::move(stop)) {}

Status Extender::Run() {
  Patience patience(*client_.channel, client_.reconnect_timeout, stop_);
  while (true) {
    const grpc::Status ended = RunConnection();
    if (finished()) return Status();
    if (stop_.stop_requested()) return Stopped();
    if (std::exchange(heard_, false)) patience.OnProgress();
    Status status = client_.ToStatus(ended);
    if (status.ok()) status = Status(ErrorKind::kUnreachable, "the coordinator ended the call");
    if (!patience.TryAgain(status)) return stop_.stop_requested() ? Stopped() : status;
  }
}

bool Extender::finished() const {
  const std::lock_guard lock(mutex_);
  return last_said_ && unanswered_.empty();
}

grpc::Status Extender::RunConnection() {
  grpc::ClientContext context;
  client_.Authorize(context);
  const CancelOnStop cancel(context, stop_);
  std::unique_lock lock(mutex_);
  agreed_ = writing_ = writes_done_ = over_ = was_busy_ = false;
  resent_ = 0;
  ++in_flight_;
  stream_ = client_.jobs->AsyncExtend(&context, &calls_.queue(), &started_);
  while (!changed_.wait_for(lock, kKeepOpen, [this] { return over_ && in_flight_ == 0; })) {
    const bool was_busy = std::exchange(was_busy_, false);
    if (!was_busy && agreed_ && !writing_ && !writes_done_ && !over_) Write(v1::ExtendRequest());
  }
  AwaitedTag finished;
  grpc::Status status;
  stream_->Finish(&status, &finished);
  lock.unlock();
  finished.Await();
  lock.lock();
  stream_.reset();
  return status;
}

void Extender::Poke() {
  if (pokes_.fetch_add(1) > 0) return;  // whoever pumps sees to it
  int seen = 1;
  int left = 0;
  do {
    {
      const std::lock_guard lock(mutex_);
      Pump();
    }
    left = pokes_.fetch_sub(seen) - seen;
    seen = left;
  } while (left > 0);
}

// One write at a time; what gathers behind it is the next one.
void Extender::Pump() {
  if (!agreed_ || writing_ || writes_done_ || over_ || stop_.stop_requested()) return;
  if (resent_ == unanswered_.size()) {
    if (last_said_) {
      writes_done_ = true;
      writing_ = true;
      ++in_flight_;
      stream_->WritesDone(&written_);
      return;
    }
    if (unanswered_bytes_ >= kUnansweredBytes) return;
    std::optional<Batch> batch = NextBatch();
    if (!batch.has_value()) return;
    unanswered_bytes_ += batch->values.byte_count();
    unanswered_.push_back(*std::move(batch));
  }
  const Batch& batch = unanswered_[resent_++];
  v1::ExtendRequest request;
  request.set_first(batch.first);
  if (batch.values.count() > 0) {
    request.set_input_count(batch.values.count());
    wire::ToWire(batch.values, request.mutable_inputs());
  }
  request.set_close(batch.close);
  Write(request);
}

std::optional<Extender::Batch> Extender::NextBatch() {
  std::vector<std::string> inputs;
  Batch batch{.first = sent_, .values = {}, .close = feed_.Take(&inputs)};
  last_said_ = batch.close;
  if (inputs.empty() && !batch.close) return std::nullopt;
  for (const std::string& input : inputs) batch.values.Append(input);
  sent_ += inputs.size();
  return batch;
}

void Extender::Write(const v1::ExtendRequest& request) {
  writing_ = was_busy_ = true;
  ++in_flight_;
  stream_->Write(request, &written_);
}

void Extender::ReadNext() {
  ++in_flight_;
  stream_->Read(&reply_, &read_);
}

void Extender::OnStarted(bool ok) {
  const std::lock_guard lock(mutex_);
  --in_flight_;
  if (!ok) return EndStream();
  // The answer tells how many tasks the job has: what was sent up to there has arrived.
  v1::ExtendRequest first;
  first.set_job_id(job_.value);
  Write(first);
  ReadNext();
}

void Extender::OnWritten(bool ok) {
  {
    const std::lock_guard lock(mutex_);
    --in_flight_;
    writing_ = false;
    if (!ok || over_) return EndStream();
  }
  Poke();
}

void Extender::OnRead(bool ok) {
  std::uint64_t task_count = 0;
  {
    const std::lock_guard lock(mutex_);
    --in_flight_;
    if (!ok) return EndStream();
    task_count = reply_.task_count();
    TakeAnswer();
    ReadNext();
  }
  feed_.OnDurable(task_count);
  Poke();
}

void Extender::TakeAnswer() {
  heard_ = true;
  while (!unanswered_.empty()) {
    const Batch& batch = unanswered_.front();
    const bool is_there = batch.first + batch.values.count() <= reply_.task_count() &&
                          !(batch.close && reply_.open());
    if (!is_there) break;
    unanswered_bytes_ -= batch.values.byte_count();
    unanswered_.pop_front();
    resent_ -= resent_ > 0 ? 1 : 0;
  }
  agreed_ = true;
}

void Extender::EndStream() {
  over_ = true;
  changed_.notify_all();
}

}  // namespace haul::client
