// Outcomes that were committed a moment ago, for those who follow their jobs and have read all that
// came before: they need not be read back. Bounded in bytes: what does not fit is read from the
// store. Loop thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "common/ids.h"
#include "coordinator/core/effects.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

class RecentOutcomes {
 public:
  explicit RecentOutcomes(std::size_t byte_limit) : byte_limit_(byte_limit) {}

  // From now on the outcomes of `job` are kept, for one reader more; `last_decided` is the last
  // record so far.
  void Keep(JobId job, RecordSequence last_decided);
  // For one reader less.
  void Release(JobId job);
  bool Keeps(JobId job) const { return jobs_.contains(job); }

  // What was committed, in that order.
  void Add(JobId job, OutcomePage::Entry entry);

  // Whether one who now finds nothing more in the store has all that came before what is kept.
  bool BeginsWithin(JobId job, RecordSequence committed) const;
  // As StoreReader::ReadOutcomes, in order of completion, of a kept job. Nothing where some of it
  // is not here any more. A single reader takes them away.
  std::optional<OutcomePage> Read(JobId job, std::uint64_t cursor, std::size_t byte_limit);

 private:
  struct Kept {
    int readers = 0;
    RecordSequence since = 0;
    std::uint64_t dropped_through = 0;  // up to this sequence they are not here any more
    std::size_t bytes = 0;              // of entries
    std::deque<OutcomePage::Entry> entries;
  };

  void DropFirst(Kept& kept);

  const std::size_t byte_limit_;
  std::size_t bytes_ = 0;
  std::map<JobId, Kept> jobs_;
};

}  // namespace haul::coordinator
