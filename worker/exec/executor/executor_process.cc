#include "worker/exec/executor/executor_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/time.h"
#include "common/wire/convert.h"
#include "worker/exec/remove_tree.h"
#include "worker/exec/spawn.h"
#include "worker/executor/frame.h"

namespace haul::exec {
namespace {

// A frame takes no more when it holds this.
constexpr std::size_t kFrameBytes = 4u << 20;
constexpr std::size_t kFrameReadBytes = 256u << 10;
// What a reclaim or a stop may take in a frame.
constexpr std::size_t kSmallMessageBytes = 48;
constexpr std::uint32_t kProtocol = 1;

class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ExecutorProcess>> ExecutorProcess::Start(
    Reactor* reactor, ExecutorOptions options, ExecutorCallbacks callbacks) {
  absl::StatusOr<int> slots_file = executor::Slots::MakeFile();
  if (!slots_file.ok()) return slots_file.status();
  const OwnedFd slots_fd(*slots_file);
  absl::StatusOr<executor::Slots> slots = executor::Slots::Map(slots_fd.get());
  if (!slots.ok()) return slots.status();
  std::unique_ptr<ExecutorProcess> process(
      new ExecutorProcess(reactor, std::move(options), std::move(callbacks), *std::move(slots)));
  absl::Status status = process->MakeOwnDirectory();
  if (status.ok()) status = process->Spawn(slots_fd.get());
  if (status.ok()) status = process->Watch();
  if (!status.ok()) return status;
  return process;
}

ExecutorProcess::ExecutorProcess(Reactor* reactor, ExecutorOptions options,
                                 ExecutorCallbacks callbacks, executor::Slots slots)
    : reactor_(*reactor),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      slots_(std::move(slots)),
      read_buffer_(std::make_unique_for_overwrite<char[]>(kFrameReadBytes)) {}

ExecutorProcess::~ExecutorProcess() {
  reactor_.CancelTimer(ready_timer_);
  reactor_.CancelTimer(timeout_timer_);
  CloseSocket();
  if (pid_fd_ >= 0) {
    if (watched_) reactor_.Unwatch(pid_fd_);
    ::kill(-pid_, SIGKILL);
    siginfo_t info{};
    while (::waitid(P_PIDFD, static_cast<id_t>(pid_fd_), &info, WEXITED) != 0 && errno == EINTR) {
    }
    ::close(pid_fd_);
  }
  if (!own_directory_.empty()) RemoveTree(own_directory_);
}

// So that what it leaves behind, whatever ended it, is told from what it handed over.
absl::Status ExecutorProcess::MakeOwnDirectory() {
  std::string path = absl::StrCat(options_.results_directory, "/executor-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return absl::ErrnoToStatus(errno, path);
  own_directory_ = std::move(path);
  return absl::OkStatus();
}

absl::Status ExecutorProcess::Spawn(int slots_fd) {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  socket_ = sockets[0];
  const OwnedFd theirs(sockets[1]);
  if (::fcntl(socket_, F_SETFL, O_NONBLOCK) != 0) return absl::ErrnoToStatus(errno, "fcntl");

  SpawnRequest request;
  request.arguments = {
      options_.program, "--threads",      absl::StrCat(options_.threads),           "--results",
      own_directory_,   "--result-limit", absl::StrCat(options_.result_limit_bytes)};
  for (const std::string& library : options_.libraries) {
    request.arguments.push_back("--library");
    request.arguments.push_back(library);
  }
  request.environment = options_.environment;
  // What functions print goes where the worker's log goes.
  request.descriptors = {-1, STDERR_FILENO, STDERR_FILENO, theirs.get(), slots_fd};
  static_assert(executor::kControlFd == 3 && executor::kSlotsFd == 4);
  const SpawnResult spawned = exec::Spawn(request);
  if (!spawned.ok()) return absl::UnavailableError(DescribeFailure(request, spawned));
  pid_ = spawned.pid;
  pid_fd_ = spawned.pidfd;
  return absl::OkStatus();
}

absl::Status ExecutorProcess::Watch() {
  interest_ = EPOLLIN;
  if (!reactor_.Watch(socket_, interest_, [this](std::uint32_t events) { OnSocket(events); })) {
    return absl::ErrnoToStatus(errno, "epoll");
  }
  socket_watched_ = true;
  if (!reactor_.Watch(pid_fd_, EPOLLIN, [this](std::uint32_t) { OnProcessEnd(); })) {
    return absl::ErrnoToStatus(errno, "epoll");
  }
  watched_ = true;
  ready_timer_ = reactor_.AddTimer(ReadClocks().monotonic_us + options_.ready_limit_us, [this] {
    failure_ = absl::StrCat("it was not ready after ", options_.ready_limit_us / 1000, " ms");
    EndProcess();
  });
  return absl::OkStatus();
}

// --- to the executor ---

absl::Status ExecutorProcess::Run(v1::Run run) {
  const std::size_t bytes = run.ByteSizeLong() + kSmallMessageBytes;
  if (bytes > executor::kFrameLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat("a run of ", bytes, " bytes; the limit is ", executor::kFrameLimit));
  }
  if (unsent_bytes_ > 0 && unsent_bytes_ + bytes > options_.unsent_limit_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the executor has not taken ", unsent_bytes_,
                                                     " bytes; the limit is ",
                                                     options_.unsent_limit_bytes));
  }
  if (socket_ < 0) return absl::OkStatus();
  unfinished_ += run.count();
  has_time_limits_ = has_time_limits_ || run.timeout_ms() > 0;
  *FrameFor(Part::kRuns, bytes).add_runs() = std::move(run);
  Write();
  WatchTimeouts();
  return absl::OkStatus();
}

