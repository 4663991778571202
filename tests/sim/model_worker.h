// A worker as the contract describes it (proto/haul/v1/session.proto), with tasks that only take
// time. It trusts the widths it is given and has no limit of its own, so what it runs shows what
// the coordinator allowed. One thread; the world (sim.h) carries its messages and decides its fate.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/interval_set.h"
#include "coordinator/core/effects.h"
#include "coordinator/core/events.h"
#include "tests/sim/checkers.h"
#include "tests/sim/planted_bug.h"
#include "tests/sim/timeline.h"

namespace haul::sim {

// How the tasks of a job behave.
struct JobTraits {
  std::int64_t min_us = 1'000;
  std::int64_t max_us = 10'000;
  std::uint64_t fail_percent = 0;
  std::uint64_t crash_percent = 0;
  std::string not_at;  // the worker without its directory
  coordinator::JobSpec spec;
};

class ModelWorker {
 public:
  struct Wiring {
    std::function<void(coordinator::Event)> send;  // into the connection, if there is one
    std::function<const JobTraits*(JobId)> traits;
    std::function<void()> left;  // it said goodbye and ended
  };
  struct Options {
    ProcessId process;
    std::string name;
    std::uint64_t cpus_milli = 1000;
    std::int64_t lease_us = 0;
    PlantedBug bug = PlantedBug::kNone;
  };
  ModelWorker(Timeline& timeline, Checkers& checkers, Options options, Wiring wiring);

  void Connect(SessionId session);  // says hello
  void Disconnect();
  void Receive(const coordinator::Effect& message);
  void HeartbeatReceived() { last_heard_us_ = timeline_.now_us(); }
  void Beat();
  void Die();
  // Sends something again that was said already, perhaps long ago.
  void Repeat();
  void StartDraining();

  bool alive() const { return alive_; }
  bool connected() const { return !session_.is_none(); }
  SessionId session() const { return session_; }
  ProcessId process() const { return options_.process; }
  const std::string& name() const { return options_.name; }
  std::string incarnation() const;
  bool draining() const { return draining_; }

 private:
  struct Held {
    JobId job;
    std::uint32_t width = 1;
    bool alone = false;
    IntervalSet held;                            // no durable outcome, not handed back
    IntervalSet pending;                         // of these, not started
    std::map<TaskIndex, std::uint64_t> running;  // with the number of its start
    std::vector<coordinator::OutcomeHeader> unreported;
    bool cancelled = false;
  };

  void On(const coordinator::SendWelcome& message);
  void On(const coordinator::SendAssignment& message);
  void On(const coordinator::SendRevoke& message);
  void On(const coordinator::SendCancel& message);
  void On(const coordinator::SendDurable& message);
  void On(const coordinator::SendDrain& message);
  void On(const coordinator::SendStop& message);
  void On(const coordinator::SendDepart& message);
  template <typename Other>
  void On(const Other&) {}

  void StartWhatMay();
  void StartTask(AssignmentId id, Held& held, TaskIndex task);
  void TaskEnds(AssignmentId id, TaskIndex task, std::uint64_t start);
  void Conclude(AssignmentId id, Held& held, TaskIndex task, TaskStatus status, bool culprit);
  void Crash(AssignmentId id, Held& held, TaskIndex task);
  void StopTask(AssignmentId id, Held& held, TaskIndex task, TaskStatus status);
  void Drop(AssignmentId id);
  void HandBack(AssignmentId id, Held& held, const IntervalSet& tasks,
                coordinator::HandBackReason reason);
  void ReportSoon();
  void Report();
  void ForgetIfAnswered(AssignmentId id);
  void LeaveIfDone();
  void Send(coordinator::Event event) {
    if (welcomed_) wiring_.send(std::move(event));
  }

  Timeline& timeline_;
  Checkers& checkers_;
  const Options options_;
  const Wiring wiring_;
  bool alive_ = true;
  bool welcomed_ = false;
  bool was_member_ = false;
  bool draining_ = false;
  bool departing_ = false;
  bool stopping_ = false;
  bool report_planned_ = false;
  SessionId session_;
  std::int64_t last_heard_us_ = 0;
  std::uint64_t last_start_ = 0;
  std::uint64_t last_batch_ = 0;
  std::uint64_t running_milli_ = 0;
  std::map<AssignmentId, Held> held_;
  std::map<JobId, std::uint32_t> width_;  // of what does not run alone
  std::map<JobId, std::uint32_t> running_;
  std::set<JobId> specs_;
  std::deque<coordinator::TasksFinished> owed_;
  std::vector<coordinator::TasksFinished> said_;
};

}  // namespace haul::sim
