#include "coordinator/core/ready_jobs.h"

#include "common/check.h"

namespace haul::coordinator {

void ReadyJobs::Put(JobId job, const JobSpec& spec, Place& place, std::uint64_t virtual_us,
                    const std::optional<ServeOrder>& order, bool apart) {
  if (place.virtual_us != virtual_us) {
    if (place.virtual_us) by_use_.erase({spec.priority, *place.virtual_us, job});
    by_use_.insert({spec.priority, virtual_us, job});
    place.virtual_us = virtual_us;
  }
  if (place.order == order && place.apart == apart) return;
  if (place.order) Dequeue(spec, *place.order, place.apart);
  if (order) Enqueue(spec, *order, apart);
  place.order = order;
  place.apart = apart;
}

void ReadyJobs::Remove(JobId job, const JobSpec& spec, Place& place) {
  if (place.virtual_us) by_use_.erase({spec.priority, *place.virtual_us, job});
  if (place.order) Dequeue(spec, *place.order, place.apart);
  place = {};
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
