#include "worker/loop/executors.h"

#include <string>
#include <utility>

#include "worker/exec/command/orphans.h"

namespace haul::worker {

Executors::Executors(exec::Reactor& reactor, const exec::ExecutorOptions& options)
    : reactor_(reactor), options_(options) {}

Executors::~Executors() = default;

void Executors::Start(ExecutorId id) {
  exec::ExecutorCallbacks callbacks;
  callbacks.on_ready = [this, id](const std::vector<v1::FunctionInfo>& functions) {
    listener_->OnExecutorReady(id, functions);
  };
  callbacks.on_outcomes = [this, id](AssignmentId assignment, std::vector<Outcome> outcomes) {
    for (Outcome& outcome : outcomes) {
      listener_->OnExecutorOutcome(id, assignment, std::move(outcome));
    }
  };
  callbacks.on_reclaimed = [this, id](AssignmentId assignment, TaskRange tasks) {
    listener_->OnExecutorReclaimed(id, assignment, tasks);
  };
  callbacks.on_call = [this, id](v1::ChildCall call) {
    listener_->OnExecutorCall(id, std::move(call));
  };
  callbacks.on_waiting = [this, id](AssignmentId assignment, TaskIndex task) {
    listener_->OnExecutorWaiting(id, assignment, task);
  };
  callbacks.on_resumable = [this, id](AssignmentId assignment, TaskIndex task) {
    listener_->OnExecutorResumable(id, assignment, task);
  };
  callbacks.on_died = [this, id](const exec::ExecutorDeath& death) { OnDied(id, death); };
  exec::ExecutorOptions options = options_;
  options.environment.push_back(std::string(exec::kExecutorVariable) + std::to_string(id.value()));
  auto process = exec::ExecutorProcess::Start(&reactor_, std::move(options), std::move(callbacks));
  if (process.ok()) {
    processes_.emplace(id, *std::move(process));
    return;
  }
  // Told in a turn of its own, as every death is.
  reactor_.AddTimer(0, [this, id, message = std::string(process.status().message())] {
    listener_->OnExecutorDied({.executor = id, .suspects = {}, .message = message});
  });
}

void Executors::OnDied(ExecutorId id, const exec::ExecutorDeath& death) {
  ExecutorDied event{.executor = id,
                     .suspects = {},
                     .cause = death.cause,
                     .code = death.code,
                     .message = death.message,
                     .pid = static_cast<std::uint32_t>(death.pid)};
  for (const exec::ExecutorSuspect& suspect : death.suspects) {
    event.suspects.push_back(
        {suspect.assignment, suspect.task, suspect.culprit, suspect.timed_out});
  }
  processes_.erase(id);
  listener_->OnExecutorDied(std::move(event));
}

void Executors::End(ExecutorId id) {
  if (const auto it = processes_.find(id); it != processes_.end()) it->second->Kill();
}

absl::Status Executors::Run(ExecutorId id, v1::Run run) {
  const auto it = processes_.find(id);
  // Its death is about to be told, and takes the tasks back.
  if (it == processes_.end()) return absl::OkStatus();
  return it->second->Run(std::move(run));
}

void Executors::Reclaim(ExecutorId id, AssignmentId assignment, std::uint64_t count) {
  if (const auto it = processes_.find(id); it != processes_.end()) {
    it->second->Reclaim(assignment, count);
  }
}

void Executors::StopTasks(ExecutorId id, AssignmentId assignment) {
  if (const auto it = processes_.find(id); it != processes_.end()) {
    it->second->StopTasks(assignment);
  }
}

void Executors::StopTasks(ExecutorId id, AssignmentId assignment, TaskRange tasks) {
  if (const auto it = processes_.find(id); it != processes_.end()) {
    it->second->StopTasks(assignment, tasks);
  }
}

void Executors::Answer(ExecutorId id, v1::ChildAnswer answer) {
  if (const auto it = processes_.find(id); it != processes_.end()) {
    it->second->Answer(std::move(answer));
  }
}

void Executors::Resume(ExecutorId id, AssignmentId assignment, TaskIndex task) {
  if (const auto it = processes_.find(id); it != processes_.end()) {
    it->second->Resume(assignment, task);
  }
}

std::vector<TaskProgress> Executors::Progress() const {
  std::vector<TaskProgress> progress;
  for (const auto& [id, process] : processes_) {
    for (const auto& slot : process->Running()) {
      if (slot.permille > 0) progress.push_back({slot.assignment, slot.task, slot.permille});
    }
  }
  return progress;
}

bool Executors::IsExecutor(pid_t pid) const {
  for (const auto& [id, process] : processes_) {
    if (process->pid() == pid) return true;
  }
  return false;
}

}  // namespace haul::worker
