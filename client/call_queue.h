// The thread on which the calls of executors come forward: one for a client, however many streams
// it has. A thread that waits in each of them would be woken for the others' messages.
#pragma once

#include <grpcpp/completion_queue.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "common/rpc/completion_queue_loop.h"

namespace haul::client {

class CallQueue {
 public:
  CallQueue() = default;
  // All operations on it have come back.
  ~CallQueue();
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  // Before queue() is used; more than once does nothing. Any thread. Throws std::system_error where
  // the thread cannot be started.
  void Start();
  // Its tags are rpc::Tags; they run on the thread. Any thread.
  grpc::CompletionQueue& queue() { return queue_; }

 private:
  void Run();

  grpc::CompletionQueue queue_;
  std::mutex mutex_;
  std::thread thread_;
};

// A tag that runs a function; one operation with it at a time.
class CallTag final : public rpc::Tag {
 public:
  explicit CallTag(std::function<void(bool ok)> done) : done_(std::move(done)) {}
  void Done(bool ok) override { done_(ok); }

 private:
  const std::function<void(bool)> done_;
};

// A tag that somebody waits for, once.
class AwaitedTag final : public rpc::Tag {
 public:
  void Done(bool ok) override {
    const std::lock_guard lock(mutex_);
    ok_ = ok;
    done_ = true;
    changed_.notify_all();  // under the lock: whoever waits may destroy this at once
  }
  bool Await() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return ok_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  bool ok_ = false;
};

}  // namespace haul::client
