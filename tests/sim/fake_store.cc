#include "tests/sim/fake_store.h"

#include <utility>

namespace haul::sim {

void FakeStore::Append(const coordinator::DurableRecord& record,
                       coordinator::RecordSequence sequence) {
  waiting_.push_back(record);
  waiting_through_ = sequence;
  if (planned_ || !in_flight_.empty()) return;
  // The rest of the turn goes into the same transaction: a commit never holds half a step.
  planned_ = true;
  timeline_.After(0, [this, generation = generation_] {
    if (generation == generation_) StartCommit();
  });
}

void FakeStore::StartCommit() {
  planned_ = false;
  in_flight_ = std::exchange(waiting_, {});
  in_flight_through_ = waiting_through_;
  const bool slow = timeline_.now_us() < slow_until_us_;
  const std::int64_t delay_us =
      slow ? timeline_.Between(100'000, 800'000) : timeline_.Between(500, 20'000);
  timeline_.After(delay_us, [this, generation = generation_] {
    if (generation != generation_) return;
    Write();
    timeline_.Trace("committed", disk_.size());
    const coordinator::RecordSequence through = in_flight_through_;
    if (!waiting_.empty()) StartCommit();
    on_commit_(through);
  });
}

void FakeStore::Write() {
  for (const coordinator::DurableRecord& record : in_flight_) {
    disk_.push_back(record);
    on_disk_(record);
  }
  in_flight_.clear();
}

void FakeStore::Kill() {
  if (timeline_.Chance(50)) Write();
  ++generation_;
  planned_ = false;
  in_flight_.clear();
  waiting_.clear();
}

}  // namespace haul::sim
