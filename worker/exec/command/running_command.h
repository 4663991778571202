// One command of the runner's, from its start to its end: what is known of it, and the outcome made
// of that.
//
// Owned by the command runner, on the loop thread, which does all that has an effect.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "common/outcome.h"
#include "common/time.h"
#include "worker/exec/launch/command_template.h"
#include "worker/exec/reactor.h"
#include "worker/executor/output_capture.h"

namespace haul::exec {

// How a task ended. Outputs over executor::OutputCapture::kInlineBytes are in files of the worker,
// which the receiver removes when it has handed them on; their sizes are in the outcome.
struct CommandEnd {
  JobId job;
  // Complete but for output_file, error_file and the worker's id. peak_memory_bytes is exact where
  // it is above the worker's own peak; below that it was sampled while the task ran, or is 0: not
  // known.
  Outcome outcome;
  std::string output_path;  // or empty
  std::string error_path;
};

struct RunningCommand {
  enum Stream : std::size_t { kOutput, kError };
  // kAhead: it may have started, in the place of another that ended.
  enum class State { kWaiting, kAhead, kLaunching, kRunning, kExited };
  struct StopReason {
    Cause cause;
    std::int32_t code;
    std::string message;
  };

  // `path`: where its files are, without their endings.
  RunningCommand(CommandTask the_task, const std::string& path)
      : task(std::move(the_task)),
        captures{executor::OutputCapture(path + ".out"), executor::OutputCapture(path + ".err")} {}

  // What is known of the end whatever it was.
  CommandEnd MakeEnd(const Now& at) const;
  // The same, for a process that ended so, with its outputs.
  CommandEnd MakeExitEnd(int wait_status, const rusage& usage, const Now& at);

  std::uint64_t key = 0;
  CommandTask task;
  State state = State::kWaiting;
  std::uint64_t start = 0;  // while it is in started_
  int launch_tries = 0;
  std::string temporary_directory;
  pid_t pid = -1;
  int pidfd = -1;
  std::array<int, 2> fds{-1, -1};
  bool streams_watched = false;
  std::array<executor::OutputCapture, 2> captures;
  bool discards_output = false;
  Now started;
  std::uint64_t own_peak_bytes = 0;
  std::uint64_t sampled_peak_bytes = 0;
  std::optional<StopReason> stop;
  TimerId timeout_timer;
  TimerId kill_timer;
};

}  // namespace haul::exec
