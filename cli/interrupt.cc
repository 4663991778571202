#include "cli/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "cli/status.h"
#include "common/check.h"

namespace haul::cli {
namespace {

// Where the handler writes; -1 while nobody listens.
std::atomic<int> g_listener_descriptor = -1;
static_assert(std::atomic<int>::is_always_lock_free);

void OnInterrupt(int) {
  const int saved_errno = errno;
  const int descriptor = g_listener_descriptor.load();
  if (descriptor < 0) _exit(kExitInterrupted);
  const char byte = 'i';
  // A full pipe already says enough.
  [[maybe_unused]] const ssize_t written = write(descriptor, &byte, 1);
  errno = saved_errno;
}

}  // namespace

void ExitOnInterrupt() {
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

Interrupts::Interrupts() {
  HAUL_CHECK(pipe2(pipe_, O_CLOEXEC) == 0);
  listener_ = std::thread([this] { Listen(); });
  g_listener_descriptor.store(pipe_[1]);
}

Interrupts::~Interrupts() {
  g_listener_descriptor.store(-1);
  const char byte = 'q';
  HAUL_CHECK(write(pipe_[1], &byte, 1) == 1);
  listener_.join();
  close(pipe_[0]);
  close(pipe_[1]);
}

void Interrupts::Listen() {
  char byte = 0;
  while (true) {
    const ssize_t count = read(pipe_[0], &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count != 1 || byte == 'q') return;
    if (!stop_.request_stop()) second_.release();
  }
}

}  // namespace haul::cli
