// Runs commands as processes, many at once: starts them by the launcher, captures what they write,
// ends them on time, reaps them, and leaves nothing of them running.
//
// Owned by the loop thread, which drives it through the reactor; every method is called there, and
// so is the listener, never from within Start or Stop. Reactor and listener must outlive the
// runner. Makes the process a subreaper and raises its limit of open files (not that of its tasks)
// to what it may have.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "worker/exec/command/orphans.h"
#include "worker/exec/command/running_command.h"
#include "worker/exec/launch/command_template.h"
#include "worker/exec/launch/launcher.h"
#include "worker/exec/reactor.h"

namespace haul::exec {

class CommandListener {
 public:
  virtual ~CommandListener() = default;
  virtual void OnCommandEnded(CommandEnd end) = 0;
  // The task's directory does not exist here or cannot be entered: it has not started and is handed
  // back.
  virtual void OnDirectoryMissing(const CommandTask& task, const std::string& message) = 0;
  // Whether the worker itself started this process otherwise than as a command (an executor). What
  // is not its own is taken for a leftover of some task, and killed.
  virtual bool IsOwnChild(pid_t pid) = 0;
  // Whether the executor of this number has not ended: what it started may go on as long.
  virtual bool ExecutorRuns(std::uint64_t number) = 0;
};

class CommandRunner {
 public:
  struct Options {
    // The worker's own. <directory>/tasks is made, and emptied at start and end.
    std::string directory;
    std::string worker;       // its name
    std::string coordinator;  // its address
    // What tasks inherit, as in environ; null: environ. The worker's credentials are left out.
    const char* const* environment = nullptr;
    std::int64_t grace_period_ms = 5000;  // between SIGTERM and SIGKILL
    // Of stdout and stderr of one task together.
    std::uint64_t output_limit_bytes = std::uint64_t{1} << 30;
    // Most processes of one task.
    std::uint64_t task_processes = 4096;
  };

  // Fails where <directory>/tasks cannot be made or emptied.
  static absl::StatusOr<std::unique_ptr<CommandRunner>> Create(Reactor& reactor,
                                                               CommandListener& listener,
                                                               const Options& options);
  // Kills what runs, at once and with all its descendants, and tells nobody.
  ~CommandRunner();
  CommandRunner(const CommandRunner&) = delete;
  CommandRunner& operator=(const CommandRunner&) = delete;

  // As many tasks as there are descriptors for. What is started beyond waits inside for others to
  // end.
  std::size_t max_running() const { return max_running_; }
  // The same, before there is one.
  static std::size_t MostAtOnce();
  std::size_t running() const { return started_.size() - ahead_count_; }

  // A task is started once in an assignment. Its end comes to the listener.
  void Start(CommandTask task);
  // Of an assignment of which one has been started and not been told to have ended: starts when one
  // of it ends, in its place, after others that were started ahead.
  void StartAhead(CommandTask task);
  // There is a place more for those: the first starts now, unless all have meanwhile.
  void Advance(AssignmentId assignment) { launcher_.Advance(assignment); }
  // From this time on, monotonic, nothing is started. The ends that those could follow are told
  // when it is put off, or they are withdrawn. At first never.
  void StartUntil(std::int64_t monotonic_us);
  // Those that have not started are forgotten; in their order.
  std::vector<TaskIndex> Withdraw(AssignmentId assignment);
  // SIGTERM to the task's process group, and SIGKILL after the grace period. The outcome has this
  // cause: kCancelled, with a message that says by whom, or kTimeout. Of a task that has ended, or
  // was stopped before: no effect. Of one that has just been started: up to 5 ms later.
  void Stop(AssignmentId assignment, TaskIndex task, Cause cause, std::string message);
  // To be said when an executor has ended: what it started shall end with it.
  void LookForOrphans() { ScheduleScan(); }
  // No task runs or waits, no descendant of one is left, and no outcome waits to be told.
  bool is_idle() const;

 private:
  using Command = RunningCommand;
  using Stream = RunningCommand::Stream;

  CommandRunner(Reactor& reactor, CommandListener& listener, const Options& options);

  Command* Add(CommandTask task);
  void Pump();
  // Hears of what was launched and what ended, and goes on launching.
  void TakeNews();
  void LookSoon();
  void OnStarted(Command* command, const LaunchResult& result);
  void OnStartFailed(Command* command, const LaunchResult& result);
  void OnExited(Command* command, const Now& at);
  void RequestStop(Command* command, Cause cause, std::int32_t code, std::string message);
  void Terminate(Command* command);
  // Forgets the command, makes room for the next, and gives its state back.
  std::unique_ptr<Command> Forget(Command* command);
  void NumberStart(Command* command);
  void Unstart(Command* command);
  void Tell(CommandEnd end);
  void TellLater(CommandEnd end);

  void ScheduleScan();
  void ScanOrphans();
  void ScheduleHousekeeping();
  void Scan();
  void SamplePeaks();

  // command_outputs.cc
  // Its pipes, if it has not ended by then.
  void WatchLater(Command* command);
  void ScheduleWatching();
  void WatchStreams();
  void ReadSome(Command* command, Stream stream, std::size_t most_bytes);
  void CloseStream(Command* command, Stream stream);
  void FinishStreams(Command* command);
  void DiscardOutputs(Command* command, std::int32_t code, const std::string& message);

  // command_limits.cc
  void ScheduleLimits();
  void CheckLimits();
  void CheckMemory(Command* command, const std::vector<pid_t>& processes);
  void KillOver(Command* command, Cause cause, std::string message);

  Reactor& reactor_;
  CommandListener& listener_;
  const Options options_;
  const std::string tasks_directory_;
  TaskSettings settings_;
  std::size_t max_running_ = 0;
  std::int64_t start_until_us_ = std::numeric_limits<std::int64_t>::max();
  std::uint64_t wake_handler_ = 0;
  Launcher launcher_;

  std::uint64_t next_key_ = 1;
  absl::flat_hash_map<std::uint64_t, std::unique_ptr<Command>> commands_;  // by key
  absl::flat_hash_map<std::pair<AssignmentId, TaskIndex>, Command*> by_name_;
  std::size_t limited_by_memory_ = 0;  // of these
  std::deque<std::uint64_t> waiting_;  // keys; some may have ended meanwhile
  // Given to the launcher and not ended, by the number of that.
  std::uint64_t next_start_ = 1;
  absl::btree_map<std::uint64_t, Command*> started_;
  TimerId rest_timer_;  // set: no process could be made, and none is tried until then
  // Keys of what was launched a moment ago, oldest first; some may have ended meanwhile.
  struct Unwatched {
    std::uint64_t key = 0;
    std::int64_t due_us = 0;
  };
  std::deque<Unwatched> unwatched_;
  TimerId watch_timer_;
  std::size_t ahead_count_ = 0;  // of started_: not heard of since
  TimerId look_timer_;
  std::vector<CommandEnd> untold_;
  TimerId tell_timer_;

  Orphans orphans_;
  std::int64_t last_scan_us_ = 0;
  TimerId scan_timer_;
  TimerId housekeeping_timer_;
  TimerId limits_timer_;
  std::uint64_t next_sampled_ = 0;  // the start to go on from
  std::vector<std::string> directories_to_remove_;
  static constexpr std::size_t kReadBytes = 64 * 1024;
  std::string read_buffer_;
};

}  // namespace haul::exec
