#include "coordinator/loop/recent_outcomes.h"

#include <algorithm>
#include <utility>

namespace haul::coordinator {

void RecentOutcomes::Keep(JobId job, RecordSequence last_decided) {
  const auto [it, is_new] = jobs_.try_emplace(job);
  if (is_new) it->second.since = last_decided;
  ++it->second.readers;
}

void RecentOutcomes::Release(JobId job) {
  const auto it = jobs_.find(job);
  if (--it->second.readers > 0) return;
  while (!it->second.entries.empty()) DropFirst(it->second);
  jobs_.erase(it);
}

void RecentOutcomes::Add(JobId job, OutcomePage::Entry entry) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return;
  Kept& kept = it->second;
  // As the store gives it back.
  if (entry.outcome.results.byte_count() == 0) entry.outcome.results = {};
  bytes_ += ByteCount(entry.outcome);
  kept.bytes += ByteCount(entry.outcome);
  kept.entries.push_back(std::move(entry));
  // Whoever is so far behind reads pages of the store. Of the job that has the most: others shall
  // not pay for a follower who does not read.
  while (bytes_ > byte_limit_) {
    const auto most = std::max_element(
        jobs_.begin(), jobs_.end(),
        [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
    DropFirst(most->second);
  }
}

bool RecentOutcomes::BeginsWithin(JobId job, RecordSequence committed) const {
  const auto it = jobs_.find(job);
  return it != jobs_.end() && it->second.since <= committed;
}

std::optional<OutcomePage> RecentOutcomes::Read(JobId job, std::uint64_t cursor,
                                                std::size_t byte_limit) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return std::nullopt;
  Kept& kept = it->second;
  const bool takes = kept.readers == 1;
  while (takes && !kept.entries.empty() && kept.entries.front().sequence <= cursor) {
    DropFirst(kept);
  }
  if (kept.dropped_through > cursor) return std::nullopt;
  OutcomePage page{.entries = {}, .next_cursor = cursor};
  auto next = std::upper_bound(
      kept.entries.begin(), kept.entries.end(), cursor,
      [](std::uint64_t at, const OutcomePage::Entry& entry) { return at < entry.sequence; });
  const auto first = next;
  std::size_t bytes = 0;
  for (; next != kept.entries.end(); ++next) {
    const std::size_t more = ByteCount(next->outcome);
    if (next != first && bytes + more > byte_limit) {
      page.complete = false;
      break;
    }
    bytes += more;
    page.next_cursor = next->sequence;
    if (takes) {
      page.entries.push_back(std::move(*next));
    } else {
      page.entries.push_back(*next);
    }
  }
  if (takes && next != kept.entries.begin()) {
    bytes_ -= bytes;
    kept.bytes -= bytes;
    kept.dropped_through = page.next_cursor;
    kept.entries.erase(kept.entries.begin(), next);
  }
  return page;
}

void RecentOutcomes::DropFirst(Kept& kept) {
  const OutcomePage::Entry& first = kept.entries.front();
  bytes_ -= ByteCount(first.outcome);
  kept.bytes -= ByteCount(first.outcome);
  kept.dropped_through = first.sequence;
  kept.entries.pop_front();
}

}  // namespace haul::coordinator
