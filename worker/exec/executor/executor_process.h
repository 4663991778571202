// The worker's side of one executor process: starts it, speaks with it, learns how it ended.
//
// Belongs to the thread that drives the reactor, which outlives it; every callback comes on that
// thread from within the reactor's turn, and may call any method. Only OnDied may destroy the
// object.
//
// The process is reaped here, by its pidfd: nobody else may wait for it (no waitpid(-1)). That
// thread must live as long as the process: the kernel kills the executor when the thread that
// started it ends.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "haul/v1/executor.pb.h"
#include "worker/exec/reactor.h"
#include "worker/executor/slots.h"

namespace haul::exec {

struct ExecutorOptions {
  std::string program;                   // the path of haul-executor
  std::vector<std::string> libraries;    // paths
  std::vector<std::string> environment;  // "NAME=value": see InheritedEnvironment
  std::uint32_t threads = 1;
  std::uint64_t result_limit_bytes = std::uint64_t{1} << 30;  // over it a task fails
  std::string results_directory;               // where results over 64 KiB become files; it exists
  std::size_t unsent_limit_bytes = 64u << 20;  // what may wait to be written to the executor
  std::int64_t ready_limit_us = 30'000'000;    // it is ready by then, or killed
  std::int64_t timeout_poll_us = 20'000;       // how late a task's time limit is noticed, at most
  std::int64_t timeout_grace_us =
      2'000'000;  // between asking such a task to stop and killing the executor
};

// A task that the executor was running when it died.
struct ExecutorSuspect {
  AssignmentId assignment;
  TaskIndex task = 0;
  bool culprit = false;    // it took the signal, called exit(), was over its time, or ran alone
  bool timed_out = false;  // the executor was killed for its sake
};

struct ExecutorDeath {
  pid_t pid = 0;
  // kSignal (`code` is the signal), kExecutorExit (`code` is the exit code), or kTimeout.
  Cause cause = Cause::kSignal;
  std::int32_t code = 0;
  bool was_ready = false;
  bool asked = false;   // by Kill
  std::string message;  // for people: how it ended, and why it was not ready
  std::vector<ExecutorSuspect> suspects;
};

struct ExecutorCallbacks {
  // Once, first. Refused libraries are no OnReady but an OnDied with their message.
  std::function<void(const std::vector<v1::FunctionInfo>& functions)> on_ready;
  // Of one assignment, each with `pid` and `attempt` set. An `output_file` is the path of a file,
  // which the receiver removes.
  std::function<void(AssignmentId assignment, std::vector<Outcome> outcomes)> on_outcomes;
  // `tasks` may be empty, as the answer to Reclaim: everything has started.
  std::function<void(AssignmentId assignment, TaskRange tasks)> on_reclaimed;
  // A task calls a function as a task of its own; it waits for an answer; the answer is there. They
  // may be none of the tasks that it runs.
  std::function<void(v1::ChildCall call)> on_call;
  std::function<void(AssignmentId assignment, TaskIndex task)> on_waiting;
  std::function<void(AssignmentId assignment, TaskIndex task)> on_resumable;
  // Once, last, after all outcomes that it had written.
  std::function<void(const ExecutorDeath& death)> on_died;
};

class ExecutorProcess {
 public:
  static absl::StatusOr<std::unique_ptr<ExecutorProcess>> Start(Reactor* reactor,
                                                                ExecutorOptions options,
                                                                ExecutorCallbacks callbacks);
  // Kills a process that still lives, and waits for it.
  ~ExecutorProcess();
  ExecutorProcess(const ExecutorProcess&) = delete;
  ExecutorProcess& operator=(const ExecutorProcess&) = delete;

  // Before it is ready all of these wait; after its death they do nothing. What waits is written as
  // few frames, in order. RESOURCE_EXHAUSTED if more than unsent_limit_bytes wait: nothing was
  // done.
  absl::Status Run(v1::Run run);
  void Reclaim(AssignmentId assignment, std::uint64_t count);
  void StopTasks(AssignmentId assignment);                   // all
  void StopTasks(AssignmentId assignment, TaskRange tasks);  // at least one
  // One of more than some 60 MiB is replaced by why it cannot be had.
  void Answer(v1::ChildAnswer answer);
  void Resume(AssignmentId assignment, TaskIndex task);
  // It ends at once; OnDied follows.
  void Kill();

