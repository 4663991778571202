// What is to be sent to one worker, in the order in which it was decided: an effect leaves when the
// record it rests on is durable and the inputs it carries are at hand, and never before the one
// ahead of it; but an assignment overtakes an acknowledgement that waits longer. Loop thread.
#pragma once

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

  // Whether there is but an acknowledgement, to leave with what comes next.
  bool may_wait() const {
    return items.size() == 1 && !acknowledges_now &&
           std::holds_alternative<SendDurable>(items.front().effect.what);
  }

  SessionId id;
  SessionPort* port = nullptr;
  std::deque<Item> items;
  std::uint64_t last_number = 0;
  bool acknowledges_soon = false;  // a timer is set
  bool acknowledges_now = false;   // an acknowledgement has waited long enough for company
};

}  // namespace haul::coordinator
