// The gRPC completion queue, polled by the thread that owns what its handlers touch (ADR 0001):
// handlers need no lock.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <atomic>
#include <cstdint>

namespace haul::rpc {

// What the queue gives back. One of the two runs on the polling thread, once for each operation
// started with it.
class Tag {
 public:
  virtual ~Tag() = default;
  virtual void Done(bool ok) = 0;
  // Instead, while a queue that was shut down is emptied: nothing may be started on it any more, so
  // what would have happened next does not.
  virtual void Dropped() {}
};

class CompletionQueueLoop {
 public:
  // `queue` outlives this.
  explicit CompletionQueueLoop(grpc::CompletionQueue& queue) : queue_(queue) {}

  // Runs what is there, up to a bound, after waiting for the first until the deadline. False when
  // the queue was shut down and is empty.
  bool Poll(std::int64_t deadline_monotonic_us);
  // Any thread: Poll returns soon. Costs little while a wake is under way already.
  void Wake();

 private:
  class WakeTag final : public Tag {
   public:
    explicit WakeTag(CompletionQueueLoop& loop) : loop_(loop) {}
    void Done(bool ok) override;

   private:
    CompletionQueueLoop& loop_;
  };

  grpc::CompletionQueue& queue_;
  grpc::Alarm alarm_;
  std::atomic<bool> waking_ = false;
  WakeTag wake_tag_{*this};
};

}  // namespace haul::rpc