void ExecutorProcess::Reclaim(AssignmentId assignment, std::uint64_t count) {
  v1::Reclaim& reclaim = *FrameFor(Part::kReclaims, kSmallMessageBytes).add_reclaims();
  reclaim.set_assignment_id(assignment.value());
  reclaim.set_count(count);
  Write();
}

void ExecutorProcess::StopTasks(AssignmentId assignment) {
  FrameFor(Part::kStops, kSmallMessageBytes).add_stops()->set_assignment_id(assignment.value());
  Write();
}

void ExecutorProcess::StopTasks(AssignmentId assignment, TaskRange tasks) {
  v1::StopTasks& stop = *FrameFor(Part::kStops, kSmallMessageBytes).add_stops();
  stop.set_assignment_id(assignment.value());
  stop.set_first(tasks.first);
  stop.set_count(tasks.count);
  Write();
}

void ExecutorProcess::Answer(v1::ChildAnswer answer) {
  std::size_t bytes = answer.ByteSizeLong() + kSmallMessageBytes;
  if (bytes > executor::kFrameLimit) {
    answer.set_status(v1::ChildAnswer::STATUS_FAILED);
    answer.set_data(absl::StrCat("a result of ", answer.data().size(),
                                 " bytes is more than a task can take: the limit is ",
                                 executor::kFrameLimit));
    bytes = answer.ByteSizeLong() + kSmallMessageBytes;
  }
  *FrameFor(Part::kAnswers, bytes).add_answers() = std::move(answer);
  Write();
}

void ExecutorProcess::Resume(AssignmentId assignment, TaskIndex task) {
  v1::TaskRef& resumed = *FrameFor(Part::kResumed, kSmallMessageBytes).add_resumed();
  resumed.set_assignment_id(assignment.value());
  resumed.set_task(task);
  Write();
}

void ExecutorProcess::Kill() {
  asked_ = true;
  EndProcess();
}

// With what it may have started itself and left in its group.
void ExecutorProcess::EndProcess() {
  if (pid_fd_ >= 0) ::kill(-pid_, SIGKILL);
}

// The frame that is written next, or a new one where that one is full or a part before this one
// would be handled too early.
v1::ToExecutor& ExecutorProcess::FrameFor(Part part, std::size_t bytes) {
  if (waiting_.empty() || waiting_.back().last > part ||
      waiting_.back().bytes + bytes > std::max(kFrameBytes, bytes)) {
    waiting_.emplace_back();
  }
  OutgoingFrame& frame = waiting_.back();
  frame.last = part;
  frame.bytes += bytes;
  unsent_bytes_ += bytes;
  return frame.message;
}

