// Carries the calls of running tasks to the coordinator, by the client library: for each task that
// calls an executor of its own (haul/executor.h), whose jobs have the task as their parent.
//
// Loop thread only, and a thread of its own, which waits for the coordinator. The reactor and the
// listener must outlive it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "haul/executor.h"
#include "worker/exec/reactor.h"
#include "worker/loop/child_call_port.h"

namespace haul::worker {

class ChildCalls final : public ChildCallPort {
 public:
  ChildCalls(exec::Reactor& reactor, std::string address, std::string token);
  ~ChildCalls() override;
  ChildCalls(const ChildCalls&) = delete;
  ChildCalls& operator=(const ChildCalls&) = delete;

  void SetListener(ChildCallListener* listener) override { listener_ = listener; }
  void Call(ExecutorId executor, JobId job, const v1::JobSpec& spec, v1::ChildCall call) override;
  void EndTasks(ExecutorId executor, AssignmentId assignment, TaskRange tasks) override;
  void EndExecutor(ExecutorId executor) override;

 private:
  // A task that made calls, in the process where it did.
  struct Caller {
    ExecutorId executor;
    AssignmentId assignment;
    TaskIndex task = 0;
    friend auto operator<=>(const Caller&, const Caller&) = default;
  };

  void Enqueue(std::function<void()> work);
  void Work(const std::stop_token& stop);
  void Say(ExecutorId executor, v1::ChildAnswer answer);
  void Deliver();

  // Of the thread.
  Executor& ExecutorOf(const Caller& caller, const ExecutorOptions& options);
  void Submit(const Caller& caller, const ExecutorOptions& options, v1::ChildCall call);
  void CancelChildren(ExecutorId executor);

  exec::Reactor& reactor_;
  const std::string address_, token_;
  const std::uint64_t wake_handler_;
  ChildCallListener* listener_ = nullptr;
  absl::btree_set<Caller> callers_;  // that have not ended

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> work_;
  std::vector<std::pair<ExecutorId, v1::ChildAnswer>> answers_;

  // Of the thread.
  std::unique_ptr<Client> client_;
  absl::btree_map<Caller, std::unique_ptr<Executor>> executors_;

  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace haul::worker
