#include "coordinator/core/serve_line.h"

#include <algorithm>
#include <utility>

#include "coordinator/core/schedule.h"

namespace haul::coordinator {
namespace {

// Whether `other` should have what `mine` holds: it comes first, or has less and is behind.
bool Outranks(const Candidate& other, const Job& mine) {
  if (other.job->id == mine.id) return false;
  const std::int32_t priority = mine.facts.spec.priority;
  if (other.job->facts.spec.priority != priority) {
    return other.job->facts.spec.priority > priority;
  }
  if (other.depth() != mine.facts.spec.depth) return other.depth() > mine.facts.spec.depth;
  const std::uint64_t would_have = other.reserved() + other.cpus_milli();
  return would_have < mine.reserved_milli() ||
         (would_have == mine.reserved_milli() && other.job->virtual_us < mine.virtual_us);
}

}  // namespace

ServeLine::ServeLine(const State& state) : state_(state) {
  const ReadyJobs& ready = state.ready_jobs();
  queues_.reserve(ready.queues().size() + 1);
  Add(ready.apart());
  for (const auto& [shape, jobs] : ready.queues()) Add(jobs);
}

void ServeLine::Add(const ServeQueue& jobs) {
  queues_.push_back({.jobs = &jobs, .next = jobs.begin(), .in_line = jobs.size()});
  size_ += jobs.size();
  Advance(queues_.size() - 1);
}

void ServeLine::Advance(std::size_t queue) {
  const Queue& of = queues_[queue];
  if (of.next != of.jobs->end()) line_.emplace(*of.next, Turn{.queue = queue});
}

Candidate* ServeLine::Next() {
  while (!line_.empty()) {
    const Turn turn = line_.begin()->second;
    line_.erase(line_.begin());
    Queue& queue = queues_[turn.queue];
    if (queue.is_dropped) continue;
    --queue.in_line;
    --size_;
    if (turn.candidate != nullptr) return turn.candidate;
    const JobId id = (queue.next++)->job;
    Advance(turn.queue);
    return &seen_.emplace(id, Candidate(*state_.FindJob(id), turn.queue)).first->second;
  }
  return nullptr;
}

void ServeLine::PutBack(Candidate& candidate) {
  if (candidate.Wants() == 0) return;
  line_.emplace(candidate.Order(), Turn{.queue = candidate.queue, .candidate = &candidate});
  ++queues_[candidate.queue].in_line;
  ++size_;
}

void ServeLine::Drop(const Candidate& candidate) {
  if (candidate.queue == kApart) return;
  Queue& queue = queues_[candidate.queue];
  queue.is_dropped = true;
  size_ -= std::exchange(queue.in_line, 0);
}

bool ServeLine::IsOutranked(const Job& mine, const Worker& worker) const {
  const auto outranks = [&](const Candidate& other) {
    return other.Wants() > 0 && Outranks(other, mine) && IsEligible(worker, *other.job);
  };
  if (std::any_of(seen_.begin(), seen_.end(),
                  [&](const auto& entry) { return outranks(entry.second); })) {
    return true;
  }
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const Queue& queue = queues_[i];
    for (auto next = queue.next; next != queue.jobs->end(); ++next) {
      if (outranks(Candidate(*state_.FindJob(next->job)))) return true;
      // Those behind it in line are behind it here too, unless it is the job itself.
      if (i != kApart && next->job != mine.id) break;
    }
  }
  return false;
}

}  // namespace haul::coordinator
