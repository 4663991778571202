// What is to be sent to one worker, in the order in which it was decided: an effect leaves when the
// record it rests on is durable and the inputs it carries are at hand, and never before the one
// ahead of it; but an assignment overtakes an acknowledgement that waits longer. Loop thread.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <variant>

#include "common/packed_bytes.h"
#include "coordinator/core/effects.h"
#include "coordinator/loop/ports.h"

namespace haul::coordinator {

struct SessionQueue {
  struct Item {
    std::uint64_t number = 0;
    Effect effect;
    bool inputs_ready = true;
    PackedBytes inputs;
    std::shared_ptr<const std::string> job_template;
  };

  static bool IsAcknowledgement(const Item& item) {
    return std::holds_alternative<SendDurable>(item.effect.what);
  }
  // Whether there are but acknowledgements, to leave with what comes next. Then a timer is set.
  bool may_wait() const {
    return !items.empty() && !acknowledges_now &&
           std::all_of(items.begin(), items.end(), IsAcknowledgement);
  }

  SessionId id;
  SessionPort* port = nullptr;
  std::deque<Item> items;
  std::uint64_t last_number = 0;
  bool acknowledges_soon = false;  // a timer is set
  bool acknowledges_now = false;   // an acknowledgement has waited long enough for company
};

}  // namespace haul::coordinator
