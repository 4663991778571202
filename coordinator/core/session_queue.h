// What is to be sent to one worker, in the order in which it was decided. Something leaves when the
// record that it rests on is durable and the inputs that it carries are at hand, and not before
// what is ahead of it. But nobody waits for acknowledgements, so
// - an assignment overtakes those that wait for a commit which it does not need;
// - while there is nothing else, they wait a little for something to leave with, and become one.
// Pure: commits and the time are given. Owned by the loop thread (or by a test, or by the
// simulator).
//
// Bound: at most two acknowledgements stand in a row. The rest is one of each kind for each
// assignment that the worker has, which its backlog bounds, and what users asked of the worker.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/packed_bytes.h"
#include "coordinator/core/effects.h"

namespace haul::coordinator {

class SessionQueue {
 public:
  // How long acknowledgements wait for something to leave with.
  static constexpr std::int64_t kCompanyUs = 5'000;

  struct Item {
    Effect effect;
    // What an assignment carries; while it is not ready, InputsRead is still to come.
    bool inputs_ready = true;
    PackedBytes inputs;
    std::shared_ptr<const std::string> job_template;
  };
  struct Look {
    std::vector<Item> leaving;
    // When to look again although nothing was added or committed: what is there only waits for
    // something to leave with.
    std::optional<std::int64_t> again_at_us;
  };

  void Add(Item item, RecordSequence committed);
  void InputsRead(AssignmentId assignment, PackedBytes inputs);
  Look Take(RecordSequence committed, std::int64_t now_us);
  bool empty() const { return items_.empty(); }

 private:
  bool Merge(const Effect& effect);
  std::optional<std::int64_t> WaitForCompany(std::int64_t now_us);

  std::deque<Item> items_;
  // Of the first acknowledgement, from when there was nothing else.
  std::optional<std::int64_t> acknowledge_at_us_;
};

}  // namespace haul::coordinator
