// What runs at one simulated worker: commands, and executors with their pools. It does what the
// worker's core asks for, in its own time, and tells the worker's shell what happened and the
// checkers what really started and ended. Tasks only take time; some fail, hang past their time
// limit, ignore that they are asked to stop, or take their executor with them. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/interval_set.h"
#include "tests/sim/checkers.h"
#include "tests/sim/messages.h"
#include "tests/sim/timeline.h"
#include "worker/core/effects.h"
#include "worker/core/events.h"
#include "worker/core/places.h"

namespace haul::sim {

class Machine {
 public:
  struct Wiring {
    // With the outcome's head where the event is one.
    std::function<void(worker::Event, coordinator::OutcomeHeader)> happened;
    std::function<const JobTraits*(JobId)> traits;
    std::function<bool()> faults;  // whether things may still go wrong by themselves
    // Runs it now, or when the worker's process is no longer frozen; with whether it was.
    std::function<void(std::function<void(bool was_frozen)>)> when_awake;
    // A task submits a job; `answered` is called when that has ended, or is not to be.
    std::function<void(const coordinator::ParentTask&, std::function<void()> answered)> call;
  };
  struct Options {
    ProcessId process;
    std::string worker;
    std::uint64_t cpus_milli = 1000;
    std::uint32_t threads = 1;  // of an executor
  };
  Machine(Timeline& timeline, Checkers& checkers, Options options, Wiring wiring);

  void Do(const worker::StartCommand& effect);
  void Do(const worker::AdvanceCommands& effect);
  std::vector<TaskIndex> Withdraw(AssignmentId assignment);
  void Do(const worker::StopCommand& effect);
  void Do(const worker::KillCommands& effect);
  void Do(const worker::StartExecutor& effect);
  void Do(const worker::EndExecutor& effect);
  void Do(const worker::StartRun& effect, JobId job);
  void Do(const worker::ReclaimRun& effect);
  void Do(const worker::StopRun& effect);
  void Do(const worker::StopTasks& effect);
  void Do(const worker::ResumeTask& effect);

  // A fault: one of the executors is killed from outside.
  void KillAnExecutor();
  bool has_executors() const { return !executors_.empty(); }
  // The power is off.
  void Die();
  std::uint64_t running() const;

 private:
  using TaskKey = std::pair<AssignmentId, TaskIndex>;
  struct Task {
    JobId job;
    std::uint64_t start = 0;  // its number: what was planned for an earlier start is over
    std::uint64_t cpus_milli = 0;
    bool stop_asked = false;
    bool timed_out = false;
    bool blocked = false;      // waits for what it submitted, without a cpu
    std::int64_t rest_us = 0;  // that it takes then
  };
  struct CommandAhead {
    TaskIndex task = 0;
    JobId job;
  };
  struct Report {
    worker::Event event;
    coordinator::OutcomeHeader header;
  };
  struct Executor {
    bool ready = false;
    bool ending = false;
    std::uint64_t started = 0;  // tasks
    std::int64_t last_report_us = 0;
    std::deque<Report> reports;  // written, not read yet
    std::map<AssignmentId, JobId> jobs;
    std::map<AssignmentId, IntervalSet> waiting;
    std::map<AssignmentId, std::uint32_t> width;
    std::map<TaskKey, Task> running;
  };

  Task Start(const TaskKey& key, JobId job);
  void Stopped(const TaskKey& key, const Task& task, TaskStatus status);
  void Use(std::uint64_t cpus_milli);
  // How long it takes, and whether that is past its time limit.
  std::int64_t Duration(const JobTraits& traits, bool* times_out);

  void StartCommandNow(const TaskKey& key, JobId job);
  void CommandEnds(const TaskKey& key, std::uint64_t start, TaskStatus status, Cause cause);
  void CommandReported(Report report, std::int64_t delay_us);
  void TellOfCommand();
  // Whether there is one of them.
  bool StartAhead(AssignmentId assignment, const std::optional<CommandAhead>& one);

  Executor* Find(worker::ExecutorId id);
  void Fill(worker::ExecutorId id, Executor& executor);
  void CheckIsolation(const Executor& executor, const TaskKey& started, const JobTraits& traits);
  void Stop(worker::ExecutorId id, AssignmentId assignment, TaskRange tasks);
  // The task, while that start of it runs.
  Task* FindRunning(worker::ExecutorId id, const TaskKey& key, std::uint64_t start);
  void FunctionCalls(worker::ExecutorId id, const TaskKey& key, std::uint64_t start);
  void FunctionIsAnswered(worker::ExecutorId id, const TaskKey& key, std::uint64_t start);
  void FunctionEnds(worker::ExecutorId id, const TaskKey& key, std::uint64_t start);
  void FunctionTimesOut(worker::ExecutorId id, const TaskKey& key, std::uint64_t start);
  void Conclude(worker::ExecutorId id, Executor& executor, const TaskKey& key, TaskStatus status,
                Cause cause);
  void AddReport(worker::ExecutorId id, Executor& executor, Report report);
  void Died(worker::ExecutorId id, const TaskKey* culprit);

  Timeline& timeline_;
  Checkers& checkers_;
  const Options options_;
  const Wiring wiring_;
  bool alive_ = true;
  std::uint64_t last_start_ = 0;
  std::uint64_t running_milli_ = 0;
  // What blocked tasks that were stopped had given back: the next of their runs have taken their
  // places. Until no more is used than there is.
  std::uint64_t excused_milli_ = 0;
  std::int64_t excused_us_ = 0;
  std::map<TaskKey, Task> commands_;
  std::map<AssignmentId, worker::Places<CommandAhead>> places_;
  std::deque<Report> command_reports_;  // not looked for yet
  std::int64_t last_command_report_us_ = 0;
  std::map<worker::ExecutorId, Executor> executors_;
};

}  // namespace haul::sim
