// What the calls of Client share: the channel, the stubs, the token, and how gRPC's errors become
// kinds. Included by this room's .cc files alone. Any thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "client/call_queue.h"
#include "haul/client.h"
#include "haul/v1/cluster.grpc.pb.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::client {

// Cancels a call when `stop` is requested; lives no longer than its context.
class CancelOnStop {
 public:
  CancelOnStop(grpc::ClientContext& context, const std::stop_token& stop)
      : callback_(stop, [&context] { context.TryCancel(); }) {}

 private:
  std::stop_callback<std::function<void()>> callback_;
};

inline Status Stopped() { return {ErrorKind::kStopped, "stopped"}; }

struct Client::Impl {
  std::string address;
  std::string token;
  std::chrono::milliseconds reconnect_timeout{};
  std::stop_token stop;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Jobs::Stub> jobs;
  std::unique_ptr<v1::Cluster::Stub> cluster;
  CallQueue calls;

  void Authorize(grpc::ClientContext& context) const {
    context.AddMetadata("authorization", "Bearer " + token);
  }
  Status ToStatus(const grpc::Status& status) const;
  Result<JobStatus> Cancel(v1::CancelJobRequest& request, const std::stop_token& unwanted) const;
  // As many calls at once, each of which comes back with its status.
  struct CancelCall;
  std::vector<std::unique_ptr<CancelCall>> CancelTogether(const std::vector<JobId>& some) const;

  // One call with one reply, within a minute; `unwanted` stops this one alone.
  template <typename Stub, typename Request, typename Reply>
  Status Call(Stub& stub,
              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
              const Request& request, Reply* reply, const std::stop_token& unwanted = {}) const {
    grpc::ClientContext context;
    Authorize(context);
    const CancelOnStop cancel(context, stop);
    const CancelOnStop cancel_this(context, unwanted);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    const grpc::Status status = (stub.*method)(&context, request, reply);
    return stop.stop_requested() || unwanted.stop_requested() ? Stopped() : ToStatus(status);
  }
};

// Asks again after failures that time may cure, with growing pauses, until a limit has passed since
// the last success.
class Patience {
 public:
  Patience(grpc::Channel& channel, std::chrono::milliseconds limit, std::stop_token stop)
      : channel_(channel), limit_(limit), stop_(std::move(stop)) {}

  void OnProgress() {
    pause_ = kFirstPause;
    lost_since_.reset();
  }
  // Whether to try again after `why`; pauses before it says yes.
  bool TryAgain(const Status& why) {
    if (why.kind() != ErrorKind::kUnreachable || stop_.stop_requested()) return false;
    const auto now = std::chrono::steady_clock::now();
    if (!lost_since_.has_value()) lost_since_ = now;
    if (now + pause_ - *lost_since_ > limit_) return false;
    Pause();
    pause_ = std::min(pause_ * 2, kLongestPause);
    return !stop_.stop_requested();
  }
  // Within one loss: true only for its first failure.
  bool first_failure() const { return !lost_since_.has_value(); }

 private:
  static constexpr std::chrono::milliseconds kFirstPause{50};
  static constexpr std::chrono::milliseconds kLongestPause{1000};

  // Ends early when there is a connection again. While no call waits, gRPC looks at its sockets
  // every 5 s alone, unless somebody waits for the connection itself.
  void Pause() {
    const auto end = std::chrono::system_clock::now() + pause_;
    if (channel_.GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY) {
      while (!stop_.stop_requested() && std::chrono::system_clock::now() < end) {
        const auto slice = std::chrono::system_clock::now() + kFirstPause;
        if (channel_.WaitForConnected(std::min(slice, end))) return;
      }
      return;
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop_, pause_, [] { return false; });
  }

  grpc::Channel& channel_;
  const std::chrono::milliseconds limit_;
  const std::stop_token stop_;
  std::chrono::milliseconds pause_ = kFirstPause;
  std::optional<std::chrono::steady_clock::time_point> lost_since_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
};

// Of this process, for people.
std::string UserName();

}  // namespace haul::client
