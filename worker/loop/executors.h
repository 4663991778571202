// The executor processes of a worker, each under the id that the core gave it.
//
// Loop thread only; the reactor and the listener must outlive it. Ends what it started when
// destroyed.
#pragma once

#include <memory>

#include "absl/container/btree_map.h"
#include "worker/exec/executor/executor_process.h"
#include "worker/exec/reactor.h"
#include "worker/loop/executor_port.h"

namespace haul::worker {

class Executors final : public ExecutorPort {
 public:
  Executors(exec::Reactor& reactor, const exec::ExecutorOptions& options);
  ~Executors() override;

  void SetListener(ExecutorListener* listener) override { listener_ = listener; }
  void Start(ExecutorId id) override;
  void End(ExecutorId id) override;
  absl::Status Run(ExecutorId id, v1::Run run) override;
  void Reclaim(ExecutorId id, AssignmentId assignment, std::uint64_t count) override;
  void StopTasks(ExecutorId id, AssignmentId assignment) override;
  void StopTasks(ExecutorId id, AssignmentId assignment, TaskRange tasks) override;
  void Answer(ExecutorId id, v1::ChildAnswer answer) override;
  void Resume(ExecutorId id, AssignmentId assignment, TaskIndex task) override;
  std::vector<TaskProgress> Progress() const override;
  bool IsExecutor(pid_t pid) const override;
  bool Runs(ExecutorId id) const override { return processes_.contains(id); }

 private:
  void OnDied(ExecutorId id, const exec::ExecutorDeath& death);

  exec::Reactor& reactor_;
  const exec::ExecutorOptions options_;
  ExecutorListener* listener_ = nullptr;
  absl::btree_map<ExecutorId, std::unique_ptr<exec::ExecutorProcess>> processes_;
};

}  // namespace haul::worker
