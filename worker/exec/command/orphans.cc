#include "worker/exec/command/orphans.h"

#include <signal.h>
#include <sys/wait.h>

#include <charconv>
#include <string_view>
#include <utility>

#include "worker/exec/process_tree.h"

namespace haul::exec {
namespace {

// An environment may be as large as the kernel lets it; a task's own variables stand at its end.
constexpr std::size_t kMostEnvironmentBytes = std::size_t{8} << 20;

std::optional<std::uint64_t> NumberOf(std::string_view environment, std::string_view assignment) {
  std::size_t at = 0;
  for (;; ++at) {
    at = environment.find(assignment, at);
    if (at == std::string_view::npos) return std::nullopt;
    if (at == 0 || environment[at - 1] == '\0') break;
  }
  const std::string_view text = environment.substr(at + assignment.size());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() + text.size() || *end != '\0') return std::nullopt;
  return value;
}

}  // namespace

std::optional<TaskName> TaskOfEnvironment(const std::string& environment) {
  const auto token = NumberOf(environment, "HAUL_FENCING_TOKEN=");
  const auto task = NumberOf(environment, "HAUL_TASK_INDEX=");
  if (!token || !task) return std::nullopt;
  return TaskName{AssignmentId(*token), *task};
}

std::optional<std::uint64_t> ExecutorOfEnvironment(const std::string& environment) {
  return NumberOf(environment, kExecutorVariable);
}

Orphans::Orphans(std::function<bool(const TaskName&)> runs, std::function<bool(pid_t)> is_own_child,
                 std::function<bool(std::uint64_t)> executor_runs)
    : runs_(std::move(runs)),
      is_own_child_(std::move(is_own_child)),
      executor_runs_(std::move(executor_runs)) {}

bool Orphans::ShallDie(const Orphan& orphan, std::uint64_t oldest_start) const {
  if (orphan.task) return !runs_(*orphan.task);
  if (orphan.executor) return !executor_runs_(*orphan.executor);
  return oldest_start >= orphan.found_before_start;
}

std::vector<pid_t> Orphans::Of(const TaskName& task) const {
  std::vector<pid_t> pids;
  for (const auto& [pid, orphan] : orphans_) {
    if (orphan.task == task) pids.push_back(pid);
  }
  return pids;
}

void Orphans::Scan(std::uint64_t next_start, std::uint64_t oldest_start) {
  killing_ = 0;
  std::vector<pid_t> doomed;
  for (auto& [pid, orphan] : orphans_) orphan.seen = false;
  for (const pid_t pid : FirstThreadsChildren()) {
    if (is_own_child_(pid)) continue;
    // While it is our child and not waited for, its number belongs to nobody else.
    if (::waitpid(pid, nullptr, WNOHANG) == pid) {
      orphans_.erase(pid);
      continue;
    }
    const auto [it, is_new] = orphans_.try_emplace(pid);
    Orphan& orphan = it->second;
    orphan.seen = true;
    if (is_new) orphan.found_before_start = next_start;
    // Again while it is not known: in the midst of an exec a process shows no environment.
    if (!orphan.task && !orphan.executor) {
      const std::string environment =
          ReadProcFile("/proc/" + std::to_string(pid) + "/environ", kMostEnvironmentBytes);
      orphan.task = TaskOfEnvironment(environment);
      orphan.executor = ExecutorOfEnvironment(environment);
    }
    if (!orphan.killed && ShallDie(orphan, oldest_start)) {
      orphan.killed = true;
      // One that runs as somebody else by now is beyond our reach, and nothing is gained by waiting
      // for it.
      orphan.out_of_reach = ::kill(pid, SIGSTOP) != 0;
      if (!orphan.out_of_reach) doomed.push_back(pid);
    }
    if (orphan.killed && !orphan.out_of_reach) ++killing_;
  }
  if (!doomed.empty()) KillTrees(doomed);
  absl::erase_if(orphans_, [](const auto& entry) { return !entry.second.seen; });
}

}  // namespace haul::exec