  pid_t pid() const { return pid_; }
  bool ready() const { return ready_; }
  std::size_t unsent_bytes() const { return unsent_bytes_; }
  // Tasks that were handed over and have neither ended nor come back.
  std::uint64_t unfinished() const { return unfinished_; }
  // What its threads run now, or ran when it died.
  std::vector<executor::SlotReading> Running() const;

 private:
  // Read in one turn, so that others get theirs.
  static constexpr std::size_t kTurnBytes = 4u << 20;

  struct TaskKey {
    AssignmentId assignment;
    TaskIndex task = 0;
    friend auto operator<=>(const TaskKey&, const TaskKey&) = default;
  };
  // What goes into a frame: the executor handles runs, then reclaims, then stops, and so on.
  enum class Part : std::uint8_t { kRuns, kReclaims, kStops, kAnswers, kResumed };

  ExecutorProcess(Reactor* reactor, ExecutorOptions options, ExecutorCallbacks callbacks,
                  executor::Slots slots);
  absl::Status MakeOwnDirectory();
  absl::Status Spawn(int slots_fd);
  absl::Status Watch();

  v1::ToExecutor& FrameFor(Part part, std::size_t bytes);
  void Write();
  void DropUnsent();
  void UpdateInterest();
  void EndProcess();
  void OnSocket(std::uint32_t events);
  // Up to `limit` bytes; false at the stream's end.
  bool Read(std::size_t limit);
  void CloseSocket();
  void HandleFrames(std::string_view received);
  void HandleMessage(v1::FromExecutor& message);
  void HandleReady(const v1::Ready& ready);
  void HandleOutcomes(v1::ExecutorOutcomes& group);
  absl::StatusOr<Outcome> TakeOutcome(AssignmentId assignment, v1::Outcome wire);
  absl::Status TakeResultFile(Outcome* outcome);
  void Malformed(const std::string& what);

  void WatchTimeouts();
  void CheckTimeouts();

  void OnProcessEnd();
  void ReadRest();
  ExecutorDeath DescribeDeath(int code, int status) const;
  void NameSuspects(ExecutorDeath* death) const;

  Reactor& reactor_;
  const ExecutorOptions options_;
  const ExecutorCallbacks callbacks_;
  executor::Slots slots_;
  std::string own_directory_;  // where it writes results; removed at its end

  pid_t pid_ = 0;
  int pid_fd_ = -1;       // -1 after its death
  int socket_ = -1;       // -1 after the stream's end
  bool watched_ = false;  // pid_fd_
  bool socket_watched_ = false;
  bool ready_ = false;
  bool asked_ = false;
  bool malformed_ = false;
  std::string failure_;  // why it was killed, or was not ready
  TimerId ready_timer_;

  struct OutgoingFrame {
    v1::ToExecutor message;
    Part last = Part::kRuns;
    std::size_t bytes = 0;
  };
  std::deque<OutgoingFrame> waiting_;
  std::string writing_;  // a frame, of which written_ bytes are gone
  std::size_t written_ = 0;
  std::size_t writing_bytes_ = 0;  // what it counts in unsent_bytes_
  std::size_t unsent_bytes_ = 0;
  std::unique_ptr<char[]> read_buffer_;
  std::string incoming_;  // the beginning of a frame
  std::uint32_t interest_ = 0;

  std::uint64_t unfinished_ = 0;
  bool has_time_limits_ = false;
  bool watching_timeouts_ = false;
  TimerId timeout_timer_;
  absl::btree_map<TaskKey, std::int64_t> stopping_;  // over its time -> when the executor is killed
  absl::btree_set<TaskKey> killed_for_;
};

}  // namespace haul::exec
