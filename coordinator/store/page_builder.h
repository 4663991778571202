// One page of outcomes as a reader fills it, within the limits of its query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "coordinator/store/store.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {

class PageBuilder {
 public:
  explicit PageBuilder(const OutcomeQuery& query) : query_(query) {
    page_.next_cursor = query.cursor;
  }

  // Before each outcome that is there, wanted or not. False: the page ends before it.
  bool MayLook() {
    if (looked_at_ == query_.row_limit) {
      page_.complete = false;
      return false;
    }
    ++looked_at_;
    return true;
  }
  bool Wants(TaskRange tasks, TaskStatus status) const {
    return Touches(tasks, query_.only) &&
           !(query_.unsuccessful_only && status == TaskStatus::kSucceeded);
  }
  // False: the page is full, and ends before it.
  bool Add(std::uint64_t sequence, Outcome outcome) {
    const std::size_t more = ByteCount(outcome);
    if (!page_.entries.empty() && bytes_ + more > query_.byte_limit) {
      page_.complete = false;
      return false;
    }
    bytes_ += more;
    page_.entries.push_back({sequence, std::move(outcome)});
    return true;
  }
  // Behind what was looked at.
  void MoveCursor(std::uint64_t cursor) { page_.next_cursor = cursor; }

  OutcomePage Finish() && { return std::move(page_); }

 private:
  const OutcomeQuery& query_;
  OutcomePage page_;
  std::size_t bytes_ = 0;
  std::size_t looked_at_ = 0;
};

}  // namespace haul::coordinator
