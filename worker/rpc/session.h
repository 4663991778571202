// The worker's session with its coordinator: connects, says hello, keeps the heartbeat, notices
// silence, and connects again with backoff and jitter. Also the uploads: a few at once, and again
// after a lost connection.
//
// Lives on the loop thread; the reactor must outlive it. What the coordinator refuses for good
// (UNAUTHENTICATED, PERMISSION_DENIED, FAILED_PRECONDITION) is told to the listener and ends it.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <string>

#include "absl/container/btree_map.h"
#include "worker/exec/reactor.h"
#include "worker/loop/session_port.h"
#include "worker/rpc/link.h"

namespace haul::worker {

struct SessionOptions {
  std::string address;
  std::string token;
  std::int64_t backoff_min_us = 100'000;
  std::int64_t backoff_max_us = 2'000'000;
  // What the lease is taken for before Welcome has said it; half of a lease of silence is borne.
  std::int64_t first_lease_us = 15'000'000;
  std::int64_t close_limit_us = 2'000'000;  // how long Close() may take
};

class Session final : public SessionPort {
 public:
  static constexpr std::size_t kUploadsAtOnce = 2;

  Session(exec::Reactor& reactor, const SessionOptions& options);
  ~Session() override;

  void Start(SessionListener* listener) override;
  bool Writable() override;
  void Send(v1::WorkerMessage message) override;
  void Upload(UploadJob job) override;
  void CancelUpload(std::uint64_t id) override;
  void Close() override;

 private:
  enum class Phase : std::uint8_t {
    kIdle,        // before Start, and when it is over
    kBackingOff,  // no stream; one opens when the timer is due
    kConnecting,  // a stream without Welcome
    kWelcome,
  };

  void OnNews();
  void OnMessage(v1::CoordinatorMessage message);
  void OnStreamClosed(const absl::Status& status);
  void OnUploadEnd(const Link::UploadEnd& end);
  void Connect();
  void BackOff();
  void Heartbeat();
  void WatchSilence();
  void StartUploads();
  void Over();

  exec::Reactor& reactor_;
  const SessionOptions options_;
  Link link_;
  const std::uint64_t wake_handler_;
  SessionListener* listener_ = nullptr;

  Phase phase_ = Phase::kIdle;
  bool closing_ = false;
  std::int64_t lease_us_;
  std::int64_t heartbeat_us_ = 0;
  std::int64_t last_heard_us_ = 0;
  std::int64_t backoff_us_ = 0;
  std::uint64_t complaints_ = 0;  // about not being connected, since it last was
  std::minstd_rand jitter_;
  exec::TimerId connect_timer_;
  exec::TimerId heartbeat_timer_;
  exec::TimerId silence_timer_;
  exec::TimerId close_timer_;

  std::deque<std::uint64_t> waiting_uploads_;
  std::size_t running_uploads_ = 0;
  // The loop bounds them: core's uploading_limit.
  struct UploadState {
    UploadJob job;
    bool running = false;
    bool cancelled = false;
    exec::TimerId retry_timer;
  };
  absl::btree_map<std::uint64_t, UploadState> uploads_;
};

}  // namespace haul::worker
