// Descendants of tasks that left their process group or session and lost their parent: the kernel
// gives them to the worker, and here each is found, attributed to its task, and killed with it.
// What functions started cannot be told apart by task: it is attributed to its executor.
//
// Owned by the loop thread. A process just being spawned is never seen here: the kernel lists it
// under the launcher thread that spawned it, and orphans under the worker's first thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "common/ids.h"

namespace haul::exec {

// What the variables of a task say that it belongs to.
struct TaskName {
  AssignmentId assignment;
  TaskIndex task = 0;

  friend bool operator==(const TaskName&, const TaskName&) = default;
};

// `environment` is as /proc/PID/environ gives it: variables that end with a zero byte.
std::optional<TaskName> TaskOfEnvironment(const std::string& environment);

// Names an executor in its environment, hence in that of what it starts.
inline constexpr std::string_view kExecutorVariable = "HAUL_EXECUTOR=";
// The number that it gives.
std::optional<std::uint64_t> ExecutorOfEnvironment(const std::string& environment);

class Orphans {
 public:
  // `runs`: whether the task has started (or is just being started) and has not ended.
  // `is_own_child`: whether the worker itself started the process, with its first thread, as an
  // executor. `executor_runs`: whether the executor of this number has not ended.
  Orphans(std::function<bool(const TaskName&)> runs, std::function<bool(pid_t)> is_own_child,
          std::function<bool(std::uint64_t)> executor_runs);

  // Looks once: reaps what is dead, kills what outlived its task or executor. What belongs to
  // neither is killed when every task that ran when it was found has ended. Starts are numbered as
  // they happen: `next_start` is the next one's, `oldest_start` that of the oldest task that runs.
  void Scan(std::uint64_t next_start, std::uint64_t oldest_start);

  // Those that the last scan found of this task.
  std::vector<pid_t> Of(const TaskName& task) const;

  bool empty() const { return orphans_.empty(); }
  // Something was to be killed and is not known to be gone.
  bool is_killing() const { return killing_ > 0; }

 private:
  struct Orphan {
    std::optional<TaskName> task;
    std::optional<std::uint64_t> executor;
    std::uint64_t found_before_start = 0;
    bool killed = false;
    bool out_of_reach = false;
    bool seen = false;
  };

  bool ShallDie(const Orphan& orphan, std::uint64_t oldest_start) const;

  const std::function<bool(const TaskName&)> runs_;
  const std::function<bool(pid_t)> is_own_child_;
  const std::function<bool(std::uint64_t)> executor_runs_;
  absl::btree_map<pid_t, Orphan> orphans_;
  std::size_t killing_ = 0;
};

}  // namespace haul::exec
