// How an executor process ended, and which of its tasks may have ended it.
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "worker/exec/executor/executor_process.h"

namespace haul::exec {
namespace {

std::string SignalText(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? absl::StrCat("signal ", signal) : absl::StrCat("SIG", name);
}

}  // namespace

void ExecutorProcess::OnProcessEnd() {
  // It is dead and not reaped, so that its id still names its group: what it started ends with it.
  ::kill(-pid_, SIGKILL);
  ReadRest();
  CloseSocket();
  siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(P_PIDFD, static_cast<id_t>(pid_fd_), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  HAUL_CHECK(result == 0 && info.si_pid == pid_);
  reactor_.Unwatch(pid_fd_);
  ::close(pid_fd_);
  pid_fd_ = -1;
  reactor_.CancelTimer(ready_timer_);
  reactor_.CancelTimer(timeout_timer_);
  const ExecutorDeath death = DescribeDeath(info.si_code, info.si_status);
  const auto on_died = callbacks_.on_died;  // it may destroy this
  on_died(death);
}

// What it wrote before its end is in the socket. What comes later is of a descendant that holds a
// copy, and may go on without end.
void ExecutorProcess::ReadRest() {
  int rest = 0;
  if (socket_ < 0 || malformed_ || ::ioctl(socket_, FIONREAD, &rest) != 0) return;
  Read(static_cast<std::size_t>(rest));
}

ExecutorDeath ExecutorProcess::DescribeDeath(int code, int status) const {
  ExecutorDeath death;
  death.pid = pid_;
  death.was_ready = ready_;
  death.asked = asked_;
  death.code = status;
  const std::string executor = absl::StrCat("the executor (pid ", pid_, ") ");
  if (!killed_for_.empty()) {
    death.cause = Cause::kTimeout;
    death.message = absl::StrCat(executor, "was killed");
  } else if (code == CLD_EXITED) {
    death.cause = Cause::kExecutorExit;
    death.message = absl::StrCat(executor, "ended with exit code ", status);
  } else {
    death.cause = Cause::kSignal;
    death.message = absl::StrCat(executor, "was ended by ", SignalText(status));
  }
  if (!failure_.empty()) absl::StrAppend(&death.message, ": ", failure_);
  NameSuspects(&death);
  return death;
}

std::vector<executor::SlotReading> ExecutorProcess::Running() const {
  std::vector<executor::SlotReading> running;
  for (std::uint32_t i = 0; i < slots_.used(); ++i) {
    const std::optional<executor::SlotReading> slot = slots_.Read(i);
    if (slot.has_value()) running.push_back(*slot);
  }
  return running;
}

void ExecutorProcess::NameSuspects(ExecutorDeath* death) const {
  // Killed by the worker, nobody is to blame but those it was killed for.
  const bool killed_here = asked_ || malformed_ || !killed_for_.empty();
  bool proven = killed_here;
  for (const executor::SlotReading& slot : Running()) {
    ExecutorSuspect suspect{.assignment = slot.assignment, .task = slot.task};
    suspect.timed_out = killed_for_.contains({slot.assignment, slot.task});
    const bool marked = slot.state != executor::SlotState::kRunning;
    suspect.culprit = suspect.timed_out || (marked && !killed_here);
    proven = proven || suspect.culprit;
    death->suspects.push_back(suspect);
  }
  if (!proven && death->suspects.size() == 1) death->suspects[0].culprit = true;
}

}  // namespace haul::exec
