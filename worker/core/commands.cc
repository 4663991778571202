// Commands: each is a process of its own. So that a place does not stand empty until this core has
// heard that a short one ended, and said what is next, some are given ahead.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/planted_bug.h"
#include "worker/core/core.h"

namespace haul::worker {

Core::Progress Core::StartCommands(AssignmentId id, HeldAssignment& assignment, bool may_go_ahead) {
  const HeldJob& job = state_.jobs.at(assignment.job);
  while (!assignment.pending.empty() || state_.ahead.contains(id)) {
    const auto ahead = state_.ahead.find(id);
    // Which of them have started is known with the answer, which is the next event.
    if (ahead != state_.ahead.end() && ahead->second.withdrawing) return Progress::kDone;
    const bool full = job.running >= job.width;
    if (full || FreeSlots(assignment) == 0) {
      if (may_go_ahead && job.running <= job.width) GiveAhead(id, assignment);
      return full ? Progress::kDone : Progress::kNoRoom;
    }
    if (ahead == state_.ahead.end()) {
      Start(id, assignment, false);
      continue;
    }
    Reserve(assignment.job, 1, assignment.cpus_milli);
    TakePlace(id);
    Emit(AdvanceCommands{id});
  }
  return Progress::kDone;
}

void Core::Start(AssignmentId id, HeldAssignment& assignment, bool ahead) {
  const TaskIndex task = assignment.pending.First(1).first;
  assignment.pending.Remove({task, 1});
  state_.commands[{id, task}] = {
      .job = assignment.job, .cpus_milli = assignment.cpus_milli, .ahead = ahead};
  if (ahead) {
    CommandsAhead& list = state_.ahead[id];
    list.tasks.push_back(task);
    list.may_give_back = true;
    ++state_.ahead_count;
  } else {
    Reserve(assignment.job, 1, assignment.cpus_milli);
  }
  const auto charged = assignment.charged.find(task);
  const std::uint32_t before = charged == assignment.charged.end() ? 0 : charged->second;
  Emit(StartCommand{id, assignment.job, task, before + 1, ahead});
}

// Not of those that must not start twice: of these it is to be known which have started. Nor while
// a task waits for a cpu to go on.
void Core::GiveAhead(AssignmentId id, HeldAssignment& assignment) {
  const auto first = state_.commands.lower_bound({id, 0});
  const bool has_place = first != state_.commands.end() && first->first.first == id;
  if (!has_place || assignment.at_most_once || assignment.alone) return;
  if (!state_.resumable.empty()) return;
  while (!assignment.pending.empty() && state_.ahead_count < options_.commands_ahead_limit) {
    Start(id, assignment, true);
  }
}

// Whether somebody waits for its outcome.
bool Core::CommandEnded(AssignmentId id, TaskIndex task) {
  const auto it = state_.commands.find({id, task});
  if (it == state_.commands.end()) return false;
  const RunningCommand command = it->second;
  state_.commands.erase(it);
  const auto ahead = state_.ahead.find(id);
  if (command.ahead) {
    std::erase(ahead->second.tasks, task);
    --state_.ahead_count;
    if (ahead->second.tasks.empty()) state_.ahead.erase(ahead);
  } else if (ahead != state_.ahead.end()) {
    TakePlace(id);
  } else {
    Release(command.job, 1, command.cpus_milli);
    EraseJobIfUnused(command.job);
  }
  return !command.abandoned;
}

// The first of those ahead has the place from now on.
void Core::TakePlace(AssignmentId id) {
  const auto ahead = state_.ahead.find(id);
  state_.commands.at({id, ahead->second.tasks.front()}).ahead = false;
  ahead->second.tasks.pop_front();
  --state_.ahead_count;
  if (ahead->second.tasks.empty()) state_.ahead.erase(ahead);
}

void Core::Withdraw(AssignmentId id, CommandsAhead& ahead) {
  if (!ahead.may_give_back || ahead.withdrawing) return;
  ahead.withdrawing = true;
  Emit(WithdrawCommands{id});
}

void Core::WithdrawOf(AssignmentId id) {
  if (const auto ahead = state_.ahead.find(id); ahead != state_.ahead.end()) {
    Withdraw(id, ahead->second);
  }
}

void Core::WithdrawAll() {
  for (auto& [id, ahead] : state_.ahead) Withdraw(id, ahead);
}

void Core::On(const CommandsWithdrawn& event) {
  const auto assignment = state_.assignments.find(event.assignment);
  for (const TaskIndex task : event.tasks) {
    const bool wanted = CommandEnded(event.assignment, task);
    if (wanted) assignment->second.pending.Add({task, 1});
  }
  // What is left has started; unless it was given since, after all others had ended.
  if (const auto ahead = state_.ahead.find(event.assignment);
      ahead != state_.ahead.end() && ahead->second.withdrawing) {
    ahead->second.withdrawing = false;
    ahead->second.may_give_back = false;
  }
  Settle(event.assignment);
}

void Core::StopCommandsOf(AssignmentId id, bool abandon, const std::string& by) {
  WithdrawOf(id);
  for (auto it = state_.commands.lower_bound({id, 0});
       it != state_.commands.end() && it->first.first == id; ++it) {
    if (abandon) it->second.abandoned = true;
    Emit(StopCommand{id, it->first.second, by});
  }
}

void Core::KillAllCommands() {
  for (const auto& [key, command] : state_.commands) {
    if (!command.ahead) Release(command.job, 1, command.cpus_milli);
    EraseJobIfUnused(command.job);
  }
  state_.commands.clear();
  state_.ahead.clear();
  state_.ahead_count = 0;
  Emit(KillCommands{});
}

}  // namespace haul::worker
