// A disk that commits late, and keeps only what was committed when the coordinator is killed. A
// commit in flight at that moment came through or not, as a whole. One thread.
#pragma once

#include <functional>
#include <vector>

#include "coordinator/core/effects.h"
#include "coordinator/core/records.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

class FakeStore {
 public:
  // `on_disk` is called for each record when it becomes durable, `on_commit` with the sequence up
  // to which the coordinator then knows them to be. Both must outlive the store.
  FakeStore(Timeline& timeline, std::function<void(const coordinator::DurableRecord&)> on_disk,
            std::function<void(coordinator::RecordSequence)> on_commit)
      : timeline_(timeline), on_disk_(std::move(on_disk)), on_commit_(std::move(on_commit)) {}

  void Append(const coordinator::DurableRecord& record, coordinator::RecordSequence sequence);
  void Kill();
  // So long, each commit takes much longer than usual.
  void Slow(std::int64_t duration_us) { slow_until_us_ = timeline_.now_us() + duration_us; }
  const std::vector<coordinator::DurableRecord>& disk() const { return disk_; }

 private:
  void StartCommit();
  void Write();

  Timeline& timeline_;
  const std::function<void(const coordinator::DurableRecord&)> on_disk_;
  const std::function<void(coordinator::RecordSequence)> on_commit_;
  std::vector<coordinator::DurableRecord> disk_;
  std::vector<coordinator::DurableRecord> waiting_;
  std::vector<coordinator::DurableRecord> in_flight_;
  coordinator::RecordSequence waiting_through_ = 0;
  coordinator::RecordSequence in_flight_through_ = 0;
  bool planned_ = false;
  std::int64_t slow_until_us_ = 0;
  std::uint64_t generation_ = 0;  // of the coordinator: a killed one hears nothing
};

}  // namespace haul::sim
