// The calls of one function through an executor: an open job with a stream that extends it and one
// that follows it. Included by this room's .cc files alone; any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/extend.h"
#include "client/follow.h"
#include "haul/executor.h"

namespace haul::internal {

// Of one call: the coordinator takes no more, and would refuse with it what else is on the way.
constexpr std::size_t kMostArgumentBytes = 128 << 10;

class OpenJob final : public client::TaskFeed {
 public:
  // Throws ExecutorError where its threads cannot be started.
  OpenJob(Client& client, client::JobId job);
  OpenJob(const OpenJob&) = delete;
  OpenJob& operator=(const OpenJob&) = delete;
  ~OpenJob() override;

  client::JobId id() const { return job_; }

  // nullptr where it is closed. Waits while too much has not been sent.
  std::shared_ptr<Task> Add(std::string arguments);
  void Close();
  void Join();
  // What has not started never will. What was not even sent ends here. While the coordinator cannot
  // be reached, it is asked again.
  void Terminate();
  // Leaves the job as it is.
  void Abandon();

 private:
  bool Take(std::vector<std::string>* inputs) override;
  void OnDurable(std::uint64_t task_count) override;

  void Cancel(std::uint64_t task);
  void WakeCanceller();  // throws ExecutorError where it cannot be started
  void SayUnwanted();
  void SayTerminated();
  std::vector<client::TaskRange> TakeUnwanted();
  void Extend();
  void Follow();
  bool TakeIfSmall(client::FollowUpdate& update);
  void TakeWithLarge(client::FollowUpdate& update);
  void End(const client::Outcome& outcome, std::uint64_t task, std::string result,
           const client::Status& broken, std::vector<std::function<void()>>& to_run);
  std::shared_ptr<Task> Release(std::uint64_t index);
  void Fail(std::uint64_t from, const client::Status& why);

  Client& client_;
  const client::JobId job_;
  const std::shared_ptr<Board> board_;

  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<std::string> waiting_;  // arguments that have not been sent
  std::size_t waiting_bytes_ = 0;
  bool closed_ = false;
  bool terminated_ = false;
  std::uint64_t durable_ = 0;
  std::deque<std::shared_ptr<Task>> tasks_;  // from `released_` on; none where it has ended
  std::uint64_t released_ = 0;

  // Tasks to cancel that have not ended, and those of them that the coordinator was told of.
  std::set<std::uint64_t> unwanted_, said_unwanted_;
  bool all_unwanted_ = false;  // the whole job, which the coordinator could not be told yet
  std::condition_variable_any unwanted_changed_;

  std::stop_source abandoned_;
  client::Extender extender_;
  client::JobFollower follower_;
  std::mutex join_mutex_;
  // They connect and reconnect; in between the streams come forward without them.
  std::thread extending_, following_;
  std::jthread canceller_;  // from the first that it is needed for on
};

}  // namespace haul::internal
