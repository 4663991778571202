// A core under test and what is around it: a clock that moves when it is told to, the durable
// records as a disk would hold them, and a recorder of effects. The invariants are checked after
// every step. For tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/core/core.h"

namespace haul::coordinator {

// Names the effect for a failure's message.
inline std::string NameOf(const Effect& effect) {
  static constexpr const char* kNames[] = {
      "AnswerSubmit", "AnswerExtend",   "AnswerJob",  "AnswerWorker", "AnswerError",
      "SendWelcome",  "SendAssignment", "SendRevoke", "SendCancel",   "SendDurable",
      "SendDrain",    "SendStop",       "SendDepart", "CloseSession", "NotifyJob"};
  static_assert(std::size(kNames) == std::variant_size_v<decltype(Effect::what)>);
  return kNames[effect.what.index()];
}

class CoreFixture : public ::testing::Test {
 protected:
  CoreFixture() { Start(); }

  // ---- the coordinator ----

  // A start of the coordinator: everything volatile is gone, the durable records come back.
  void Start() {
    core_ = std::make_unique<Core>(options_, ++epoch_);
    for (const DurableRecord& record : disk_) core_->Recover(record);
    effects_.clear();
    notified_.clear();
    now_.monotonic_us += 1'000'000;
    Send(ServingStarted{});
  }

  void Send(const Event& event) {
    StepResult result = core_->Step(event, now_);
    for (StepResult::Durable& durable : result.records) {
      if (!durable.is_volatile) disk_.push_back(durable.record);
      records_.push_back(std::move(durable.record));
    }
    for (Effect& effect : result.effects) {
      EXPECT_LE(effect.rests_on, core_->last_sequence());
      if (const auto* notify = std::get_if<NotifyJob>(&effect.what)) {
        notified_.insert(notify->job);
      } else {
        effects_.push_back(std::move(effect));
      }
    }
    CheckInvariants(core_->state());
  }

  // The end of a turn of the loop: work is scheduled, leases are looked at.
  void Turn() { Send(TimePassed{}); }

  // So much time passes, in turns as short as those of a live loop; these sessions keep speaking.
  void Pass(std::int64_t ms, const std::vector<SessionId>& speaking = {}) {
    for (; ms > 0; ms -= 100) {
      Advance(std::min<std::int64_t>(ms, 100));
      for (const SessionId session : speaking) Send(WorkerSpoke{session});
      Turn();
    }
  }
  void Advance(std::int64_t ms) {
    now_.monotonic_us += ms * 1000;
    now_.unix_us += ms * 1000;
  }

  // ---- effects ----

  // The first recorded effect of this kind, which is taken out; what it rests on is in rested_on_.
  template <typename What>
  What Take() {
    for (auto it = effects_.begin(); it != effects_.end(); ++it) {
      if (!std::holds_alternative<What>(it->what)) continue;
      What what = std::get<What>(std::move(it->what));
      rested_on_ = it->rests_on;
      effects_.erase(it);
      return what;
    }
    ADD_FAILURE() << "no such effect; there is: " << Pending();
    return {};
  }
  template <typename What>
  std::vector<What> TakeAll() {
    std::vector<What> all;
    while (Has<What>()) all.push_back(Take<What>());
    return all;
  }
  template <typename What>
  bool Has() const {
    for (const Effect& effect : effects_) {
      if (std::holds_alternative<What>(effect.what)) return true;
    }
    return false;
  }
  void ExpectNoMore() {
    EXPECT_TRUE(effects_.empty()) << "unexpected: " << Pending();
    effects_.clear();
  }
  std::string Pending() const {
    std::string all;
    for (const Effect& effect : effects_) all += NameOf(effect) + " ";
    return all;
  }
  void Forget() { effects_.clear(); }

  // ---- clients ----

  static JobSpec Tasks(std::uint64_t count) {
    JobSpec spec;
    spec.name = "job";
    spec.owner = "owner";
    spec.task_count = count;
    return spec;
  }
  JobId Submit(const JobSpec& spec, const InputSizes& input_sizes = {}) {
    Send(JobSubmitted{NextRequest(), spec, input_sizes});
    const auto answer = Take<AnswerSubmit>();
    EXPECT_FALSE(answer.already_accepted);
    return answer.job;
  }
  absl::Status SubmitRefused(const JobSpec& spec) {
    const std::size_t records_before = records_.size();
    Send(JobSubmitted{NextRequest(), spec});
    EXPECT_EQ(records_.size(), records_before) << "nothing half done";
    return Take<AnswerError>().status;
  }
  void Cancel(JobId job, const std::string& by = "owner") {
    Send(JobCancelAsked{NextRequest(), job, by, {}});
    EXPECT_EQ(Take<AnswerJob>().job, job);
  }
  RequestId NextRequest() { return RequestId(++last_request_); }

