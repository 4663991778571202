// What an executor was asked to run, and what of it a thread has taken.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "absl/container/btree_map.h"
#include "common/ids.h"
#include "common/packed_bytes.h"
#include "worker/executor/batch.h"
#include "worker/executor/library.h"

namespace haul::executor {

// Where the arguments of consecutive tasks come from. Never changes once made.
struct Inputs {
  TaskIndex first = 0;  // has the first of `packed`
  PackedBytes packed;
  bool is_array = false;  // then instead: task i has start + i * step
  std::int64_t array_start = 0;
  std::int64_t array_step = 0;
};

// Tasks that nobody has taken.
struct Segment {
  TaskRange tasks;
  std::shared_ptr<const Inputs> inputs;
};

// Guarded by the pool's mutex, except where it says otherwise.
struct Assignment {
  // Never change once it is known.
  AssignmentId id;
  JobId job;
  const ServedFunction* function = nullptr;
  std::uint64_t sequence = 0;  // a greater one is younger

  // Of the whole assignment, as the last run said.
  std::int32_t priority = 0;
  std::uint32_t width = 0;
  bool detail = false;
  std::int64_t timeout_us = 0;

  std::deque<Segment> pending;
  std::uint64_t pending_count = 0;
  absl::btree_map<TaskIndex, std::uint32_t> attempts;  // of pending tasks beyond their first
  std::uint32_t seats = 0;                             // threads that run a chunk of it

  std::uint64_t chunk_tasks = 1;  // how many a thread takes at once
  std::uint64_t task_ns = 0;      // measured in the last chunk
  std::uint64_t drained = 0;      // when nothing was left last, counted

  // Any thread: everything is asked to stop, and nothing more starts.
  std::atomic<bool> stopped{false};

  bool claimable() const { return pending_count > 0 && seats < width; }
  bool live() const { return pending_count > 0 || seats > 0; }
};

// Consecutive tasks that one thread has taken.
struct Chunk {
  std::shared_ptr<Assignment> assignment;
  TaskRange tasks;
  std::shared_ptr<const Inputs> inputs;
  ReportStyle style;
  std::int64_t timeout_us = 0;
};

}  // namespace haul::executor
