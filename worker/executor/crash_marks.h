// Who did it: when a signal or exit() ends the executor, the slot of the thread behind it says so,
// and the worker reads that after the process's death.
#pragma once

#include <cstddef>
#include <memory>

#include <signal.h>

#include "worker/executor/slots.h"

namespace haul::executor {

// Once, by main, before other threads and after the libraries are loaded: the handlers of SIGSEGV,
// SIGBUS, SIGFPE, SIGILL and SIGABRT mark the thread's slot and die of the signal; exit() marks it
// and ends the process at once with its code, since destructors of static objects would run under
// the pool's threads. In what a function forks they mark nothing.
void InstallCrashMarks();

// Ties the calling thread to its slot and gives it a signal stack, so that an overflow of its own
// stack can be handled, for the lifetime of this object.
class CrashMarksOfThread {
 public:
  explicit CrashMarksOfThread(Slot* slot);
  ~CrashMarksOfThread();
  CrashMarksOfThread(const CrashMarksOfThread&) = delete;
  CrashMarksOfThread& operator=(const CrashMarksOfThread&) = delete;

 private:
  const std::unique_ptr<std::byte[]> stack_;
  stack_t previous_{};
};

}  // namespace haul::executor