void ExecutorProcess::Write() {
  while (socket_ >= 0) {
    if (written_ == writing_.size()) {
      unsent_bytes_ -= std::exchange(writing_bytes_, 0);
      writing_.clear();
      written_ = 0;
      if (waiting_.empty()) break;
      writing_ = executor::EncodeFrame(waiting_.front().message);
      writing_bytes_ = waiting_.front().bytes;
      waiting_.pop_front();
    }
    const ssize_t count =
        ::send(socket_, writing_.data() + written_, writing_.size() - written_, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      // It has ended, or closed its side: what it said before is still to be read, and its end
      // follows.
      return DropUnsent();
    }
    written_ += static_cast<std::size_t>(count);
  }
  if (socket_ < 0) return DropUnsent();
  UpdateInterest();
}

void ExecutorProcess::DropUnsent() {
  waiting_.clear();
  writing_.clear();
  written_ = 0;
  writing_bytes_ = 0;
  unsent_bytes_ = 0;
  if (socket_ >= 0) UpdateInterest();
}

void ExecutorProcess::UpdateInterest() {
  if (socket_ < 0) return;
  const std::uint32_t interest = EPOLLIN | (writing_.empty() ? 0u : EPOLLOUT);
  if (interest == interest_) return;
  interest_ = interest;
  reactor_.Modify(socket_, interest);
}

// --- from the executor ---

void ExecutorProcess::OnSocket(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) Write();
  if (socket_ < 0 || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (!Read(kTurnBytes)) {
    CloseSocket();
    // Without its socket it is of no use; mostly it is dying already.
    EndProcess();
  }
}

bool ExecutorProcess::Read(std::size_t limit) {
  for (std::size_t total = 0; total < limit;) {
    const ssize_t count = ::recv(socket_, read_buffer_.get(), kFrameReadBytes, 0);
    if (count == 0) return false;
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    const auto size = static_cast<std::size_t>(count);
    total += size;
    HandleFrames({read_buffer_.get(), size});
    if (socket_ < 0 || malformed_) return true;
  }
  return true;
}

void ExecutorProcess::CloseSocket() {
  if (socket_ < 0) return;
  if (socket_watched_) reactor_.Unwatch(socket_);
  ::close(socket_);
  socket_ = -1;
  DropUnsent();
}

// What is no whole frame yet waits for the rest of it.
void ExecutorProcess::HandleFrames(std::string_view received) {
  const bool is_rest = !incoming_.empty();
  if (is_rest) incoming_.append(received);
  std::string_view rest = is_rest ? incoming_ : received;
  while (!malformed_) {
    v1::FromExecutor message;
    const absl::StatusOr<bool> is_whole = executor::TakeFrame(&rest, &message);
    if (!is_whole.ok()) return Malformed(std::string(is_whole.status().message()));
    if (!*is_whole) break;
    HandleMessage(message);
  }
  if (malformed_) return;
  if (is_rest) {
    incoming_.erase(0, incoming_.size() - rest.size());
  } else {
    incoming_ = rest;
  }
}

void ExecutorProcess::HandleMessage(v1::FromExecutor& message) {
  if (message.has_ready()) HandleReady(message.ready());
  for (v1::ExecutorOutcomes& group : *message.mutable_outcomes()) {
    HandleOutcomes(group);
    if (malformed_) return;
  }
  for (const v1::Reclaimed& reclaimed : message.reclaimed()) {
    if (reclaimed.count() > unfinished_) return Malformed("it gives back more than it has");
    unfinished_ -= reclaimed.count();
    callbacks_.on_reclaimed(AssignmentId(reclaimed.assignment_id()),
                            {reclaimed.first(), reclaimed.count()});
  }
  for (v1::ChildCall& call : *message.mutable_calls()) callbacks_.on_call(std::move(call));
  for (const v1::TaskRef& task : message.waiting()) {
    callbacks_.on_waiting(AssignmentId(task.assignment_id()), task.task());
  }
  for (const v1::TaskRef& task : message.resumable()) {
    callbacks_.on_resumable(AssignmentId(task.assignment_id()), task.task());
  }
}

