// A bounded, typed, one-directional queue between threads. Full is an answer, not a wait: the
// sender decides what that means (usually: do not read more from outside until it has drained).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace haul {

template <typename Message>
class Mailbox {
 public:
  // At most `capacity` messages wait.
  explicit Mailbox(std::size_t capacity) : capacity_(capacity) {}

  // Any thread. False when full or closed; then `message` is untouched.
  bool TrySend(Message&& message) {
    {
      MutexLock lock(&mutex_);
      if (closed_ || messages_.size() >= capacity_) return false;
      messages_.push_back(std::move(message));
    }
    changed_.Signal();  // unlocked, or whoever wakes would wait for the lock first
    return true;
  }

  // Takes everything that waits, in order; empty when there is nothing.
  std::vector<Message> TakeAll() {
    MutexLock lock(&mutex_);
    return std::exchange(messages_, {});
  }

  // Likewise, but waits until there is something; empty when closed and drained.
  std::vector<Message> WaitAndTakeAll() {
    MutexLock lock(&mutex_);
    while (!closed_ && messages_.empty()) changed_.Wait(&mutex_);
    return std::exchange(messages_, {});
  }

  // Nothing more is taken in; what waits is still given out.
  void Close() {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.SignalAll();
  }

 private:
  const std::size_t capacity_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace haul
