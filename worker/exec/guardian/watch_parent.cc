#include "worker/exec/guardian/watch_parent.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "common/check.h"

namespace haul::exec {

pid_t ParentWatch::GuardianPid() {
  const char* text = std::getenv("HAUL_GUARDIAN_PID");
  return text == nullptr ? 0 : static_cast<pid_t>(std::strtol(text, nullptr, 10));
}

ParentWatch::ParentWatch(Reactor& reactor, pid_t parent, std::function<void()> on_death)
    : reactor_(reactor), pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, parent, 0))) {
  // Asked after the descriptor was opened: if `parent` is our parent now, it lived then, and the
  // descriptor is its own and not that of a later process of the same number.
  if (pidfd_ < 0 || ::getppid() != parent) {
    timer_ = reactor_.AddTimer(0, std::move(on_death));
    if (pidfd_ >= 0) ::close(std::exchange(pidfd_, -1));
    return;
  }
  const bool watched =
      reactor_.Watch(pidfd_, EPOLLIN, [this, death = std::move(on_death)](std::uint32_t) {
        reactor_.Unwatch(pidfd_);
        ::close(std::exchange(pidfd_, -1));
        death();
      });
  HAUL_CHECK(watched);
}

ParentWatch::~ParentWatch() {
  reactor_.CancelTimer(timer_);
  if (pidfd_ < 0) return;
  reactor_.Unwatch(pidfd_);
  ::close(pidfd_);
}

}  // namespace haul::exec
