// Client::Extend: what an open job gets, over as many connections as it takes.
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "client/impl.h"
#include "common/packed_bytes.h"
#include "common/wire/convert.h"

namespace haul::client {
namespace {

// What was sent and not answered yet is kept, to be sent again.
constexpr std::size_t kUnansweredBytes = 16 << 20;
// A message at least so often, or the job is closed after a minute.
constexpr std::chrono::milliseconds kKeepOpen{10'000};

struct Batch {
  std::uint64_t first = 0;
  PackedBytes values;
  bool close = false;
};

class Extender {
 public:
  Extender(JobId job, TaskFeed& feed, std::stop_token stop)
      : job_(job), feed_(feed), stop_(std::move(stop)) {}

  using Stream = grpc::ClientReaderWriter<v1::ExtendRequest, v1::ExtendReply>;

  // One connection, to its end.
  grpc::Status Run(Stream& stream, Patience& patience) {
    if (!ComeToTerms(stream)) return stream.Finish();
    patience.OnProgress();
    std::jthread reader([this, &stream] { ReadAnswers(stream); });
    const bool resent = Resend(stream);
    while (resent && !WaitForRoom() && !last_said_ && !stop_.stop_requested()) {
      if (!Send(stream, NextBatch())) break;
    }
    stream.WritesDone();
    reader.join();
    return stream.Finish();
  }

  bool finished() const {
    const std::lock_guard lock(mutex_);
    return last_said_ && unanswered_.empty();
  }

 private:
  // Learns how many tasks the job has: what was sent up to there has arrived.
  bool ComeToTerms(Stream& stream) {
    {
      const std::lock_guard lock(mutex_);
      stream_is_over_ = false;
    }
    v1::ExtendRequest request;
    request.set_job_id(job_.value);
    v1::ExtendReply reply;
    if (!stream.Write(request) || !stream.Read(&reply)) return false;
    Answered(reply);
    return true;
  }

  void Answered(const v1::ExtendReply& reply) {
    {
      const std::lock_guard lock(mutex_);
      while (!unanswered_.empty()) {
        const Batch& batch = unanswered_.front();
        const bool is_there = batch.first + batch.values.count() <= reply.task_count() &&
                              !(batch.close && reply.open());
        if (!is_there) break;
        unanswered_bytes_ -= batch.values.byte_count();
        unanswered_.pop_front();
      }
    }
    changed_.notify_all();
    feed_.OnDurable(reply.task_count());
  }

  void ReadAnswers(Stream& stream) {
    for (v1::ExtendReply reply; stream.Read(&reply);) Answered(reply);
    {
      const std::lock_guard lock(mutex_);
      stream_is_over_ = true;
    }
    changed_.notify_all();
  }

  // Whether the stream is over instead.
  bool WaitForRoom() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
      return stream_is_over_ || unanswered_bytes_ < kUnansweredBytes || stop_.stop_requested();
    });
    return stream_is_over_;
  }

  Batch NextBatch() {
    std::vector<std::string> inputs;
    Batch batch{.first = sent_, .values = {}, .close = false};
    batch.close = feed_.Next(kKeepOpen, &inputs) == TaskFeed::Said::kLast;
    for (const std::string& input : inputs) batch.values.Append(input);
    sent_ += inputs.size();
    last_said_ = batch.close;
    if (batch.close || !inputs.empty()) {
      const std::lock_guard lock(mutex_);
      unanswered_.push_back(batch);
      unanswered_bytes_ += batch.values.byte_count();
    }
    return batch;
  }

  bool Resend(Stream& stream) {
    std::deque<Batch> again;
    {
      const std::lock_guard lock(mutex_);
      again = unanswered_;
    }
    return std::all_of(again.begin(), again.end(),
                       [&](const Batch& batch) { return Send(stream, batch); });
  }

  static bool Send(Stream& stream, const Batch& batch) {
    v1::ExtendRequest request;
    request.set_first(batch.values.count() == 0 && !batch.close ? 0 : batch.first);
    if (batch.values.count() > 0) {
      request.set_input_count(batch.values.count());
      wire::ToWire(batch.values, request.mutable_inputs());
    }
    request.set_close(batch.close);
    return stream.Write(request);
  }

  const JobId job_;
  TaskFeed& feed_;
  const std::stop_token stop_;
  // Of the thread that calls Run.
  std::uint64_t sent_ = 0;
  bool last_said_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> unanswered_;
  std::size_t unanswered_bytes_ = 0;
  bool stream_is_over_ = false;
};

}  // namespace

Status Client::Extend(JobId job, TaskFeed& feed, std::stop_token stop) {
  Extender extender(job, feed, stop);
  Patience patience(*impl_->channel, impl_->reconnect_timeout, stop);
  while (true) {
    grpc::Status ended;
    {
      grpc::ClientContext context;
      impl_->Authorize(context);
      const CancelOnStop cancel(context, stop);
      const auto stream = impl_->jobs->Extend(&context);
      ended = extender.Run(*stream, patience);
    }
    if (extender.finished()) return Status();
    if (stop.stop_requested()) return Stopped();
    Status status = impl_->ToStatus(ended);
    if (status.ok()) status = Status(ErrorKind::kUnreachable, "the coordinator ended the call");
    if (!patience.TryAgain(status)) return stop.stop_requested() ? Stopped() : status;
  }
}

}  // namespace haul::client
