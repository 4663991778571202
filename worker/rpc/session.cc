#include "worker/rpc/session.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/time.h"
#include "spdlog/spdlog.h"

namespace haul::worker {
namespace {

std::int64_t NowUs() { return ReadClocks().monotonic_us; }

// Trying again would not help.
bool IsRefusal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) ||
         absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnimplemented(status);
}

// An upload that ended so is started again.
bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) || absl::IsAborted(status) ||
         absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
         absl::IsInternal(status) || absl::IsUnknown(status);
}

}  // namespace

Session::Session(exec::Reactor& reactor, const SessionOptions& options)
    : reactor_(reactor),
      options_(options),
      link_(options.address, options.token, [&reactor] { reactor.Wake(); }),
      wake_handler_(reactor.AddWakeHandler([this] { OnNews(); })),
      lease_us_(options.first_lease_us),
      jitter_(std::random_device{}()) {}

Session::~Session() {
  Over();
  reactor_.RemoveWakeHandler(wake_handler_);
  for (const auto& [id, upload] : uploads_) reactor_.CancelTimer(upload.retry_timer);
}

void Session::Start(SessionListener* listener) {
  HAUL_CHECK(phase_ == Phase::kIdle && listener_ == nullptr);
  listener_ = listener;
  // From a turn of the reactor, as everything that the listener is told.
  phase_ = Phase::kBackingOff;
  connect_timer_ = reactor_.AddTimer(0, [this] { Connect(); });
}

bool Session::Writable() { return phase_ == Phase::kWelcome && !closing_ && link_.CanSend(); }

void Session::Send(v1::WorkerMessage message) { link_.Send(std::move(message)); }

void Session::Connect() {
  phase_ = Phase::kConnecting;
  last_heard_us_ = NowUs();
  v1::WorkerMessage message;
  listener_->OnConnecting(message.mutable_hello());
  link_.Open(message);
  WatchSilence();
}

void Session::BackOff() {
  phase_ = Phase::kBackingOff;
  // A pause that outlasts the lease would be the worker's end, however short the lease is.
  const std::int64_t most_us = std::min(options_.backoff_max_us, lease_us_ / 4);
  backoff_us_ = std::min(backoff_us_ == 0 ? options_.backoff_min_us : 2 * backoff_us_, most_us);
  // Between half of it and all of it, so that workers do not come back all at once.
  const std::int64_t half = backoff_us_ / 2;
  const std::int64_t wait_us = half + std::uniform_int_distribution<std::int64_t>(
                                          0, std::max<std::int64_t>(half, 1))(jitter_);
  connect_timer_ = reactor_.AddTimer(NowUs() + wait_us, [this] { Connect(); });
}

void Session::OnNews() {
  Link::News news = link_.Take();
  if (phase_ == Phase::kIdle) return;
  for (v1::CoordinatorMessage& message : news.messages) {
    OnMessage(std::move(message));
    if (phase_ == Phase::kIdle) return;
  }
  for (const Link::UploadEnd& end : news.uploads) OnUploadEnd(end);
  if (news.writable && phase_ == Phase::kWelcome && !closing_) listener_->OnWritable();
  if (news.closed) OnStreamClosed(*news.closed);
}

void Session::OnMessage(v1::CoordinatorMessage message) {
  if (phase_ != Phase::kConnecting && phase_ != Phase::kWelcome) return;
  last_heard_us_ = NowUs();
  if (phase_ == Phase::kConnecting) {
    if (!message.has_welcome()) {
      spdlog::warn("the coordinator at {} did not begin with a welcome", options_.address);
      return link_.Cancel();
    }
    phase_ = Phase::kWelcome;
    backoff_us_ = 0;
    complaints_ = 0;
    lease_us_ = std::max<std::int64_t>(static_cast<std::int64_t>(std::min<std::uint64_t>(
                                           message.welcome().lease_ms(), 86'400'000)),
                                       1) *
                1000;
    heartbeat_us_ = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(message.welcome().heartbeat_interval_ms()) * 1000, 10'000,
        lease_us_);
    spdlog::info("connected to {} as worker {}", options_.address, message.welcome().worker_id());
    reactor_.CancelTimer(silence_timer_);
    WatchSilence();
    Heartbeat();
    StartUploads();
  }
  if (!closing_) listener_->OnMessage(std::move(message));
}

