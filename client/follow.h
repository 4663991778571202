// Following a job over as many connections as it takes. Included by this room's .cc files alone.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "client/call_queue.h"
#include "client/impl.h"

namespace haul::client {

// What is asked for, and from where on after what was delivered.
class FollowCursor {
 public:
  FollowCursor(const JobRef& job, const FollowOptions& options);
  const v1::FollowRequest& request() const { return request_; }
  Result<FollowUpdate> Take(v1::FollowReply&& reply);

 private:
  v1::FollowRequest request_;
};

// Follows a job to its end; updates come on the thread of the client's calls.
class JobFollower {
 public:
  // Whether that was all of the update. If not, it is given to `on_rest` on the thread of Run, and
  // nothing more is read before that returns.
  using Quick = std::function<bool(FollowUpdate& update)>;
  using Rest = std::function<void(FollowUpdate& update)>;

  // What is named outlives it.
  JobFollower(const Client::Impl& client, CallQueue& calls, JobId job, Quick quick, Rest rest,
              std::stop_token stop);

  // Until everything was delivered.
  Status Run();
  // Runs `fn` on the thread of Run, before that returns. From `quick`.
  void RunLater(std::function<void()> fn);

 private:
  grpc::Status RunConnection();
  void OnStarted(bool ok);
  void OnRead(bool ok);
  void ReadNext();
  void EndStream();
  // Releases the lock while it runs what waits.
  void RunWhatWaits(std::unique_lock<std::mutex>& lock);

  const Client::Impl& client_;
  CallQueue& calls_;
  const Quick quick_;
  const Rest rest_;
  const std::stop_token stop_;
  FollowCursor cursor_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<grpc::ClientAsyncReader<v1::FollowReply>> reader_;
  v1::FollowReply reply_;
  std::optional<FollowUpdate> update_;  // waits for `rest_`
  std::deque<std::function<void()>> later_;
  grpc::Status error_;  // of what was read
  bool over_ = false;
  bool heard_ = false;
  CallTag started_{[this](bool ok) { OnStarted(ok); }};
  CallTag read_{[this](bool ok) { OnRead(ok); }};
};

}  // namespace haul::client
