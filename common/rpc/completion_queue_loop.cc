#include "common/rpc/completion_queue_loop.h"

#include <grpc/support/time.h>

namespace haul::rpc {
namespace {

// How many completions one turn takes, so that time passes and effects leave in between.
constexpr int kMaxPerPoll = 256;

}  // namespace

void CompletionQueueLoop::WakeTag::Done(bool) {
  // From here on a new wake sets the alarm anew; what was sent before this is looked at in this
  // turn.
  loop_.waking_.store(false, std::memory_order_release);
}

void CompletionQueueLoop::Wake() {
  if (waking_.exchange(true, std::memory_order_acq_rel)) return;
  alarm_.Set(&queue_, gpr_time_0(GPR_CLOCK_MONOTONIC), &wake_tag_);
}

bool CompletionQueueLoop::Poll(std::int64_t deadline_monotonic_us) {
  // std::chrono's steady clock and gRPC's monotonic one are both CLOCK_MONOTONIC.
  gpr_timespec deadline = gpr_time_from_micros(deadline_monotonic_us, GPR_CLOCK_MONOTONIC);
  for (int taken = 0; taken < kMaxPerPoll; ++taken) {
    void* tag = nullptr;
    bool ok = false;
    switch (queue_.AsyncNext(&tag, &ok, deadline)) {
      case grpc::CompletionQueue::SHUTDOWN:
        return false;
      case grpc::CompletionQueue::TIMEOUT:
        return true;
      case grpc::CompletionQueue::GOT_EVENT:
        static_cast<Tag*>(tag)->Done(ok);
        break;
    }
    deadline = gpr_time_0(GPR_CLOCK_MONOTONIC);
  }
  return true;
}

}  // namespace haul::rpc
