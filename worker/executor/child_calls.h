// The calls that running tasks make, and their waiting for the answers. A task that waits uses no
// cpu: it says so to the worker, and goes on when that gives it one again.
//
// Submit, Wait and End are called by the thread that runs the task, the rest by any other one.
// Bounds: kMostArgumentBytes a call, kMostCalls a task without an answer, kMostCallBytes of their
// arguments in all; what is beyond is answered with REFUSED. And `waiting_limit` tasks that wait:
// one more is told BUSY, and its call goes on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "haul/v1/executor.pb.h"
#include "worker/executor/outbox.h"

namespace haul::executor {

class ChildCalls {
 public:
  static constexpr std::uint64_t kMostCalls = 10'000;
  // Of one call: frames are bounded. A coordinator takes far less.
  static constexpr std::size_t kMostArgumentBytes = 4u << 20;
  static constexpr std::size_t kMostCallBytes = 64u << 20;

  struct Answer {
    std::int32_t status = 0;  // HAUL_ANSWER_RESULT, ...
    std::string data;
  };

  // The outbox must outlive it.
  ChildCalls(Outbox* outbox, std::uint32_t waiting_limit)
      : outbox_(*outbox), waiting_limit_(waiting_limit) {}

  // The call's number. Waits while the worker does not read.
  std::uint64_t Submit(AssignmentId assignment, TaskIndex task, std::string_view function,
                       std::string_view signature, std::string_view arguments);
  // Takes the answer. `stop_requested` is asked again after every Wake.
  Answer Wait(AssignmentId assignment, TaskIndex task, std::uint64_t number,
              const std::function<bool()>& stop_requested);
  // The task has ended: what is still said of its calls is dropped.
  void End(AssignmentId assignment, TaskIndex task);

  void OnAnswer(v1::ChildAnswer answer);
  void OnResumed(AssignmentId assignment, TaskIndex task);
  // Some tasks are asked to stop.
  void Wake();

 private:
  struct Call {
    std::size_t argument_bytes = 0;
    std::optional<Answer> answer;
  };
  struct Caller {
    absl::btree_map<std::uint64_t, Call> calls;  // whose answers were not taken
    std::uint64_t last_number = 0;
    std::uint64_t unanswered = 0;
    std::uint64_t waits_for = 0;  // a call's number; 0: the worker need not be told of an answer
    bool resumed = false;
    CondVar changed;
  };
  using Key = std::pair<AssignmentId, TaskIndex>;

  Outbox& outbox_;
  const std::uint32_t waiting_limit_;
  Mutex mutex_;
  absl::btree_map<Key, std::shared_ptr<Caller>> callers_ ABSL_GUARDED_BY(mutex_);
  std::size_t unanswered_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint32_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace haul::executor