void Session::OnStreamClosed(const absl::Status& status) {
  const bool was_welcome = phase_ == Phase::kWelcome;
  reactor_.CancelTimer(heartbeat_timer_);
  reactor_.CancelTimer(silence_timer_);
  if (closing_) {
    Over();
    return listener_->OnClosed();
  }
  if (IsRefusal(status)) {
    Over();
    return listener_->OnRefused(status);
  }
  if (was_welcome || complaints_++ % 16 == 0) {
    spdlog::warn("no connection to the coordinator at {}: {}; trying again", options_.address,
                 status.ok() ? "it closed the stream" : std::string(status.message()));
  }
  BackOff();
  if (was_welcome) listener_->OnDisconnected();
}

void Session::Heartbeat() {
  link_.SendHeartbeat();
  heartbeat_timer_ = reactor_.AddTimer(NowUs() + heartbeat_us_, [this] { Heartbeat(); });
}

// Answers to two heartbeats are missing: the connection may be dead without either end being told.
// Half the lease is left to come back by another one; a worker that waited for all of it would find
// itself expired.
void Session::WatchSilence() {
  const std::int64_t limit_us = lease_us_ / 2;
  const std::int64_t end_us = last_heard_us_ + limit_us;
  if (NowUs() >= end_us) {
    spdlog::warn("the coordinator at {} has been silent for {} ms: trying another connection",
                 options_.address, limit_us / 1000);
    return link_.Abandon();
  }
  silence_timer_ = reactor_.AddTimer(end_us, [this] { WatchSilence(); });
}

void Session::Upload(UploadJob job) {
  const std::uint64_t id = job.id;
  waiting_uploads_.push_back(id);
  uploads_.emplace(id, UploadState{.job = std::move(job)});
  StartUploads();
}

void Session::StartUploads() {
  while (phase_ == Phase::kWelcome && running_uploads_ < kUploadsAtOnce &&
         !waiting_uploads_.empty()) {
    const auto it = uploads_.find(waiting_uploads_.front());
    waiting_uploads_.pop_front();
    if (it == uploads_.end()) continue;
    it->second.running = true;
    ++running_uploads_;
    link_.StartUpload(it->second.job);
  }
}

void Session::CancelUpload(std::uint64_t id) {
  const auto it = uploads_.find(id);
  if (it == uploads_.end()) return;
  if (!it->second.running) {
    uploads_.erase(it);
    return;
  }
  it->second.cancelled = true;
  link_.CancelUpload(id);
}

void Session::OnUploadEnd(const Link::UploadEnd& end) {
  --running_uploads_;
  const auto it = uploads_.find(end.id);
  HAUL_CHECK(it != uploads_.end());
  const bool cancelled = it->second.cancelled;
  if (!cancelled && IsTransient(end.status)) {
    it->second.running = false;
    spdlog::warn("an upload of job {} was interrupted: {}", it->second.job.job_id,
                 std::string(end.status.message()));
    // Not at once: what is in the way (a full disk, a coordinator that starts) may last.
    it->second.retry_timer =
        reactor_.AddTimer(NowUs() + options_.backoff_max_us, [this, id = end.id] {
          if (!uploads_.contains(id)) return;
          waiting_uploads_.push_back(id);
          StartUploads();
        });
    return StartUploads();
  }
  uploads_.erase(it);
  if (!cancelled) {
    if (end.status.ok()) {
      listener_->OnUploaded(end.id, end.file);
    } else {
      listener_->OnUploaded(end.id, end.status);
    }
  }
  StartUploads();
}

void Session::Close() {
  if (closing_) return;
  closing_ = true;
  if (phase_ == Phase::kWelcome) {
    link_.FinishSending();
    close_timer_ = reactor_.AddTimer(NowUs() + options_.close_limit_us, [this] { link_.Cancel(); });
    return;
  }
  // The listener is told from a turn, not from within this call.
  Over();
  close_timer_ = reactor_.AddTimer(0, [this] { listener_->OnClosed(); });
}

void Session::Over() {
  phase_ = Phase::kIdle;
  reactor_.CancelTimer(connect_timer_);
  reactor_.CancelTimer(heartbeat_timer_);
  reactor_.CancelTimer(silence_timer_);
  reactor_.CancelTimer(close_timer_);
}

}  // namespace haul::worker
