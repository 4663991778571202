// The places of one assignment's commands, where they are started: which of those that were given
// ahead (StartCommand) may start.
//
// The core hears of ends later than they happen, and one after the other; meanwhile it gives more
// ahead behind commands that have ended already. So a place counts as vacant from an end that had
// nobody to follow until the core has been told of it, and whoever is added then starts at once.
// Plain values, not thread-safe. T stands for what is to be started.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace haul::worker {

template <typename T>
class Places {
 public:
  // Given ahead; returned where it starts now.
  std::optional<T> Add(T one) {
    if (vacant_ == 0) {
      waiting_.push_back(std::move(one));
      return std::nullopt;
    }
    --vacant_;
    ++followers_;
    return one;
  }
  // One that had a place has ended: who starts now.
  std::optional<T> OnEnd() {
    if (waiting_.empty()) {
      ++vacant_;
      return std::nullopt;
    }
    ++followers_;
    return TakeFirst();
  }
  // The core is told of an end, now: it gives that place to the first that it gave ahead, if any.
  void OnEndTold() {
    if (followers_ > 0) {
      --followers_;
    } else if (vacant_ > 0) {
      --vacant_;
    }
  }
  // The core has one place more, for the first that it gave ahead (AdvanceCommands): who starts
  // now. If that one followed an end already, the next may.
  std::optional<T> Advance() {
    if (!waiting_.empty()) return TakeFirst();
    if (followers_ > 0) {
      --followers_;
      ++vacant_;
    }
    return std::nullopt;
  }
  // All that have not started, in their order: they do no more.
  std::deque<T> Withdraw() { return std::exchange(waiting_, {}); }

  bool somebody_waits() const { return !waiting_.empty(); }
  // Nothing waits, and the core has been told of every end.
  bool empty() const { return waiting_.empty() && followers_ == 0 && vacant_ == 0; }

 private:
  T TakeFirst() {
    T first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }

  std::deque<T> waiting_;
  // Of the ends that the core has not been told of: those with a follower that has started, and
  // those without.
  std::uint64_t followers_ = 0;
  std::uint64_t vacant_ = 0;
};

}  // namespace haul::worker
