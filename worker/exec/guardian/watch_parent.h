// Tells the worker proper that its guardian has died, so that it ends its tasks and leaves.
//
// Owned by the loop thread. The reactor must outlive it.
#pragma once

#include <sys/types.h>

#include <functional>

#include "worker/exec/reactor.h"

namespace haul::exec {

class ParentWatch {
 public:
  // The guardian's process id, as it gave it to this process (HAUL_GUARDIAN_PID); 0: there is none.
  static pid_t GuardianPid();

  // Calls `on_death` once, in a turn of the reactor, when `parent` dies or if it is dead already.
  ParentWatch(Reactor& reactor, pid_t parent, std::function<void()> on_death);
  ~ParentWatch();
  ParentWatch(const ParentWatch&) = delete;
  ParentWatch& operator=(const ParentWatch&) = delete;

 private:
  Reactor& reactor_;
  int pidfd_ = -1;
  TimerId timer_;
};

}  // namespace haul::exec
