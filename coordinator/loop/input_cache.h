// Inputs that were submitted a moment ago, so that they need not be read back to be sent to a
// worker. Bounded in bytes; the oldest chunks go first. Loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "common/ids.h"
#include "common/packed_bytes.h"

namespace haul::coordinator {

class InputCache {
 public:
  explicit InputCache(std::size_t byte_limit) : byte_limit_(byte_limit) {}

  void Add(InputSetId set, TaskIndex first, PackedBytes values);
  // The values of `tasks`, if all of them are here.
  std::optional<PackedBytes> Find(InputSetId set, TaskRange tasks) const;
  void Drop(InputSetId set);

 private:
  using Key = std::pair<InputSetId, TaskIndex>;

  struct Chunk {
    PackedBytes values;
    std::uint64_t number = 0;  // in the order in which they came
  };
  using Chunks = std::map<Key, Chunk>;

  Chunks::iterator Erase(Chunks::iterator chunk);

  const std::size_t byte_limit_;
  std::size_t bytes_ = 0;
  Chunks chunks_;
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, Key> oldest_first_;  // by number, as many as there are chunks
};

}  // namespace haul::coordinator
