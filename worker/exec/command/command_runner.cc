#include "worker/exec/command/command_runner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>

#include "common/check.h"
#include "common/time.h"
#include "worker/exec/process_tree.h"
#include "worker/exec/remove_tree.h"

namespace haul::exec {
namespace {

// How often the launcher is asked for news while there is some: a wake for each would cost more
// than what is to be done. Time limits, and being stopped, begin as late.
constexpr std::int64_t kLookUs = 5'000;
constexpr std::int64_t kScanIntervalUs = 20'000;
constexpr std::int64_t kHousekeepingIntervalUs = 250'000;
constexpr std::size_t kMostSamplesPerTurn = 50;
constexpr std::int64_t kRestUs = 50'000;
// With nothing running whose end could make room: how often a process is tried before its task
// fails.
constexpr int kMostLaunchTries = 100;
constexpr std::chrono::seconds kKillLimit{10};

// Two pipes, a pidfd, and a file for each stream.
constexpr std::size_t kDescriptorsPerTask = 5;
// For everything else of the worker: its stream, its executors, what is being spawned.
constexpr std::size_t kReservedDescriptors = 128;

// Raises the soft limit to the hard one; gives the limit as it is now and the soft one as it was.
std::pair<rlim_t, rlim_t> RaiseOpenFiles() {
  rlimit limit{};
  HAUL_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  return {limit.rlim_cur, before};
}

std::size_t TasksThatFit(rlim_t open_files) {
  const auto limit = static_cast<std::size_t>(std::min<rlim_t>(open_files, 1u << 20));
  const std::size_t reserved = std::min(kReservedDescriptors, limit / 2);
  return std::max<std::size_t>(1, (limit - reserved) / kDescriptorsPerTask);
}

// Whether this process has a terminal that its tasks could take over, or be stopped for reading.
bool HasTerminal() {
  const int fd = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

// The task's group, and the process itself where it has left that: it may join another group of the
// worker's session. Its number is its own until it is waited for.
void SignalTask(pid_t pid, int signal) {
  ::kill(-pid, signal);
  if (::getpgid(pid) != pid) ::kill(pid, signal);
}

// Whether it waits to be waited for.
bool HasEnded(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid;
}

bool IsShortage(const SpawnResult& result) {
  return result.failed_step == SpawnStep::kProcess &&
         (result.error == EAGAIN || result.error == ENOMEM || result.error == EMFILE ||
          result.error == ENFILE);
}

// The peak of a process that runs; 0 where it is not known.
std::uint64_t PeakMemoryBytes(pid_t pid) {
  const std::string status = ReadProcFile("/proc/" + std::to_string(pid) + "/status", 4096);
  const std::size_t at = status.find("VmHWM:");
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + std::strlen("VmHWM:"), nullptr, 10) * 1024;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CommandRunner>> CommandRunner::Create(Reactor& reactor,
                                                                     CommandListener& listener,
                                                                     const Options& options) {
  const std::string tasks = options.directory + "/tasks";
  std::error_code error;
  if (!RemoveTree(tasks)) {
    return absl::FailedPreconditionError("cannot empty directory '" + tasks + "'");
  }
  std::filesystem::create_directories(tasks, error);
  if (error) {
    return absl::FailedPreconditionError("cannot make directory '" + tasks +
                                         "': " + error.message());
  }
  return std::unique_ptr<CommandRunner>(new CommandRunner(reactor, listener, options));
}

CommandRunner::CommandRunner(Reactor& reactor, CommandListener& listener, const Options& options)
    : reactor_(reactor),
      listener_(listener),
      options_(options),
      tasks_directory_(options.directory + "/tasks"),
      settings_{.environment = InheritedEnvironment(
                    options.environment != nullptr ? options.environment : environ),
                .worker = options.worker,
                .coordinator = options.coordinator},
      launcher_(settings_, [&reactor] { reactor.Wake(); }),
      orphans_(
          [this](const TaskName& name) {
            const auto it = by_name_.find(std::pair(name.assignment, name.task));
            return it != by_name_.end() && it->second->state != Command::State::kWaiting;
          },
          [this](pid_t pid) { return listener_.IsOwnChild(pid); },
          [this](std::uint64_t number) { return listener_.ExecutorRuns(number); }),
      read_buffer_(kReadBytes, '\0') {
  BecomeSubreaper();
  const auto [open_files, before] = RaiseOpenFiles();
  settings_.signals_to_reset = SignalsToReset();
  if (before != open_files) settings_.open_files_soft_limit = before;
  // A session of its own is what costs most of starting a small program, where the kernel groups
  // what it schedules by sessions.
  settings_.group = HasTerminal() ? ProcessGroup::kOwnSession : ProcessGroup::kOwnGroup;
  max_running_ = TasksThatFit(open_files);
  wake_handler_ = reactor_.AddWakeHandler([this] { TakeNews(); });
}

CommandRunner::~CommandRunner() {
  reactor_.RemoveWakeHandler(wake_handler_);
  for (const TimerId timer : {rest_timer_, watch_timer_, look_timer_, tell_timer_, scan_timer_,
                              housekeeping_timer_, limits_timer_}) {
    reactor_.CancelTimer(timer);
  }
  launcher_.Close();
  for (const LaunchResult& result : launcher_.Take(false).started) {
    if (!result.spawned.ok()) continue;
    ::kill(-result.spawned.pid, SIGKILL);
    for (const int fd : {result.spawned.pidfd, result.output_fd, result.error_fd}) ::close(fd);
  }
  for (const auto& [start, command] : started_) {
    if (command->state != Command::State::kRunning) continue;
    ::kill(-command->pid, SIGKILL);
    reactor_.CancelTimer(command->timeout_timer);
    reactor_.CancelTimer(command->kill_timer);
    ::close(command->pidfd);
    CloseStream(command, Stream::kOutput);
    CloseStream(command, Stream::kError);
  }
  // The launcher's threads are gone: what they started is the first thread's now, like every
  // orphan.
  KillChildren([this](pid_t pid) { return listener_.IsOwnChild(pid); }, kKillLimit);
  commands_.clear();
  RemoveTree(tasks_directory_);
}

CommandRunner::Command* CommandRunner::Add(CommandTask task) {
  const std::string path = tasks_directory_ + "/" + std::to_string(task.assignment.value()) + "-" +
                           std::to_string(task.task) + "-" + std::to_string(task.attempt);
  auto added = std::make_unique<Command>(std::move(task), path);
  Command* command = added.get();
  command->key = next_key_++;
  if (command->task.command->temporary_directory()) command->temporary_directory = path + ".cwd";
  const bool is_new =
      by_name_.emplace(std::pair(command->task.assignment, command->task.task), command).second;
  HAUL_CHECK(is_new);
  if (command->task.memory_bytes > 0) ++limited_by_memory_;
  commands_.emplace(command->key, std::move(added));
  return command;
}

std::size_t CommandRunner::MostAtOnce() {
  rlimit limit{};
  HAUL_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  return TasksThatFit(limit.rlim_max);
}

void CommandRunner::Start(CommandTask task) {
  waiting_.push_back(Add(std::move(task))->key);
  Pump();
}

void CommandRunner::StartAhead(CommandTask task) {
  Command* command = Add(std::move(task));
  command->state = Command::State::kAhead;
  ++ahead_count_;
  NumberStart(command);
  launcher_.LaunchAfter({command->key, command->task, command->temporary_directory});
  LookSoon();
}

void CommandRunner::StartUntil(std::int64_t monotonic_us) {
  start_until_us_ = monotonic_us;
  launcher_.FollowUntil(monotonic_us);
  Pump();
}

std::vector<TaskIndex> CommandRunner::Withdraw(AssignmentId assignment) {
  std::vector<TaskIndex> tasks;
  for (const std::uint64_t key : launcher_.Withdraw(assignment)) {
    Command* command = commands_.at(key).get();
    command->temporary_directory.clear();  // was not made, and is the task's when it starts anew
    tasks.push_back(Forget(command)->task.task);
  }
  return tasks;
}

// Hands what waits to the launcher, as far as descriptors and its queue allow.
void CommandRunner::Pump() {
  while (!waiting_.empty() && rest_timer_.number == 0 && running() < max_running_ &&
         ReadClocks().monotonic_us <= start_until_us_) {
    const auto it = commands_.find(waiting_.front());
    if (it == commands_.end()) {  // stopped before it started
      waiting_.pop_front();
      continue;
    }
    Command* command = it->second.get();
    LookSoon();
    if (!launcher_.TryLaunch({command->key, command->task, command->temporary_directory})) return;
    waiting_.pop_front();
    command->state = Command::State::kLaunching;
    NumberStart(command);
  }
}

void CommandRunner::LookSoon() {
  if (look_timer_.number != 0) return;
  look_timer_ = reactor_.AddTimer(ReadClocks().monotonic_us + kLookUs, [this] {
    look_timer_ = {};
    TakeNews();
  });
}

void CommandRunner::TakeNews() {
  const LaunchNews news = launcher_.Take(look_timer_.number != 0);
  if (!news.started.empty() || !news.ended.empty()) LookSoon();
  for (const LaunchResult& result : news.started) {
    const auto it = commands_.find(result.key);
    HAUL_CHECK(it != commands_.end());
    Command* command = it->second.get();
    if (command->state == Command::State::kAhead) --ahead_count_;
    if (result.spawned.ok()) {
      OnStarted(command, result);
    } else {
      OnStartFailed(command, result);
    }
  }
  for (const LaunchEnd& end : news.ended) OnExited(commands_.at(end.key).get(), end.at);
  Pump();
  ScheduleHousekeeping();
  ScheduleLimits();
}

void CommandRunner::OnStarted(Command* command, const LaunchResult& result) {
  command->state = Command::State::kRunning;
  command->pid = result.spawned.pid;
  command->pidfd = result.spawned.pidfd;
  command->fds = {result.output_fd, result.error_fd};
  command->started = result.started;
  command->own_peak_bytes = result.own_peak_memory_bytes;
  WatchLater(command);
  // What ended before it was stopped has ended as it did.
  if (command->stop && HasEnded(command->pid)) command->stop.reset();
  if (command->stop) return Terminate(command);
  if (command->task.timeout_ms == 0) return;
  // So far away that it never comes, rather than an overflow.
  constexpr std::uint64_t kMostTimeoutMs = std::uint64_t{1} << 50;
  const auto timeout_us =
      static_cast<std::int64_t>(std::min(command->task.timeout_ms, kMostTimeoutMs)) * 1000;
  command->timeout_timer =
      reactor_.AddTimer(result.started.monotonic_us + timeout_us, [this, command] {
        if (HasEnded(command->pid)) return;  // which is just not heard of
        RequestStop(command, Cause::kTimeout, 0,
                    "timed out after " + std::to_string(command->task.timeout_ms) + " ms");
      });
}

void CommandRunner::OnStartFailed(Command* command, const LaunchResult& result) {
  const bool alone = running() == 1;
  command->state = Command::State::kWaiting;
  Unstart(command);
  if (IsShortage(result.spawned) && !command->stop &&
      (!alone || ++command->launch_tries < kMostLaunchTries)) {
    waiting_.push_front(command->key);
    if (rest_timer_.number == 0) {
      rest_timer_ = reactor_.AddTimer(ReadClocks().monotonic_us + kRestUs, [this] {
        rest_timer_ = {};
        Pump();
      });
    }
    return;
  }
  const std::unique_ptr<Command> ended = Forget(command);
  launcher_.EndedWithoutProcess(ended->task.assignment);
  if (ended->stop) return Tell(ended->MakeEnd(ReadClocks()));
  if (result.spawned.failed_step == SpawnStep::kDirectory && ended->temporary_directory.empty()) {
    launcher_.OnEndTold(ended->task.assignment);
    return listener_.OnDirectoryMissing(ended->task, result.failure);
  }
  CommandEnd end = ended->MakeEnd(ReadClocks());
  end.outcome.status = TaskStatus::kFailed;
  end.outcome.cause = Cause::kStartFailed;
  end.outcome.code = result.spawned.error;
  end.outcome.message = result.failure;
  Tell(std::move(end));
}

void CommandRunner::Stop(AssignmentId assignment, TaskIndex task, Cause cause,
                         std::string message) {
  const auto it = by_name_.find(std::pair(assignment, task));
  if (it == by_name_.end() || it->second->stop) return;
  Command* command = it->second;
  if (command->state == Command::State::kRunning && HasEnded(command->pid)) return;
  RequestStop(command, cause, 0, std::move(message));
  if (command->state == Command::State::kWaiting) {
    TellLater(Forget(command)->MakeEnd(ReadClocks()));
  }
}

void CommandRunner::RequestStop(Command* command, Cause cause, std::int32_t code,
                                std::string message) {
  if (command->stop) return;
  command->stop = Command::StopReason{cause, code, std::move(message)};
  if (command->state == Command::State::kRunning) Terminate(command);
}

void CommandRunner::Terminate(Command* command) {
  // Its number stays its own, and its group's, until it is waited for.
  SignalTask(command->pid, SIGTERM);
  SignalTask(command->pid, SIGCONT);  // what is stopped would not see the other
  command->kill_timer =
      reactor_.AddTimer(ReadClocks().monotonic_us + options_.grace_period_ms * 1000,
                        [command] { SignalTask(command->pid, SIGKILL); });
}

// The process has ended; what is left of its group ends now, and what is in the pipes is all there
// will be.
void CommandRunner::OnExited(Command* command, const Now& at) {
  command->state = Command::State::kExited;
  ::kill(-command->pid, SIGKILL);
  FinishStreams(command);
  rusage usage{};
  int wait_status = 0;
  HAUL_CHECK(::wait4(command->pid, &wait_status, WNOHANG, &usage) == command->pid);
  ::close(command->pidfd);
  reactor_.CancelTimer(command->timeout_timer);
  reactor_.CancelTimer(command->kill_timer);
  Unstart(command);
  const std::unique_ptr<Command> ended = Forget(command);
  CommandEnd end = ended->MakeExitEnd(wait_status, usage, at);
  ScheduleScan();
  Pump();
  Tell(std::move(end));
}

void CommandRunner::NumberStart(Command* command) {
  command->start = next_start_++;
  started_.emplace(command->start, command);
}

void CommandRunner::Unstart(Command* command) { started_.erase(command->start); }

std::unique_ptr<CommandRunner::Command> CommandRunner::Forget(Command* command) {
  by_name_.erase(std::pair(command->task.assignment, command->task.task));
  const auto it = commands_.find(command->key);
  std::unique_ptr<Command> ended = std::move(it->second);
  commands_.erase(it);
  if (ended->state == Command::State::kAhead) {
    --ahead_count_;
    Unstart(ended.get());
  }
  if (ended->task.memory_bytes > 0) --limited_by_memory_;
  if (!ended->temporary_directory.empty()) {
    directories_to_remove_.push_back(ended->temporary_directory);
    ScheduleScan();
  }
  return ended;
}

void CommandRunner::Tell(CommandEnd end) {
  launcher_.OnEndTold(end.outcome.assignment);
  listener_.OnCommandEnded(std::move(end));
}

void CommandRunner::TellLater(CommandEnd end) {
  untold_.push_back(std::move(end));
  if (tell_timer_.number != 0) return;
  tell_timer_ = reactor_.AddTimer(0, [this] {
    tell_timer_ = {};
    for (CommandEnd& told : std::exchange(untold_, {})) {
      launcher_.EndedWithoutProcess(told.outcome.assignment);
      Tell(std::move(told));
    }
  });
}

bool CommandRunner::is_idle() const {
  return commands_.empty() && untold_.empty() && scan_timer_.number == 0 &&
         directories_to_remove_.empty();
}

// One scan for all that ended within the interval.
void CommandRunner::ScheduleScan() {
  if (scan_timer_.number != 0) return;
  scan_timer_ = reactor_.AddTimer(last_scan_us_ + kScanIntervalUs, [this] { Scan(); });
}

void CommandRunner::ScanOrphans() {
  last_scan_us_ = ReadClocks().monotonic_us;
  orphans_.Scan(next_start_, started_.empty() ? std::numeric_limits<std::uint64_t>::max()
                                              : started_.begin()->first);
}

void CommandRunner::Scan() {
  scan_timer_ = {};
  ScanOrphans();
  if (orphans_.is_killing()) return ScheduleScan();
  ScheduleHousekeeping();
  // Nothing of the tasks is left that could write into their directories.
  for (std::string& path : std::exchange(directories_to_remove_, {})) {
    launcher_.Remove({std::move(path)});
  }
}

void CommandRunner::ScheduleHousekeeping() {
  if (housekeeping_timer_.number != 0 || (started_.empty() && orphans_.empty())) return;
  housekeeping_timer_ =
      reactor_.AddTimer(ReadClocks().monotonic_us + kHousekeepingIntervalUs, [this] {
        housekeeping_timer_ = {};
        launcher_.LookForEnds();
        SamplePeaks();
        ScheduleScan();  // for orphans of tasks that go on, or they would stay zombies until then
        ScheduleHousekeeping();
      });
}

void CommandRunner::SamplePeaks() {
  const std::size_t count = std::min(started_.size(), kMostSamplesPerTurn);
  auto it = started_.lower_bound(next_sampled_);
  for (std::size_t i = 0; i < count; ++i, ++it) {
    if (it == started_.end()) it = started_.begin();
    Command* command = it->second;
    if (command->state != Command::State::kRunning) continue;
    command->sampled_peak_bytes =
        std::max(command->sampled_peak_bytes, PeakMemoryBytes(command->pid));
  }
  next_sampled_ = it == started_.end() ? 0 : it->first;
}

}  // namespace haul::exec
