#include "worker/executor/outbox.h"

#include <utility>

#include "common/wire/convert.h"
#include "worker/executor/batch.h"

namespace haul::executor {
namespace {

// A frame is closed when it holds this much.
constexpr std::size_t kFrameBytes = 4u << 20;

}  // namespace

void Outbox::AddOutcomes(AssignmentId assignment, std::vector<Outcome> outcomes, bool mergeable) {
  MutexLock lock(&mutex_);
  while (!HasRoom()) written_.Wait(&mutex_);
  Add(assignment, std::move(outcomes), mergeable);
  WritePending();
}

void Outbox::AddOutcomesWithoutWaiting(AssignmentId assignment, std::vector<Outcome> outcomes,
                                       bool mergeable) {
  MutexLock lock(&mutex_);
  Add(assignment, std::move(outcomes), mergeable);
  WritePending();
}

void Outbox::AddReclaimed(AssignmentId assignment, TaskRange tasks) {
  MutexLock lock(&mutex_);
  pending_[assignment].reclaimed.push_back(tasks);
  WritePending();
}

void Outbox::WaitUntilWritten() {
  MutexLock lock(&mutex_);
  while (!AllWritten()) written_.Wait(&mutex_);
}

void Outbox::Add(AssignmentId assignment, std::vector<Outcome> outcomes, bool mergeable) {
  Pending& pending = pending_[assignment];
  for (Outcome& outcome : outcomes) {
    unsent_bytes_ += ByteCount(outcome);
    MergeInto(pending.outcomes, std::move(outcome), mergeable);
  }
}

void Outbox::WritePending() {
  if (writing_) return;
  writing_ = true;
  while (!pending_.empty()) {
    PendingMap pending = std::exchange(pending_, {});
    const std::size_t bytes = unsent_bytes_;
    mutex_.Unlock();
    WriteFrames(std::move(pending));
    mutex_.Lock();
    unsent_bytes_ -= bytes;
    written_.SignalAll();
  }
  writing_ = false;
  written_.SignalAll();
}

void Outbox::WriteFrames(PendingMap&& pending) const {
  v1::FromExecutor frame;
  std::size_t bytes = 0;
  for (auto& [assignment, of_assignment] : pending) {
    v1::ExecutorOutcomes* group = nullptr;
    for (Outcome& outcome : of_assignment.outcomes) {
      if (bytes > kFrameBytes) {
        write_(frame);
        frame.Clear();
        bytes = 0;
        group = nullptr;
      }
      if (group == nullptr) {
        group = frame.add_outcomes();
        group->set_assignment_id(assignment.value());
      }
      bytes += ByteCount(outcome);
      wire::ToWire(outcome, group->add_outcomes());
      outcome = Outcome();
    }
    for (const TaskRange& range : of_assignment.reclaimed) {
      v1::Reclaimed* reclaimed = frame.add_reclaimed();
      reclaimed->set_assignment_id(assignment.value());
      reclaimed->set_first(range.first);
      reclaimed->set_count(range.count);
    }
  }
  write_(frame);
}

}  // namespace haul::executor
