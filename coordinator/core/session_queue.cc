#include "coordinator/core/session_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "common/planted_bug.h"

namespace haul::coordinator {
namespace {

bool IsAcknowledgement(const SessionQueue::Item& item) {
  return std::holds_alternative<SendDurable>(item.effect.what);
}

}  // namespace

void SessionQueue::Add(Item item, RecordSequence committed) {
  if (Merge(item.effect)) return;
  // What still waits is for a worker that is one no longer, or that will tell anew what it has.
  if (std::holds_alternative<CloseSession>(item.effect.what)) items_.clear();
  auto place = items_.end();
  if (std::holds_alternative<SendAssignment>(item.effect.what)) {
    // What is committed is not overtaken, or inputs that are still read could hold it up for ever.
    const RecordSequence least = std::max(item.effect.rests_on, committed);
    while (place != items_.begin() && IsAcknowledgement(*std::prev(place)) &&
           std::prev(place)->effect.rests_on > least) {
      --place;
    }
  }
  items_.insert(place, std::move(item));
}

// The first that waits keeps the commit it waits for: were it to wait for each later one, it would
// never leave while batches come faster than commits. Those behind it are one.
bool SessionQueue::Merge(const Effect& effect) {
  const auto* now = std::get_if<SendDurable>(&effect.what);
  if (now == nullptr || items_.empty() || !IsAcknowledgement(items_.back())) return false;
  const bool is_second = items_.size() > 1 && IsAcknowledgement(*std::prev(items_.end(), 2));
  Effect& last = items_.back().effect;
  if (!is_second && last.rests_on != effect.rests_on) return false;
  auto& through = std::get<SendDurable>(last.what).through;
  through = std::max(through, now->through);
  if (Planted(PlantedBug::kAcknowledgedPastCommit)) return true;
  last.rests_on = std::max(last.rests_on, effect.rests_on);
  return true;
}

void SessionQueue::InputsRead(AssignmentId assignment, PackedBytes inputs) {
  for (Item& item : items_) {
    const auto* send = std::get_if<SendAssignment>(&item.effect.what);
    if (send == nullptr || send->id != assignment) continue;
    item.inputs = std::move(inputs);
    item.inputs_ready = true;
    return;
  }
}

SessionQueue::Look SessionQueue::Take(RecordSequence committed, std::int64_t now_us) {
  Look look{.again_at_us = WaitForCompany(now_us)};
  if (look.again_at_us) return look;
  while (!items_.empty() && items_.front().inputs_ready &&
         items_.front().effect.rests_on <= committed) {
    if (IsAcknowledgement(items_.front())) acknowledge_at_us_.reset();
    look.leaving.push_back(std::move(items_.front()));
    items_.pop_front();
  }
  look.again_at_us = WaitForCompany(now_us);
  return look;
}

// Until when; none where there is something else, or they have waited enough.
std::optional<std::int64_t> SessionQueue::WaitForCompany(std::int64_t now_us) {
  if (items_.empty() || !std::all_of(items_.begin(), items_.end(), IsAcknowledgement)) return {};
  if (!acknowledge_at_us_) acknowledge_at_us_ = now_us + kCompanyUs;
  if (now_us >= *acknowledge_at_us_) return {};
  return acknowledge_at_us_;
}

}  // namespace haul::coordinator
