// What the worker's loop needs for the calls that running tasks make: somebody who carries them to
// the coordinator, as jobs that end with the task, and brings the answers.
//
// Everything is called on the loop thread, the listener's method from within the reactor's turn and
// never from within a method of the port.
#pragma once

#include "common/ids.h"
#include "haul/v1/common.pb.h"
#include "haul/v1/executor.pb.h"
#include "worker/core/events.h"

namespace haul::worker {

class ChildCallListener {
 public:
  virtual ~ChildCallListener() = default;
  virtual void OnChildAnswer(ExecutorId executor, v1::ChildAnswer answer) = 0;
};

class ChildCallPort {
 public:
  virtual ~ChildCallPort() = default;
  virtual void SetListener(ChildCallListener* listener) = 0;
  // Of a task of `job`, whose cpus, priority and isolation it shares.
  virtual void Call(ExecutorId executor, JobId job, const v1::JobSpec& spec,
                    v1::ChildCall call) = 0;
  // They have ended: nobody waits for their answers.
  virtual void EndTasks(ExecutorId executor, AssignmentId assignment, TaskRange tasks) = 0;
  // So have all of its tasks, which may start again here; what they called is to end.
  virtual void EndExecutor(ExecutorId executor) = 0;
};

}  // namespace haul::worker
