// Identifiers. Each kind is a type of its own, so that arguments cannot be swapped by accident.
// Plain values: any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <ostream>

namespace haul {

template <typename Kind>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::uint64_t value) : value_(value) {}
  constexpr std::uint64_t value() const { return value_; }
  constexpr bool is_none() const { return value_ == 0; }
  friend constexpr auto operator<=>(Id, Id) = default;
  friend std::ostream& operator<<(std::ostream& out, Id id) { return out << id.value_; }
  template <typename H>
  friend H AbslHashValue(H state, Id id) {
    return H::combine(std::move(state), id.value_);
  }

 private:
  std::uint64_t value_ = 0;  // 0 names nothing
};

using JobId = Id<struct JobKind>;
using WorkerId = Id<struct WorkerKind>;
// A connection of a worker to this coordinator process; not durable.
using SessionId = Id<struct SessionKind>;
// Inputs on their way into a job, and then that job's.
using InputSetId = Id<struct InputSetKind>;

// Names an assignment for ever and is the fencing token of its tasks: the coordinator's epoch, then
// a counter. Both only rise, so a later assignment has a greater id.
class AssignmentId : public Id<struct AssignmentKind> {
 public:
  static constexpr int kCounterBits = 40;

  constexpr AssignmentId() = default;
  constexpr explicit AssignmentId(std::uint64_t value) : Id(value) {}
  constexpr AssignmentId(std::uint64_t epoch, std::uint64_t counter)
      : Id((epoch << kCounterBits) | counter) {}
  constexpr std::uint64_t epoch() const { return value() >> kCounterBits; }
};

// The position of a task within its job, from 0.
using TaskIndex = std::uint64_t;

// The tasks [first, first + count).
struct TaskRange {
  TaskIndex first = 0;
  std::uint64_t count = 0;

  constexpr TaskIndex end() const { return first + count; }
  friend constexpr bool operator==(const TaskRange&, const TaskRange&) = default;
};

inline std::ostream& operator<<(std::ostream& out, const TaskRange& range) {
  return out << "[" << range.first << ", " << range.end() << ")";
}

}  // namespace haul