  // ---- workers ----

  static WorkerProfile Profile(const std::string& name, std::uint64_t cpus_milli = 1000) {
    WorkerProfile profile;
    profile.name = name;
    profile.incarnation = name + "-1";
    profile.host = "host";
    profile.cpus_milli = cpus_milli;
    return profile;
  }
  // A connection of this worker; its welcome is taken and kept in welcome_.
  SessionId Connect(const WorkerProfile& profile, std::vector<HeldAssignment> held = {}) {
    const SessionId session(++last_session_);
    Send(WorkerConnected{session, profile, std::move(held), false});
    welcome_ = Take<SendWelcome>();
    EXPECT_EQ(welcome_.session, session);
    return session;
  }
  SessionId Connect(const std::string& name, std::uint64_t cpus_milli = 1000) {
    return Connect(Profile(name, cpus_milli));
  }
  SendAssignment TakeAssignment() { return Take<SendAssignment>(); }

  // The tasks of an assignment ended so after `ms` each. The answer that they are durable is taken.
  void Finish(const SendAssignment& assignment, TaskRange tasks, std::int64_t ms = 1,
              TaskStatus status = TaskStatus::kSucceeded, bool culprit = false) {
    FinishOn(assignment.session, assignment, tasks, ms, status, culprit);
  }
  void FinishOn(SessionId session, const SendAssignment& assignment, TaskRange tasks,
                std::int64_t ms = 1, TaskStatus status = TaskStatus::kSucceeded,
                bool culprit = false) {
    const std::uint64_t sequence = ++last_batch_;
    const auto busy_ns = static_cast<std::uint64_t>(ms) * tasks.count * 1'000'000;
    Send(TasksFinished{
        session,
        sequence,
        assignment.id,
        assignment.job,
        {{.tasks = tasks, .status = status, .busy_ns = busy_ns, .culprit = culprit}}});
    if (core_->state().FindWorker(session) == nullptr) return;  // nobody is there to be told
    const auto durable = Take<SendDurable>();
    EXPECT_EQ(durable.session, session);
    EXPECT_EQ(durable.through, sequence);
    EXPECT_EQ(rested_on_, core_->last_sequence());
  }
  void HandBack(const SendAssignment& assignment, TaskRange tasks,
                HandBackReason reason = HandBackReason::kRevoked) {
    std::vector<TaskRange> ranges;
    if (tasks.count > 0) ranges.push_back(tasks);
    Send(TasksHandedBack{assignment.session, assignment.id, assignment.job, ranges, reason});
  }
  static HeldAssignment Held(const SendAssignment& assignment, TaskRange tasks) {
    return {.id = assignment.id,
            .job = assignment.job,
            .width = assignment.width,
            .ranges = {tasks},
            .alone = assignment.alone};
  }

  // ---- looking ----

  const State& state() const { return core_->state(); }
  const Job& JobOf(JobId id) const { return *state().FindJob(id); }
  const Worker& WorkerOf(SessionId session) const { return *state().FindWorker(session); }
  std::string Reason(JobId id) const { return WaitingReason(state(), JobOf(id)); }
  template <typename Record>
  std::vector<Record> Recorded() const {
    std::vector<Record> all;
    for (const DurableRecord& record : records_) {
      if (const auto* found = std::get_if<Record>(&record)) all.push_back(*found);
    }
    return all;
  }

  CoreOptions options_;
  std::unique_ptr<Core> core_;
  Now now_{1'000'000'000, 1'700'000'000'000'000};
  std::vector<DurableRecord> disk_;     // what a restart gives back: all of it
  std::vector<DurableRecord> records_;  // of volatile jobs too
  std::deque<Effect> effects_;
  std::set<JobId> notified_;
  SendWelcome welcome_;
  RecordSequence rested_on_ = 0;

 private:
  std::uint64_t epoch_ = 0;
  std::uint64_t last_request_ = 0;
  std::uint64_t last_session_ = 0;
  std::uint64_t last_batch_ = 0;
};

}  // namespace haul::coordinator