void ExecutorProcess::HandleReady(const v1::Ready& ready) {
  reactor_.CancelTimer(ready_timer_);
  if (!ready.error().empty()) {
    failure_ = ready.error();
    return;
  }
  if (ready.protocol() != kProtocol) {
    failure_ = absl::StrCat("it speaks version ", ready.protocol(), " of the protocol, the worker ",
                            kProtocol);
    EndProcess();
    return;
  }
  ready_ = true;
  callbacks_.on_ready({ready.functions().begin(), ready.functions().end()});
}

void ExecutorProcess::HandleOutcomes(v1::ExecutorOutcomes& group) {
  const AssignmentId assignment(group.assignment_id());
  std::vector<Outcome> outcomes;
  for (v1::Outcome& wire : *group.mutable_outcomes()) {
    absl::StatusOr<Outcome> outcome = TakeOutcome(assignment, std::move(wire));
    if (!outcome.ok()) {
      // Nobody else knows of the files that those before it had.
      for (const Outcome& taken : outcomes) {
        if (!taken.output_file.empty()) ::unlink(taken.output_file.c_str());
      }
      return Malformed(std::string(outcome.status().message()));
    }
    outcomes.push_back(*std::move(outcome));
  }
  callbacks_.on_outcomes(assignment, std::move(outcomes));
}

absl::StatusOr<Outcome> ExecutorProcess::TakeOutcome(AssignmentId assignment, v1::Outcome wire) {
  absl::StatusOr<Outcome> outcome = wire::FromWire(std::move(wire));
  if (!outcome.ok()) return outcome.status();
  const TaskRange tasks = outcome->tasks;
  if (tasks.count > unfinished_) return absl::InvalidArgumentError("it reports more than it has");
  outcome->assignment = assignment;
  if (!outcome->output_file.empty()) {
    const absl::Status taken = TakeResultFile(&*outcome);
    if (!taken.ok()) return taken;
  }
  unfinished_ -= tasks.count;
  stopping_.erase(stopping_.lower_bound({assignment, tasks.first}),
                  stopping_.lower_bound({assignment, tasks.end()}));
  return outcome;
}

// Out of its directory, under a name that no other executor's has.
absl::Status ExecutorProcess::TakeResultFile(Outcome* outcome) {
  const std::string name = std::move(outcome->output_file);
  if (outcome->tasks.count != 1 || absl::StrContains(name, '/')) {
    return absl::InvalidArgumentError("the file of a result");
  }
  outcome->output_file = absl::StrCat(own_directory_, "-", name);
  const std::string from = absl::StrCat(own_directory_, "/", name);
  if (::rename(from.c_str(), outcome->output_file.c_str()) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(from, ": ", ::strerrordesc_np(errno)));
}

// User code shares its memory, so anything may come. None of it is to be believed any more.
void ExecutorProcess::Malformed(const std::string& what) {
  malformed_ = true;
  if (failure_.empty()) failure_ = absl::StrCat("what it said is malformed: ", what);
  incoming_.clear();
  EndProcess();
}

// --- time limits ---

void ExecutorProcess::WatchTimeouts() {
  if (watching_timeouts_ || !has_time_limits_ || unfinished_ == 0) return;
  watching_timeouts_ = true;
  timeout_timer_ = reactor_.AddTimer(ReadClocks().monotonic_us + options_.timeout_poll_us, [this] {
    watching_timeouts_ = false;
    CheckTimeouts();
    WatchTimeouts();
  });
}

void ExecutorProcess::CheckTimeouts() {
  const std::int64_t now_us = ReadClocks().monotonic_us;
  for (const executor::SlotReading& slot : Running()) {
    if (slot.deadline_us == 0 || slot.deadline_us > now_us) continue;
    const TaskKey key{slot.assignment, slot.task};
    const auto [it, is_new] = stopping_.try_emplace(key, now_us + options_.timeout_grace_us);
    if (is_new) {
      v1::StopTasks& stop = *FrameFor(Part::kStops, kSmallMessageBytes).add_stops();
      stop.set_assignment_id(key.assignment.value());
      stop.set_first(key.task);
      stop.set_count(1);
      stop.set_timed_out(true);
    } else if (it->second <= now_us) {
      killed_for_.insert(key);
    }
  }
  Write();
  if (killed_for_.empty()) return;
  failure_ = "a task was over its time and did not stop when asked";
  EndProcess();
}

}  // namespace haul::exec
