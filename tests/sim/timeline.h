// The simulation's clock, its source of chance and its trace. Whatever happens is an action at a
// time; actions at the same time run in the order in which they were planned. The same seed gives
// the same run, and so the same hash of the trace. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <queue>
#include <random>
#include <utility>
#include <vector>

namespace haul::sim {

class Timeline {
 public:
  // `trace`, if any, gets a line for each thing that happens; it must outlive the timeline.
  Timeline(std::uint64_t seed, std::ostream* trace) : random_(seed), trace_(trace) {}

  std::int64_t now_us() const { return now_us_; }
  void After(std::int64_t delay_us, std::function<void()> action) {
    queue_.push({now_us_ + delay_us, ++planned_, std::move(action)});
  }
  // The next action; false if there is none.
  bool RunNext() {
    if (queue_.empty()) return false;
    std::function<void()> action = std::move(const_cast<Planned&>(queue_.top()).action);
    now_us_ = queue_.top().at_us;
    queue_.pop();
    ++steps_;
    action();
    return true;
  }
  std::uint64_t steps() const { return steps_; }

  // Not by <random>'s distributions, which differ between libraries.
  std::uint64_t Below(std::uint64_t limit) { return random_() % limit; }
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(Below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool Chance(std::uint64_t percent) { return Below(100) < percent; }

  void Trace(const char* what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
    for (const char* letter = what; *letter != '\0'; ++letter)
      Mix(static_cast<unsigned char>(*letter));
    for (const std::uint64_t number : {static_cast<std::uint64_t>(now_us_), a, b, c}) Mix(number);
    if (trace_ != nullptr) {
      *trace_ << now_us_ << " " << what << " " << a << " " << b << " " << c << "\n";
    }
  }
  std::uint64_t hash() const { return hash_; }

 private:
  struct Planned {
    std::int64_t at_us;
    std::uint64_t order;
    std::function<void()> action;
    bool operator<(const Planned& other) const {
      return std::pair(at_us, order) > std::pair(other.at_us, other.order);
    }
  };
  void Mix(std::uint64_t number) {
    hash_ = (hash_ ^ number) * 0x9E3779B97F4A7C15ull;
    hash_ ^= hash_ >> 29;
  }

  std::mt19937_64 random_;
  std::ostream* trace_;
  std::priority_queue<Planned> queue_;
  std::int64_t now_us_ = 0;
  std::uint64_t planned_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t hash_ = 1469598103934665603ull;
};

}  // namespace haul::sim
