// The one thread of a worker that decides: it owns the core, turns what the command runner, the
// executors and the session tell into events, and carries out the effects. Payloads stay here,
// beside the core.
//
// Construction, Run() and the listeners' methods are all on one thread, which also owns the
// reactor. Reactor, session, executors and calls must outlive it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "common/outcome.h"
#include "haul/v1/session.pb.h"
#include "worker/core/core.h"
#include "worker/exec/command/command_runner.h"
#include "worker/exec/reactor.h"
#include "worker/loop/child_call_port.h"
#include "worker/loop/executor_port.h"
#include "worker/loop/payloads.h"
#include "worker/loop/session_port.h"

namespace haul::worker {

struct LoopOptions {
  // What the hello says, but for what is held.
  v1::Hello hello;
  CoreOptions core;
  exec::CommandRunner::Options commands;
};

// How a worker ended.
struct WorkerEnd {
  enum class Why : std::uint8_t {
    kLeft,         // drained or stopped, and said goodbye where it could
    kRefused,      // by the coordinator
    kNoExecutors,  // they do not start: mostly a library of functions that cannot be loaded
  };
  Why why = Why::kLeft;
  std::string message;
};

class WorkerLoop final : public SessionListener,
                         public ExecutorListener,
                         public ChildCallListener,
                         public exec::CommandListener {
 public:
  // Fails where the directory for tasks cannot be made.
  static absl::StatusOr<std::unique_ptr<WorkerLoop>> Create(exec::Reactor& reactor,
                                                            SessionPort& session,
                                                            ExecutorPort& executors,
                                                            ChildCallPort& calls,
                                                            const LoopOptions& options);
  ~WorkerLoop() override;
  WorkerLoop(const WorkerLoop&) = delete;
  WorkerLoop& operator=(const WorkerLoop&) = delete;

  // Until the worker has left.
  WorkerEnd Run();

  // From within the reactor's turn, or before Run().
  // Finish what runs, deliver, leave; after the deadline (0: none) as Stop().
  void Drain(std::uint64_t deadline_ms = 0);
  void Stop();  // kill what runs, hand everything back, leave

  const Core& core() const { return core_; }

 private:
  WorkerLoop(exec::Reactor& reactor, SessionPort& session, ExecutorPort& executors,
             ChildCallPort& calls, const LoopOptions& options);

  // An outcome whose large outputs are on their way.
  struct AwaitedOutcome {
    AssignmentId assignment;
    Outcome outcome;
    std::vector<std::string> paths;  // files to remove at the end
    int uploads = 0;                 // not over
  };
  struct StagedOutcome {
    Outcome outcome;
    JobId job;
    std::string output_path;
    std::string error_path;
  };

  // SessionListener
  void OnConnecting(v1::Hello* hello) override;
  void OnMessage(v1::CoordinatorMessage message) override;
  void OnDisconnected() override;
  void OnWritable() override {}  // the turn's end writes
  void OnUploaded(std::uint64_t id, absl::StatusOr<std::string> file) override;
  void OnRefused(absl::Status status) override;
  void OnClosed() override;
  // exec::CommandListener
  void OnCommandEnded(exec::CommandEnd end) override;
  void OnDirectoryMissing(const exec::CommandTask& task, const std::string& message) override;
  bool IsOwnChild(pid_t pid) override { return executors_.IsExecutor(pid); }
  bool ExecutorRuns(std::uint64_t number) override { return executors_.Runs(ExecutorId(number)); }
  // ExecutorListener
  void OnExecutorReady(ExecutorId id, const std::vector<v1::FunctionInfo>& functions) override;
  void OnExecutorOutcome(ExecutorId id, AssignmentId assignment, Outcome outcome) override;
  void OnExecutorReclaimed(ExecutorId id, AssignmentId assignment, TaskRange tasks) override;
  void OnExecutorCall(ExecutorId id, v1::ChildCall call) override;
  void OnExecutorWaiting(ExecutorId id, AssignmentId assignment, TaskIndex task) override;
  void OnExecutorResumable(ExecutorId id, AssignmentId assignment, TaskIndex task) override;
  void OnExecutorDied(ExecutorDied death) override;
  // ChildCallListener
  void OnChildAnswer(ExecutorId executor, v1::ChildAnswer answer) override;

  // Handles the event, and what its effects cause, completely.
  void Step(Event event, std::optional<StagedOutcome> staged = std::nullopt);
  void Do(const StartCommand& effect);
  void Do(const AdvanceCommands& effect);
  void Do(const WithdrawCommands& effect);
  void Do(const StopCommand& effect);
  void Do(const KillCommands& effect);
  void Do(const StartExecutor& effect);
  void Do(const EndExecutor& effect);
  void Do(const StartRun& effect);
  void Do(const ReclaimRun& effect);
  void Do(const StopRun& effect);
  void Do(const StopTasks& effect);
  void Do(const ResumeTask& effect);
  void Do(const ReportBlocked& effect);
  void Do(const KeepOutcome& effect);
  void Do(const UploadOutput& effect);
  void Do(const RecordOutcome& effect);
  void Do(const SealBatch& effect);
  void Do(const SendBatch& effect);
  void Do(const ForgetBatches& effect);
  void Do(const VoidBatch& effect);
  void Do(const SendHandedBack& effect);
  void Do(const ForgetAssignment& effect);
  void Do(const SayDraining& effect);
  void Do(const Leave& effect);

  void TakeAssignment(v1::Assignment&& message);
  void LookAtProgress();
  void AttachWhenReady();
  void StartUpload(std::uint64_t outcome, const StagedOutcome& staged, bool error_output);
  void SayLease();
  void FinishTurn();

  exec::Reactor& reactor_;
  SessionPort& session_;
  ExecutorPort& executors_;
  ChildCallPort& calls_;
  const LoopOptions options_;
  Core core_;
  Payloads payloads_;
  std::unique_ptr<exec::CommandRunner> runner_;
  std::vector<v1::FunctionInfo> functions_;

  v1::WorkerMessage outbox_;
  bool outbox_used_ = false;
  bool attached_ = false;
  bool welcome_ = false;
  std::uint64_t worker_id_ = 0;  // of the last welcome
  bool leaving_ = false;
  bool closing_ = false;
  std::optional<WorkerEnd> end_;

  // Of the step in hand; steps asked for meanwhile come after it.
  bool stepping_ = false;
  std::optional<StagedOutcome> staged_;
  std::deque<std::pair<Event, std::optional<StagedOutcome>>> later_;

  absl::btree_map<std::pair<AssignmentId, TaskIndex>, std::uint32_t> said_progress_;
  std::int64_t said_lease_end_us_ = 0;

  std::uint64_t last_id_ = 0;  // of awaited outcomes and uploads
  absl::btree_map<std::uint64_t, AwaitedOutcome> awaited_;
  struct UploadOf {
    std::uint64_t outcome = 0;
    bool error_output = false;
  };
  absl::btree_map<std::uint64_t, UploadOf> uploads_;
};

}  // namespace haul::worker
