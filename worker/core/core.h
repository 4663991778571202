// The worker's decisions: which assignments it holds, what may start now, and what is owed back.
//
// Pure: no I/O, no clock, no threads; the same events at the same times give the same effects. The
// shell (worker/loop) owns it, carries out the effects in their order, and keeps the payloads:
// inputs and outcomes pass beside the core. Each event is handled completely, so effects may be
// carried out at once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/time.h"
#include "worker/core/effects.h"
#include "worker/core/events.h"
#include "worker/core/state.h"

namespace haul::worker {

struct CoreOptions {
  std::uint32_t processes = 1;                // executors
  std::uint32_t threads = 1;                  // of each
  bool serves_functions = false;              // otherwise no executor is started
  std::size_t owed_byte_limit = 64u << 20;    // past it nothing new is started
  std::uint64_t uploading_limit = 64;         // likewise, tasks with large outputs on their way
  std::size_t message_byte_limit = 1u << 20;  // of outcomes in one message
  // Commands that may wait where they are started, so that the next of a job does not wait for this
  // core when one ends: what all places together start until the core hears of it.
  std::size_t commands_ahead_limit = 32;
  std::size_t command_limit = 1'000'000;  // processes of commands at once
  // While there is more to start, outcomes wait so long after a message for company: a message, and
  // the coordinator's commit, cost more than what one short task brings.
  std::int64_t gather_us = 20'000;
  std::int64_t stop_grace_us = 5'000'000;  // for functions that were asked to stop
  // Executors for one task at a time: most of them, and how long one waits for its next task.
  std::size_t process_limit = 256;
  std::int64_t process_idle_us = 10'000'000;
  std::int64_t backoff_min_us = 100'000;  // of executors that die before they are ready
  std::int64_t backoff_max_us = 5'000'000;
};

// A hello's line: everything the worker still answers for.
struct HeldLine {
  AssignmentId assignment;
  JobId job;
  std::uint32_t width = 1;
  std::vector<TaskRange> tasks;
  bool alone = false;
  std::uint64_t blocked = 0;
};

class Core {
 public:
  explicit Core(const CoreOptions& options);

  std::vector<Effect> Step(const Event& event, Now now);

  // When TimePassed is due, if nothing else happens before; monotonic.
  std::optional<std::int64_t> NextDeadlineUs() const;
  // A SendSlotFree would send something, and it is worth a message.
  bool WantsToSend() const;
  // A SendSlotFree would send something.
  bool HasUnsent() const { return state_.owed.HasUnsent(); }
  std::vector<HeldLine> Held() const;
  bool draining() const { return state_.draining; }
  // Until when it starts anything, if nothing is heard before; monotonic.
  std::int64_t lease_end_us() const { return state_.last_heard_us + state_.lease_us; }
  std::uint64_t capacity_milli() const { return capacity_milli_; }
  // Executors that are ready, of those that serve many tasks at once.
  std::size_t ready_executor_count() const;

  // Ends the process where the state contradicts itself. For tests: its cost is that of the whole
  // state.
  void CheckInvariants() const;
  const State& state() const { return state_; }

 private:
  enum class Progress : std::uint8_t { kDone, kNoRoom };

  void On(const Started&);
  void On(const Welcomed&);
  void On(const CoordinatorHeard&);
  void On(const AssignmentReceived&);
  void On(const RevokeReceived&);
  void On(const CancelReceived&);
  void On(const BatchesDurable&);
  void On(const DrainRequested&);
  void On(const StopRequested&);
  void On(const DepartReceived&);
  void On(const Disconnected&);
  void On(const SendSlotFree&);
  void On(const OutcomeArrived&);
  void On(const OutputUploaded&);
  void On(const DirectoryMissing&);
  void On(const CommandsWithdrawn&);
  void On(const TasksReclaimed&);
  void On(const TaskBlocked&);
  void On(const ResumeAsked&);
  void On(const ExecutorReady&);
  void On(const ExecutorDied&);
  void On(const TimePassed&);
  void Heard() { state_.last_heard_us = now_.monotonic_us; }

  // assignments.cc: what is held and what is answered.
  void Drain(std::int64_t deadline_us = 0);
  bool IsAbandoned(AssignmentId id) const;
  void Drop(AssignmentId id);
  void StopRunsOf(AssignmentId id, bool abandon);
  void StopSome(AssignmentId id, const IntervalSet& tasks, const std::string& by);
  // What becomes of pending tasks that will not run here, and whether the rest may start.
  void Settle(AssignmentId id);
  void AnswerRevokes(AssignmentId id, HeldAssignment& assignment);
  bool ReclaimForRevoke(AssignmentId id, std::uint64_t count);
  void HandBack(AssignmentId id, HeldAssignment& assignment, const IntervalSet& tasks,
                HandBackReason reason, const std::string& message);
  void Keep(AssignmentId id, TaskRange tasks, TaskStatus status, std::size_t byte_count);
  void Record(AssignmentId id, Outcome outcome);
  void RecordAll(AssignmentId id, const IntervalSet& tasks, TaskStatus status, Cause cause,
                 const std::string& message);
  IntervalSet MayHaveStarted(AssignmentId id, const IntervalSet& tasks) const;
  void ForgetIfAnswered(AssignmentId id);
  void LeaveIfDone();

