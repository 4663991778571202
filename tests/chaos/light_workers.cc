#include "tests/chaos/light_workers.h"

#include <algorithm>
#include <limits>

#include "common/time.h"
#include "worker/loop/session_port.h"
#include "worker/rpc/session.h"

namespace haul::chaos {
namespace {

// An assignment as its worker holds it.
struct Held {
  std::uint64_t job = 0;
  std::uint32_t width = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

std::string Incarnation(int number) {
  std::string text = std::to_string(number);
  return std::string(32 - text.size(), 'f') + text;
}

}  // namespace

// On the thread of LightWorkers, whose lock it takes for what others may ask.
class LightWorker final : public worker::SessionListener {
 public:
  LightWorker(LightWorkers& all, const std::string& address, const std::string& token, int number)
      : all_(all), number_(number), session_(all.reactor_, {.address = address, .token = token}) {
    session_.Start(this);
  }

  // What it held ends; more follows when the session can take it.
  void EndTasks() {
    while (!held_.empty() && session_.Writable()) {
      v1::WorkerMessage message;
      const auto it = held_.begin();
      v1::OutcomeBatch& batch = *message.add_outcomes();
      batch.set_sequence(++last_sequence_);
      batch.set_assignment_id(it->first);
      batch.set_job_id(it->second.job);
      const Held ended = it->second;
      for (std::uint64_t i = 0; i < ended.count; ++i) AddOutcome(batch, it->first, ended.first + i);
      {
        const std::lock_guard lock(all_.mutex_);
        held_.erase(it);
        owed_[last_sequence_] = {batch, ended};
      }
      session_.Send(std::move(message));
    }
  }

  void OnConnecting(v1::Hello* hello) override {
    hello->set_incarnation(Incarnation(number_));
    hello->set_name("light-" + std::to_string(number_));
    hello->set_host("light");
    hello->set_pid(static_cast<std::uint32_t>(number_ + 1));
    hello->set_cpus_milli(1000);
    hello->set_processes(1);
    hello->set_threads(1);
    hello->set_version("light");
    hello->set_worker_id(id_);
    for (const auto& [assignment, held] : held_) AddHeld(*hello, assignment, held);
    for (const auto& [sequence, owed] : owed_) {
      AddHeld(*hello, owed.first.assignment_id(), owed.second);
    }
  }

  void OnMessage(v1::CoordinatorMessage message) override {
    if (message.has_welcome()) OnWelcome(message.welcome());
    for (const v1::Assignment& assignment : message.assignments()) OnAssignment(assignment);
    for (const v1::Revoke& revoke : message.revokes()) {
      // Everything has started: nothing comes back.
      v1::HandedBack& answer = *answers_.add_handed_back();
      answer.set_assignment_id(revoke.assignment_id());
      answer.set_reason(v1::HandedBack::REASON_REVOKED);
    }
    {
      const std::lock_guard lock(all_.mutex_);
      std::erase_if(owed_,
                    [&](const auto& entry) { return entry.first <= message.durable_through(); });
    }
    SendAnswers();
    if (all_.tasks_may_end_) EndTasks();
  }

  void OnDisconnected() override {
    const std::lock_guard lock(all_.mutex_);
    welcome_ = false;
    answers_.Clear();
  }
  void OnWritable() override {
    SendAnswers();
    if (all_.tasks_may_end_) EndTasks();
  }
  void OnUploaded(std::uint64_t, absl::StatusOr<std::string>) override {}
  void OnRefused(absl::Status) override {
    const std::lock_guard lock(all_.mutex_);
    refused_ = true;
    welcome_ = false;
  }
  void OnClosed() override {}

  // Under the lock of LightWorkers.
  void AddTo(LightWorkers::Totals& totals) const {
    totals.welcome += welcome_ ? 1 : 0;
    totals.epoch = std::min(totals.epoch, epoch_);
    totals.welcomes += welcomes_;
    totals.renamed += renamed_;
    totals.dropped += dropped_;
    totals.refused += refused_ ? 1 : 0;
    totals.last_welcome_us = std::max(totals.last_welcome_us, last_welcome_us_);
    for (const auto& [assignment, held] : held_) totals.held_tasks += held.count;
  }

