#include "cli/foreground.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "common/check.h"

namespace haul::cli {
namespace {

bool IsIgnored(int signal) {
  struct sigaction action {};
  HAUL_CHECK(sigaction(signal, nullptr, &action) == 0);
  return action.sa_handler == SIG_IGN;
}

}  // namespace

Foreground::Foreground() {
  sigset_t set;
  sigemptyset(&set);
  // Under nohup the end of the terminal is no reason to end; a blocked signal would come anyway.
  if (!IsIgnored(SIGHUP)) sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  HAUL_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  // Whoever read the log may be gone, which is no reason to end.
  signal(SIGPIPE, SIG_IGN);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  HAUL_CHECK(signals_ >= 0);
}

Foreground::~Foreground() { close(signals_); }

Foreground::Woken Foreground::Wait(const std::vector<int>& descriptors, int timeout_ms) {
  std::vector<pollfd> polled = {{signals_, POLLIN, 0}};
  for (const int descriptor : descriptors) polled.push_back({descriptor, POLLIN, 0});
  int count = 0;
  do {
    count = poll(polled.data(), polled.size(), timeout_ms);
  } while (count < 0 && errno == EINTR);
  HAUL_CHECK(count >= 0);
  if (polled[0].revents != 0) {
    signalfd_siginfo info{};
    HAUL_CHECK(read(signals_, &info, sizeof(info)) == sizeof(info));
    return {Event::kSignal, -1};
  }
  for (const pollfd& one : polled) {
    if (one.revents != 0) return {Event::kReadable, one.fd};
  }
  return {};
}

}  // namespace haul::cli
