// The jobs that want more, in the order in which one scheduling pass serves them. It looks only at
// as many as it is asked for: of jobs that are alike (WorkShape) the first stands for the rest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/container/btree_map.h"
#include "coordinator/core/state.h"

namespace haul::coordinator {

// A job that wants more, with what this pass has already promised it.
struct Candidate {
  const Job* job = nullptr;
  std::uint64_t ready = 0;
  std::uint64_t ready_alone = 0;
  std::uint64_t running = 0;
  std::size_t queue = 0;  // of the line's

  explicit Candidate(const Job& of, std::size_t in_queue = 0)
      : job(&of),
        ready(of.ready.size()),
        ready_alone(of.ready_alone.size()),
        running(of.running_width),
        queue(in_queue) {}

  std::uint32_t cpus_milli() const { return job->facts.spec.cpus_milli; }
  std::uint32_t depth() const { return job->facts.spec.depth; }
  std::uint64_t reserved() const { return running * cpus_milli(); }
  // How many more may run at once, by what there is and by --max-running.
  std::uint64_t Wants() const { return std::min(ready + ready_alone, job->MayRunBeside(running)); }
  ServeOrder Order() const { return job->OrderWith(running); }
};

class ServeLine {
 public:
  explicit ServeLine(const State& state);

  // The first in line, which leaves it; nullptr when there is none. It stays where it is.
  Candidate* Next();
  // So many are left in it.
  std::uint64_t size() const { return size_; }
  // The one that Next gave got something; it stands in line again if it wants more.
  void PutBack(Candidate& candidate);
  // There is no room for the one that Next gave, and so for none of its shape.
  void Drop(const Candidate& candidate);

  // Whether somebody who wants more, and could run at `worker`, should have what `mine` holds.
  bool IsOutranked(const Job& mine, const Worker& worker) const;

 private:
  struct Queue {
    const ServeQueue* jobs = nullptr;
    ServeQueue::const_iterator next;  // those before it were looked at
    std::uint64_t in_line = 0;
    bool is_dropped = false;
  };
  struct Turn {
    std::size_t queue = 0;
    Candidate* candidate = nullptr;  // none: the queue's next
  };
  void Add(const ServeQueue& jobs);
  void Advance(std::size_t queue);

  static constexpr std::size_t kApart = 0;  // the queue of those that are not alike
  const State& state_;
  std::vector<Queue> queues_;
  std::map<JobId, Candidate> seen_;
  absl::btree_map<ServeOrder, Turn> line_;
  std::uint64_t size_ = 0;
};

}  // namespace haul::coordinator
