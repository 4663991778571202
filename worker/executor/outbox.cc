#include "worker/executor/outbox.h"

#include <utility>

#include "common/merge_outcomes.h"
#include "common/wire/convert.h"

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
  pending_.by_assignment[assignment].reclaimed.push_back(tasks);
  WritePending();
}

void Outbox::AddCall(v1::ChildCall call) {
  MutexLock lock(&mutex_);
  while (!HasRoom()) written_.Wait(&mutex_);
  unsent_bytes_ += call.ByteSizeLong();
  *pending_.of_tasks.add_calls() = std::move(call);
  WritePending();
}

void Outbox::AddWaiting(AssignmentId assignment, TaskIndex task) {
  MutexLock lock(&mutex_);
  v1::TaskRef& waiting = *pending_.of_tasks.add_waiting();
  waiting.set_assignment_id(assignment.value());
  waiting.set_task(task);
  WritePending();
}

void Outbox::AddResumable(AssignmentId assignment, TaskIndex task) {
  MutexLock lock(&mutex_);
  v1::TaskRef& resumable = *pending_.of_tasks.add_resumable();
  resumable.set_assignment_id(assignment.value());
  resumable.set_task(task);
  WritePending();
}

void Outbox::WaitUntilWritten() {
  MutexLock lock(&mutex_);
  while (!AllWritten()) written_.Wait(&mutex_);
}

void Outbox::Add(AssignmentId assignment, std::vector<Outcome> outcomes, bool mergeable) {
  Pending& pending = pending_.by_assignment[assignment];
  for (Outcome& outcome : outcomes) {
    unsent_bytes_ += ByteCount(outcome);
    MergeInto(pending.outcomes, std::move(outcome), mergeable);
  }
}

void Outbox::WritePending() {
  pending_.has_any = true;
  if (writing_) return;
  writing_ = true;
  while (pending_.has_any) {
    PendingFrames pending = std::exchange(pending_, {});
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

void Outbox::WriteFrames(PendingFrames&& pending) const {
  v1::FromExecutor frame;
  std::size_t bytes = 0;
  for (auto& [assignment, of_assignment] : pending.by_assignment) {
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
      wire::ToWire(std::move(outcome), group->add_outcomes());
      outcome = Outcome();
    }
    for (const TaskRange& range : of_assignment.reclaimed) {
      v1::Reclaimed* reclaimed = frame.add_reclaimed();
      reclaimed->set_assignment_id(assignment.value());
      reclaimed->set_first(range.first);
      reclaimed->set_count(range.count);
    }
  }
  // At most kUnsentLimit of calls.
  frame.MergeFrom(pending.of_tasks);
  write_(frame);
}

}  // namespace haul::executor
