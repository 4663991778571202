#include "coordinator/core/ready_jobs.h"

#include <algorithm>

#include "common/check.h"

namespace haul::coordinator {

void ReadyJobs::Put(JobId job, const JobSpec& spec, Place& place, std::uint64_t virtual_us,
                    const std::optional<ServeOrder>& order, bool apart) {
  if (place.virtual_us != virtual_us) {
    if (place.virtual_us) RemoveUse({spec.priority, *place.virtual_us, job});
    by_use_.insert({spec.priority, virtual_us, job});
    ++clocks_[spec.priority].ready_jobs;
    place.virtual_us = virtual_us;
  }
  if (place.order == order && place.apart == apart) return;
  if (place.order) Dequeue(spec, *place.order, place.apart);
  if (order) Enqueue(spec, *order, apart);
  place.order = order;
  place.apart = apart;
}

void ReadyJobs::Remove(JobId job, const JobSpec& spec, Place& place) {
  if (place.virtual_us) RemoveUse({spec.priority, *place.virtual_us, job});
  if (place.order) Dequeue(spec, *place.order, place.apart);
  place = {};
}

void ReadyJobs::RemoveUse(const Use& use) {
  by_use_.erase(use);
  --clocks_.at(use.priority).ready_jobs;
}

void ReadyJobs::Used(std::int32_t priority, std::uint64_t used_us) {
  Clock& clock = clocks_[priority];
  clock.virtual_ns += used_us * 1000 / std::max<std::uint64_t>(1, clock.ready_jobs);
}

std::uint64_t ReadyJobs::StartOf(std::int32_t priority, JobId newcomer) const {
  const auto clock = clocks_.find(priority);
  const std::uint64_t now_us = clock == clocks_.end() ? 0 : clock->second.virtual_ns / 1000;
  auto least = by_use_.lower_bound({priority, 0, JobId()});
  if (least != by_use_.end() && least->job == newcomer) ++least;
  if (least == by_use_.end() || least->priority != priority) return now_us;
  return std::max(least->virtual_us, now_us);
}

void ReadyJobs::Enqueue(const JobSpec& spec, const ServeOrder& order, bool apart) {
  (apart ? apart_ : queues_[WorkShape::Of(spec)]).insert(order);
  ++queued_;
}

void ReadyJobs::Dequeue(const JobSpec& spec, const ServeOrder& order, bool apart) {
  --queued_;
  if (apart) {
    apart_.erase(order);
    return;
  }
  const auto queue = queues_.find(WorkShape::Of(spec));
  HAUL_CHECK(queue != queues_.end());
  queue->second.erase(order);
  if (queue->second.empty()) queues_.erase(queue);
}

}  // namespace haul::coordinator