  // executors.cc: executor processes and the runs in them.
  void StartSharedExecutor(std::size_t slot);
  ExecutorId NewExecutor(bool alone, std::size_t slot);
  void End(ExecutorId id, ExecutorState& executor);
  void Reclaim(ExecutorId id, AssignmentId assignment, Run& run, std::uint64_t count);
  void StopRunOf(ExecutorId id, AssignmentId assignment, Run& run);
  bool FunctionsEnded(ExecutorId executor, AssignmentId assignment, TaskRange tasks);
  void RemoveUnfinished(ExecutorId id, AssignmentId assignment, Run& run, TaskRange tasks);
  void ReportSuspect(const ExecutorDied& event, const Suspect& suspect, Run& run);
  std::vector<Suspect> Unreported(const ExecutorState& executor) const;
  std::vector<AssignmentId> TakeBackRuns(ExecutorId executor_id, ExecutorState& executor);
  void BackOff(ExecutorSlot& slot);
  void SetReserved(ExecutorState& executor, Run& run, std::uint64_t reserved);
  void EraseRunIfDone(ExecutorId executor, AssignmentId assignment);
  bool RunsOneAtATime(const HeldAssignment& assignment) const {
    return assignment.alone || assignment.own_process;
  }
  std::optional<ExecutorId> ExecutorForOne(AssignmentId id, const HeldAssignment& assignment);
  void StartTheOne(ExecutorId id, ExecutorState& executor);
  void Reserve(JobId job, std::uint64_t count, std::uint64_t cpus_milli);
  void Release(JobId job, std::uint64_t count, std::uint64_t cpus_milli);

  // commands.cc: what is started as a process of its own.
  Progress StartCommands(AssignmentId id, HeldAssignment& assignment, bool may_go_ahead);
  void Start(AssignmentId id, HeldAssignment& assignment, bool ahead);
  void GiveAhead(AssignmentId id, HeldAssignment& assignment);
  bool CommandEnded(AssignmentId assignment, TaskIndex task);
  void TakePlace(AssignmentId id);
  void Withdraw(AssignmentId id, CommandsAhead& ahead);
  void WithdrawOf(AssignmentId id);
  void WithdrawAll();
  void StopCommandsOf(AssignmentId id, bool abandon, const std::string& by);
  void KillAllCommands();

  // blocking.cc: tasks that wait for what they submitted.
  Run* FindRunning(ExecutorId executor, AssignmentId assignment, TaskIndex task);
  void ChangeBlocked(ExecutorState& executor, Run& run, const IntervalSet& blocked);
  void Unblock(ExecutorId id, AssignmentId assignment, Run& run, const IntervalSet& tasks);
  std::uint64_t BlockedOf(AssignmentId id) const;
  std::uint64_t used_milli() const;
  void Resume();
  void GiveWay(ExecutorId id, AssignmentId assignment, Run& run);

  void EraseJobIfUnused(JobId job);

  // scheduling.cc: what may start.
  bool MayStart() const;
  bool Gathers() const;
  bool LeaseHolds() const;
  static ScheduleKey KeyOf(AssignmentId id, const HeldAssignment& assignment) {
    return {-std::int64_t{assignment.priority}, -std::int64_t{assignment.depth}, id};
  }
  void UpdateSchedulable(AssignmentId id);
  bool WantsToStart(AssignmentId id, const HeldAssignment& assignment) const;
  void Schedule();
  Progress StartAlone(AssignmentId id, HeldAssignment& assignment);
  Progress StartRuns(AssignmentId id, HeldAssignment& assignment);
  void Give(ExecutorId executor, AssignmentId id, HeldAssignment& assignment, std::uint64_t extra);
  void Rebalance(AssignmentId id, const HeldAssignment& assignment);
  void ReclaimAll();
  void MakeRoom(const ScheduleKey& key);
  void Narrow(JobId job);
  std::uint64_t FreeSlots(const HeldAssignment& assignment) const;

  template <typename T>
  void Emit(T effect) {
    effects_.push_back(std::move(effect));
  }

  const CoreOptions options_;
  const std::uint64_t capacity_milli_;
  State state_;

  // Of the step in hand.
  Now now_;
  std::vector<Effect> effects_;
};

}  // namespace haul::worker
