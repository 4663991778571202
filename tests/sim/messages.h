// What a worker and its coordinator say to each other (proto/haul/v1/session.proto) as the cores'
// values, bundled as on the wire: the receiver takes the fields in this order, however they were
// said. And how the tasks of a job behave.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/ids.h"
#include "coordinator/core/effects.h"
#include "coordinator/core/events.h"

namespace haul::sim {

using ProcessId = Id<struct WorkerProcessKind>;  // of one worker process, for ever

struct WorkerMessage {
  std::optional<coordinator::WorkerConnected> hello;
  std::vector<coordinator::TasksFinished> outcomes;
  std::vector<coordinator::TasksHandedBack> handed_back;
  std::vector<coordinator::BlockedReported> blocked;
  bool heartbeat = false;
  bool draining = false;
  bool goodbye = false;
};

struct CoordinatorMessage {
  std::optional<coordinator::SendWelcome> welcome;
  std::vector<coordinator::SendAssignment> assignments;
  std::vector<coordinator::SendRevoke> revokes;
  std::vector<coordinator::SendCancel> cancels;
  std::uint64_t durable_through = 0;
  bool heartbeat = false;
  std::optional<coordinator::SendDrain> drain;
  bool stop = false;
  bool depart = false;
};

struct JobTraits {
  coordinator::JobSpec spec;
  std::int64_t min_us = 1'000;
  std::int64_t max_us = 10'000;
  std::int64_t timeout_us = 0;  // 0: none
  std::uint64_t fail_percent = 0;
  std::uint64_t crash_percent = 0;  // of functions: they take their executor down
  std::uint64_t large_percent = 0;  // their output goes by an upload of its own
  std::uint64_t final_count = 0;    // of an open job: how many tasks it gets in all
  bool is_abandoned = false;        // whoever extends it is gone before it is closed
  bool own_process = false;         // of functions
  std::uint32_t tasks_per_process = 0;
  std::uint64_t call_percent = 0;  // of functions: they submit a job and wait for it
  std::string not_at;              // the worker without its directory

  bool is_function() const { return spec.kind == coordinator::WorkKind::kFunction; }
};

}  // namespace haul::sim
