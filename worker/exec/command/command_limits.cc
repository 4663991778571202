// What a command with all its processes may use: how many they are, and their memory. Over it the
// whole task is killed at once: what eats memory or forks without end is not asked to leave.
#include <signal.h>

#include <algorithm>
#include <utility>

#include "common/time.h"
#include "worker/exec/command/command_runner.h"
#include "worker/exec/process_tree.h"

namespace haul::exec {
namespace {

constexpr std::int64_t kLimitsIntervalUs = 100'000;
// However many processes there are, looking takes at most a tenth of the loop's time.
constexpr std::int64_t kRestPerLook = 9;

}  // namespace

void CommandRunner::ScheduleLimits() {
  if (limits_timer_.number != 0 || started_.empty()) return;
  limits_timer_ =
      reactor_.AddTimer(ReadClocks().monotonic_us + kLimitsIntervalUs, [this] { CheckLimits(); });
}

void CommandRunner::CheckLimits() {
  limits_timer_ = {};
  if (started_.empty()) return;
  const std::int64_t began_us = ReadClocks().monotonic_us;
  // No task has more processes than the machine has threads: mostly this is all there is to see.
  const bool too_many = ThreadsOfMachine().value_or(~0ull) > options_.task_processes;
  if (too_many || limited_by_memory_ > 0) {
    ScanOrphans();
    for (const auto& [start, command] : started_) {
      if (command->state != Command::State::kRunning) continue;
      if (!too_many && command->task.memory_bytes == 0) continue;
      std::vector<pid_t> roots = orphans_.Of({command->task.assignment, command->task.task});
      roots.push_back(command->pid);
      const std::vector<pid_t> processes = TreeOf(roots);
      if (processes.size() > options_.task_processes) {
        KillOver(command, Cause::kProcessLimit,
                 "it had " + std::to_string(processes.size()) +
                     " processes at once, over the limit of " +
                     std::to_string(options_.task_processes));
      } else if (command->task.memory_bytes > 0) {
        CheckMemory(command, processes);
      }
    }
  }
  const std::int64_t now_us = ReadClocks().monotonic_us;
  const std::int64_t rest_us = std::max(kLimitsIntervalUs, kRestPerLook * (now_us - began_us));
  limits_timer_ = reactor_.AddTimer(now_us + rest_us, [this] { CheckLimits(); });
}

void CommandRunner::CheckMemory(Command* command, const std::vector<pid_t>& processes) {
  const std::uint64_t limit = command->task.memory_bytes;
  std::uint64_t used = 0;
  for (const pid_t pid : processes) used += ResidentBytes(pid);
  if (used > limit) {
    // Pages that its processes share were counted for each of them.
    used = 0;
    for (const pid_t pid : processes) used += ProportionalBytes(pid);
  }
  command->sampled_peak_bytes = std::max(command->sampled_peak_bytes, used);
  if (used <= limit) return;
  KillOver(command, Cause::kMemoryLimit,
           "its processes held " + std::to_string(used) + " bytes of memory, over the limit of " +
               std::to_string(limit));
}

void CommandRunner::KillOver(Command* command, Cause cause, std::string message) {
  if (!command->stop) command->stop = Command::StopReason{cause, 0, std::move(message)};
  ::kill(-command->pid, SIGSTOP);
  std::vector<pid_t> roots = orphans_.Of({command->task.assignment, command->task.task});
  roots.push_back(command->pid);
  KillTrees(roots);
  ::kill(-command->pid, SIGKILL);
}

}  // namespace haul::exec
