// Drives a core through a story: sends it events, takes the expected effects in their order, and
// fails on any that nobody expected. Invariants are checked after every step.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <utility>

#include "worker/core/core.h"

namespace haul::worker {

class Recorder {
 public:
  explicit Recorder(const CoreOptions& options) : core(options) {}
  ~Recorder() { ExpectNoMore(); }

  void Send(const Event& event) {
    ExpectNoMore();
    for (Effect& effect : core.Step(event, now)) effects_.push_back(std::move(effect));
    core.CheckInvariants();
  }

  // The next effect, which must be a T.
  template <typename T>
  T Take() {
    if (effects_.empty()) {
      ADD_FAILURE() << "expected an effect, there is none";
      return T{};
    }
    Effect effect = std::move(effects_.front());
    effects_.pop_front();
    if (!std::holds_alternative<T>(effect)) {
      ADD_FAILURE() << "expected another effect than the one of index " << effect.index();
      return T{};
    }
    return std::get<T>(std::move(effect));
  }

  void ExpectNoMore() {
    for (const Effect& effect : effects_) {
      ADD_FAILURE() << "unexpected effect of index " << effect.index();
    }
    effects_.clear();
  }

  Core core;
  Now now{.monotonic_us = 1'000'000, .unix_us = 1'700'000'000'000'000};

 private:
  std::deque<Effect> effects_;
};

}  // namespace haul::worker
