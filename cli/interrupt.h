// Ctrl-C in a client. Until somebody listens it ends the process with status 130 at once, which
// leaves a job that is being submitted unsubmitted.
#pragma once

#include <chrono>
#include <semaphore>
#include <stop_token>
#include <thread>

namespace haul::cli {

// Call once, before other threads start.
void ExitOnInterrupt();

// While one lives (at most one at a time), the first Ctrl-C requests `token()` to stop. Its methods
// are for the thread that made it; stop callbacks run on a thread of its own.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  std::stop_token token() const { return stop_.get_token(); }
  // Waits for the second one; false when the time has passed without.
  bool WaitForSecond(std::chrono::milliseconds timeout) { return second_.try_acquire_for(timeout); }

 private:
  void Listen();

  int pipe_[2] = {-1, -1};
  std::stop_source stop_;
  std::counting_semaphore<> second_{0};
  std::thread listener_;
};

}  // namespace haul::cli
