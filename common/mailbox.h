// A bounded, typed, one-directional queue between threads. Full is an answer, not a wait: the sender
// decides what that means (usually: do not read more from outside until it has drained).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace haul {

template <typename Message>
class Mailbox {
 public:
  // At most `capacity` messages wait.
  explicit Mailbox(std::size_t capacity) : capacity_(capacity) {}

  // Any thread. False when full or closed; then `message` is untouched.
  bool TrySend(Message&& message) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || messages_.size() >= capacity_) return false;
    messages_.push_back(std::move(message));
    return true;
  }

  // Takes everything that waits, in order; empty when there is nothing.
  std::vector<Message> TakeAll() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(messages_, {});
  }

  // Likewise, but waits until there is something; empty when closed and drained.
  std::vector<Message> WaitAndTakeAll() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](Mailbox* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
          return self->closed_ || !self->messages_.empty();
        },
        this));
    return std::exchange(messages_, {});
  }

  // Nothing more is taken in; what waits is still given out.
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

 private:
  const std::size_t capacity_;
  absl::Mutex mutex_;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace haul
