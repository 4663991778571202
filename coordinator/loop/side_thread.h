// A thread that does what the loop must not: it runs what it is given, in order, and hands back
// what is to happen on the loop thread afterwards. Used for reads from the store and for files of
// large outputs.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>

#include "common/mailbox.h"

namespace haul::coordinator {

class SideThread {
 public:
  static constexpr std::size_t kCapacity = 100'000;
  using Continuation = std::function<void()>;  // runs on the loop thread
  using Work = std::function<Continuation()>;  // runs on this thread

  // `wake` is called on this thread when a continuation waits.
  explicit SideThread(std::function<void()> wake);
  ~SideThread();  // finishes what it was given; continuations nobody ran are dropped

  // Loop thread. False when kCapacity pieces of work have not come back.
  bool TryRun(Work work);
  // Loop thread: more than half of that. Who can be refused leaves the rest to who cannot.
  bool is_half_full() const { return pending_ >= kCapacity / 2; }
  // Loop thread: runs the continuations that are due; says whether there were any.
  bool RunContinuations();

 private:
  void Main();

  const std::function<void()> wake_;
  Mailbox<Work> work_{kCapacity};
  Mailbox<Continuation> done_{kCapacity};
  std::size_t pending_ = 0;  // of the loop thread: what has not come back
  std::thread thread_;
};

}  // namespace haul::coordinator