 private:
  static void AddHeld(v1::Hello& hello, std::uint64_t assignment, const Held& held) {
    v1::HeldAssignment& item = *hello.add_held();
    item.set_assignment_id(assignment);
    item.set_job_id(held.job);
    item.set_width(held.width);
    v1::TaskRange& range = *item.add_ranges();
    range.set_first(held.first);
    range.set_count(held.count);
  }

  void AddOutcome(v1::OutcomeBatch& batch, std::uint64_t assignment, std::uint64_t task) const {
    v1::Outcome& outcome = *batch.add_outcomes();
    outcome.set_first(task);
    outcome.set_count(1);
    outcome.set_status(v1::TASK_STATUS_SUCCEEDED);
    outcome.set_attempt(1);
    outcome.set_assignment_id(assignment);
    outcome.set_pid(static_cast<std::uint32_t>(number_ + 1));
  }

  void OnWelcome(const v1::Welcome& welcome) {
    v1::WorkerMessage again;
    {
      const std::lock_guard lock(all_.mutex_);
      welcome_ = true;
      ++welcomes_;
      if (id_ != 0 && welcome.worker_id() != id_) ++renamed_;
      id_ = welcome.worker_id();
      epoch_ = welcome.epoch();
      last_welcome_us_ = ReadClocks().monotonic_us;
      for (const std::uint64_t assignment : welcome.dropped_assignments()) {
        ++dropped_;
        held_.erase(assignment);
        std::erase_if(owed_, [assignment](const auto& entry) {
          return entry.second.first.assignment_id() == assignment;
        });
      }
      for (const auto& [sequence, owed] : owed_) *again.add_outcomes() = owed.first;
    }
    if (again.outcomes_size() > 0) answers_.MergeFrom(again);
  }

  void OnAssignment(const v1::Assignment& assignment) {
    const std::lock_guard lock(all_.mutex_);
    // A large one would come in several pieces; these jobs are small.
    held_[assignment.assignment_id()] = {.job = assignment.job_id(),
                                         .width = assignment.width(),
                                         .first = assignment.first(),
                                         .count = assignment.count()};
    for (std::uint64_t i = 0; i < assignment.count(); ++i) {
      ++all_.starts_[{assignment.job_id(), assignment.first() + i}];
    }
  }

  void SendAnswers() {
    if (answers_.ByteSizeLong() == 0 || !session_.Writable()) return;
    session_.Send(std::exchange(answers_, {}));
  }

  LightWorkers& all_;
  const int number_;
  v1::WorkerMessage answers_;
  std::uint64_t last_sequence_ = 0;
  // What follows is written under the lock.
  std::map<std::uint64_t, Held> held_;                               // by assignment
  std::map<std::uint64_t, std::pair<v1::OutcomeBatch, Held>> owed_;  // by sequence
  bool welcome_ = false;
  bool refused_ = false;
  std::uint64_t id_ = 0;
  std::uint64_t epoch_ = 0;
  std::uint64_t welcomes_ = 0;
  std::uint64_t renamed_ = 0;
  std::uint64_t dropped_ = 0;
  std::int64_t last_welcome_us_ = 0;
  worker::Session session_;
};

LightWorkers::LightWorkers(const std::string& address, const std::string& token, int count) {
  for (int i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<LightWorker>(*this, address, token, i));
  }
  thread_ = std::thread([this] { Run(); });
}

LightWorkers::~LightWorkers() {
  stopping_ = true;
  reactor_.Wake();
  thread_.join();
  workers_.clear();
}

void LightWorkers::Run() {
  bool ending = false;
  while (!stopping_) {
    reactor_.RunOnce(exec::Reactor::kNoDeadline);
    if (ending || !tasks_may_end_) continue;
    ending = true;
    for (const auto& worker : workers_) worker->EndTasks();
  }
}

LightWorkers::Totals LightWorkers::totals() const {
  const std::lock_guard lock(mutex_);
  Totals totals;
  totals.epoch = std::numeric_limits<std::uint64_t>::max();
  for (const auto& worker : workers_) worker->AddTo(totals);
  return totals;
}

std::map<std::pair<std::uint64_t, std::uint64_t>, int> LightWorkers::Starts() const {
  const std::lock_guard lock(mutex_);
  return starts_;
}

}  // namespace haul::chaos
