// What the worker's loop needs of executor processes.
//
// Everything is called on the loop thread, the listener's methods from within the reactor's turn
// and never from within a method of the port.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "haul/v1/executor.pb.h"
#include "worker/core/events.h"

namespace haul::worker {

// How much of a running task is done, by its own word.
struct TaskProgress {
  AssignmentId assignment;
  TaskIndex task = 0;
  std::uint32_t permille = 0;
};

class ExecutorListener {
 public:
  virtual ~ExecutorListener() = default;
  virtual void OnExecutorReady(ExecutorId id, const std::vector<v1::FunctionInfo>& functions) = 0;
  virtual void OnExecutorOutcome(ExecutorId id, AssignmentId assignment, Outcome outcome) = 0;
  virtual void OnExecutorReclaimed(ExecutorId id, AssignmentId assignment, TaskRange tasks) = 0;
  virtual void OnExecutorCall(ExecutorId id, v1::ChildCall call) = 0;
  virtual void OnExecutorWaiting(ExecutorId id, AssignmentId assignment, TaskIndex task) = 0;
  virtual void OnExecutorResumable(ExecutorId id, AssignmentId assignment, TaskIndex task) = 0;
  // Once for each that was started, the last that is heard of it, also where it could not be
  // started. One that never was ready says in its message why: mostly a library that could not be
  // loaded.
  virtual void OnExecutorDied(ExecutorDied death) = 0;
};

class ExecutorPort {
 public:
  virtual ~ExecutorPort() = default;
  virtual void SetListener(ExecutorListener* listener) = 0;
  virtual void Start(ExecutorId id) = 0;
  virtual void End(ExecutorId id) = 0;  // kills it
  // An error: nothing of it will run.
  virtual absl::Status Run(ExecutorId id, v1::Run run) = 0;
  virtual void Reclaim(ExecutorId id, AssignmentId assignment, std::uint64_t count) = 0;
  virtual void StopTasks(ExecutorId id, AssignmentId assignment) = 0;  // all
  virtual void StopTasks(ExecutorId id, AssignmentId assignment, TaskRange tasks) = 0;
  virtual void Answer(ExecutorId id, v1::ChildAnswer answer) = 0;
  virtual void Resume(ExecutorId id, AssignmentId assignment, TaskIndex task) = 0;
  // Of what runs now and has said something.
  virtual std::vector<TaskProgress> Progress() const = 0;
  virtual bool IsExecutor(pid_t pid) const = 0;
  // Whether it was started and its end was not told.
  virtual bool Runs(ExecutorId id) const = 0;
};

}  // namespace haul::worker
