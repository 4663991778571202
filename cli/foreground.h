// A program that serves until it is told to end: signals and other descriptors in one wait. Main
// thread; make it before other threads start, since they inherit the blocked signals.
#pragma once

#include <vector>

namespace haul::cli {

class Foreground {
 public:
  Foreground();
  ~Foreground();
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

  enum class Event { kSignal, kReadable, kTimeout };
  struct Woken {
    Event event = Event::kTimeout;
    int descriptor = -1;  // with kReadable
  };
  // Until SIGINT, SIGTERM or SIGHUP came, one of `descriptors` can be read, or `timeout_ms` (-1:
  // none) has passed.
  Woken Wait(const std::vector<int>& descriptors, int timeout_ms = -1);

 private:
  int signals_ = -1;
};

}  // namespace haul::cli
