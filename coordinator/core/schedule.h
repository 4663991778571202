// Scheduling policy: free functions over the state that decide and change nothing.
//
// Priority first. Within a priority, jobs that tasks submitted come before those of their parents,
// which wait for them; then the job with the least reserved cpus is served first, ties by
// the cpu time used so far (weighted fair sharing by virtual time, as in start-time fair queueing:
// P. Goyal, H. Vin, H. Cheng, SIGCOMM 1996). How long an assignment is follows guided
// self-scheduling (C. Polychronopoulos, D. Kuck, IEEE Trans. Computers C-36(12), 1987), bounded by
// a target of work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/time.h"
#include "coordinator/core/state.h"

namespace haul::coordinator {

struct ScheduleOptions {
  // How much work waits at a worker beyond what it runs.
  std::int64_t backlog_target_ms = 50;
  std::uint64_t max_backlog_tasks = 4'000'000;      // of one lane
  std::uint64_t max_backlog_input_bytes = 4 << 20;  // likewise, beyond what runs
  std::uint64_t max_assignment_tasks = 1'000'000;
  std::uint64_t max_assignment_input_bytes = 1 << 20;
  // A job of which nothing was measured gets this part of the target on trust, by what its function
  // took in other jobs; what of it has not started comes back if nothing has ended so soon.
  std::uint64_t trusted_part = 10;
  std::int64_t trust_ms = 50;
  // A backlog worth less than this is not asked back for an idle worker.
  std::int64_t revoke_above_ms = 10;
  // A request that fits nowhere gets a worker reserved for it after this long.
  std::int64_t reserve_after_ms = 500;
};

// Give up to `count` ready tasks of the job to the worker, where `width` of them may run at once.
struct Feed {
  WorkerId worker;
  JobId job;
  bool alone = false;
  std::uint32_t width = 1;
  std::uint64_t count = 0;
  bool on_trust = false;
};
// Ask for up to `count` tasks of the assignment's end that have not started.
struct AskBack {
  AssignmentId id;
  std::uint64_t count = 0;
};
struct Plan {
  std::vector<JobBlocked> blocked;  // changes only
  std::vector<Feed> feeds;
  std::vector<AskBack> ask_back;
};
Plan Schedule(const State& state, const ScheduleOptions& options, Now now);

// How many tasks of a job may wait at a worker beyond the `width` that run.
std::uint64_t BacklogTarget(const State& state, const Job& job, std::uint32_t width,
                            const ScheduleOptions& options);

// Whether this worker could run tasks of this job if it were idle.
bool IsEligible(const Worker& worker, const Job& job);

// Why ready tasks of this job do not run, for people; empty where they do or there are none.
std::string WaitingReason(const State& state, const Job& job);

}  // namespace haul::coordinator
