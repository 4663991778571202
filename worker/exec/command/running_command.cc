#include "worker/exec/command/running_command.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>

namespace haul::exec {
namespace {

std::uint64_t Micros(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_usec);
}

// How the process itself ended, where it was not we who ended it.
void SettleStatus(int wait_status, Outcome* outcome) {
  if (WIFSIGNALED(wait_status)) {
    outcome->status = TaskStatus::kFailed;
    outcome->cause = Cause::kSignal;
    outcome->code = WTERMSIG(wait_status);
    const char* name = ::sigabbrev_np(outcome->code);
    outcome->message = "ended by signal " + std::to_string(outcome->code);
    if (name != nullptr) outcome->message += std::string(" (SIG") + name + ")";
  } else if (WEXITSTATUS(wait_status) != 0) {
    outcome->status = TaskStatus::kFailed;
    outcome->cause = Cause::kExitCode;
    outcome->code = WEXITSTATUS(wait_status);
  }
}

}  // namespace

CommandEnd RunningCommand::MakeEnd(const Now& at) const {
  CommandEnd end;
  end.job = task.job;
  Outcome& outcome = end.outcome;
  outcome.tasks = {task.task, 1};
  outcome.attempt = task.attempt;
  outcome.assignment = task.assignment;
  outcome.finished_unix_us = at.unix_us;
  outcome.started_unix_us = at.unix_us;
  if (pid > 0) {
    outcome.pid = static_cast<std::uint32_t>(pid);
    const std::int64_t took_us = std::max<std::int64_t>(0, at.monotonic_us - started.monotonic_us);
    outcome.started_unix_us = started.unix_us;
    // The wall clock may have been set back meanwhile; a task does not end before it starts.
    outcome.finished_unix_us = std::max(at.unix_us, started.unix_us);
    outcome.busy_ns = static_cast<std::uint64_t>(took_us) * 1000;
  }
  if (stop) {
    outcome.status =
        stop->cause == Cause::kCancelled ? TaskStatus::kCancelled : TaskStatus::kFailed;
    outcome.cause = stop->cause;
    outcome.code = stop->code;
    outcome.message = stop->message;
  }
  return end;
}

CommandEnd RunningCommand::MakeExitEnd(int wait_status, const rusage& usage, const Now& at) {
  CommandEnd end = MakeEnd(at);
  end.outcome.user_cpu_us = Micros(usage.ru_utime);
  end.outcome.system_cpu_us = Micros(usage.ru_stime);
  const std::uint64_t peak_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  end.outcome.peak_memory_bytes = peak_bytes > own_peak_bytes ? peak_bytes : sampled_peak_bytes;
  if (!stop) SettleStatus(wait_status, &end.outcome);
  executor::OutputCapture& output = captures[kOutput];
  if (output.is_in_file()) {
    end.outcome.output_bytes = output.byte_count();
    end.output_path = output.TakeFile();
  } else if (output.byte_count() > 0) {
    end.outcome.results.Append(output.TakeInline());
  }
  executor::OutputCapture& error_output = captures[kError];
  if (error_output.is_in_file()) {
    end.outcome.error_bytes = error_output.byte_count();
    end.error_path = error_output.TakeFile();
  } else {
    end.outcome.error_output = error_output.TakeInline();
  }
  return end;
}

}  // namespace haul::exec
