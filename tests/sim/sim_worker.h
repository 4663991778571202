// A simulated worker process: the worker's real core, and around it what worker/loop does, in
// simulated time: events one by one, effects at once, whatever gathered in a turn in one message
// when the stream takes it. What runs is a Machine; the connection is the network's. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/machine.h"
#include "tests/sim/messages.h"
#include "tests/sim/timeline.h"
#include "worker/core/core.h"

namespace haul::sim {

class SimWorker {
 public:
  enum class Uploaded : std::uint8_t { kYes, kRefused, kTryAgain };
  struct Wiring {
    std::function<void(SessionId, WorkerMessage)> send;
    std::function<const JobTraits*(JobId)> traits;
    std::function<Uploaded(AssignmentId, JobId, TaskIndex)> upload;
    std::function<void()> ended;  // by itself; with a goodbye where it could
    std::function<bool()> faults;
    std::function<void(const coordinator::ParentTask&, std::function<void()> answered)> call;
  };
  struct Options {
    ProcessId process;
    std::string name;
    std::uint32_t processes = 1;
    std::uint32_t threads = 1;
    std::int64_t heartbeat_us = 0;
    std::int64_t clock_offset_us = 0;  // of its monotonic clock
  };
  SimWorker(Timeline& timeline, Checkers& checkers, const Options& options, Wiring wiring);

  bool alive() const { return alive_; }
  bool connected() const { return !session_.is_none(); }
  bool attached() const { return attached_; }  // it has executors, and so something to say
  SessionId session() const { return session_; }
  ProcessId process() const { return options_.process; }
  const std::string& name() const { return options_.name; }
  std::string incarnation() const;
  std::uint64_t cpus_milli() const { return core_.capacity_milli(); }
  const worker::Core& core() const { return core_; }
  Machine& machine() { return machine_; }

  void Connect(SessionId session);  // says hello
  void Disconnect();
  void Receive(const CoordinatorMessage& message);
  void Refuse();  // another worker has its name

  // ---- faults ----
  void Die();
  // SIGSTOP and, so much later, SIGCONT: what comes meanwhile waits.
  void Freeze(std::int64_t duration_us);
  void Thaw();
  bool frozen() const { return timeline_.now_us() < frozen_until_us_; }
  void Drain(std::int64_t deadline_us);  // SIGTERM; 0: without a deadline
  // Sends a batch again that was said already, perhaps long ago.
  void Repeat();

 private:
  struct Staged {
    AssignmentId assignment;
    coordinator::OutcomeHeader header;
  };

  void Start();
  void Beat();
  // Now, or when it is no longer frozen; and the end of the turn.
  void Turn(std::function<void()> work);
  void RunDeferred();
  void Step(const worker::Event& event, const coordinator::OutcomeHeader& header = {});
  void FinishTurn();
  void PlanDeadline();
  void Leave();
  void Take(const coordinator::SendAssignment& assignment);
  Now Clocks() const;

  void Do(const worker::StartRun& effect);
  void Do(const worker::WithdrawCommands& effect);
  void Do(const worker::KillCommands& effect);
  void Do(const worker::ReportBlocked& effect);
  void Do(const worker::KeepOutcome& effect);
  void Do(const worker::UploadOutput& effect);
  void Do(const worker::RecordOutcome& effect);
  void Do(const worker::SealBatch& effect);
  void Do(const worker::SendBatch& effect);
  void Do(const worker::ForgetBatches& effect);
  void Do(const worker::VoidBatch& effect);
  void Do(const worker::SendHandedBack& effect);
  void Do(const worker::ForgetAssignment& effect);
  void Do(const worker::SayDraining& effect);
  void Do(const worker::Leave& effect);
  template <typename OfTheMachine>
  void Do(const OfTheMachine& effect) {
    machine_.Do(effect);
  }
  void TryUpload(AssignmentId assignment, TaskIndex task, std::uint64_t upload);

  Timeline& timeline_;
  Checkers& checkers_;
  const Options options_;
  const Wiring wiring_;
  worker::Core core_;
  Machine machine_;

  bool alive_ = true;
  bool attached_ = false;
  bool welcome_ = false;
  bool was_member_ = false;
  bool writable_ = true;
  bool leaving_ = false;
  SessionId session_;
  std::int64_t frozen_until_us_ = 0;
  std::deque<std::function<void()>> deferred_;
  std::int64_t planned_deadline_us_ = 0;
  std::uint64_t plan_ = 0;

  WorkerMessage outbox_;
  bool outbox_used_ = false;
  std::map<AssignmentId, JobId> jobs_;
  std::set<JobId> specs_;
  std::map<AssignmentId, std::deque<coordinator::OutcomeHeader>> unsealed_;
  std::map<std::uint64_t, coordinator::TasksFinished> batches_;
  std::vector<coordinator::TasksFinished> said_;

  // Of the step in hand; steps asked for meanwhile come after it.
  bool stepping_ = false;
  coordinator::OutcomeHeader staged_;
  std::deque<std::pair<worker::Event, coordinator::OutcomeHeader>> later_;
  std::uint64_t last_upload_ = 0;
  struct Upload {
    std::uint64_t number = 0;
    coordinator::OutcomeHeader header;
  };
  std::map<std::pair<AssignmentId, TaskIndex>, Upload> uploads_;
};

}  // namespace haul::sim
