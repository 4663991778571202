#include "coordinator/loop/side_thread.h"

#include <utility>
#include <vector>

#include "common/check.h"

namespace haul::coordinator {

SideThread::SideThread(std::function<void()> wake)
    : wake_(std::move(wake)), thread_([this] { Main(); }) {}

SideThread::~SideThread() {
  work_.Close();
  thread_.join();
}

void SideThread::Main() {
  for (;;) {
    std::vector<Work> batch = work_.WaitAndTakeAll();
    if (batch.empty()) return;
    for (Work& work : batch) {
      // At most kCapacity pieces have not come back, so there is always room.
      const bool sent = done_.TrySend(work());
      HAUL_CHECK(sent);
      wake_();
    }
  }
}

bool SideThread::TryRun(Work work) {
  if (pending_ >= kCapacity || !work_.TrySend(std::move(work))) return false;
  ++pending_;
  return true;
}

bool SideThread::RunContinuations() {
  std::vector<Continuation> due = done_.TakeAll();
  pending_ -= due.size();
  for (Continuation& continuation : due) {
    if (continuation) continuation();
  }
  return !due.empty();
}

}  // namespace haul::coordinator
