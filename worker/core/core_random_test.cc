// A worker's core in a world that loses things: connections with what is under way on them,
// executors, the coordinator's patience. Whatever happens, every task that was assigned is answered
// for exactly once: by an outcome that became durable, by handing it back, or by the coordinator
// dropping its assignment.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "worker/core/core.h"
#include "worker/core/places.h"

namespace haul::worker {
namespace {

using Key = std::pair<AssignmentId, TaskIndex>;

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    options_.processes = 1 + Below(3);
    options_.threads = 1 + Below(3);
    options_.serves_functions = true;
    options_.owed_byte_limit = 1000;
    options_.message_byte_limit = 500;
    options_.stop_grace_us = 50'000;
    if (Chance(50)) options_.commands_ahead_limit = Below(4);
    if (Chance(20)) options_.command_limit = 1 + Below(3);
    core_ = std::make_unique<Core>(options_);
    Send(Started{});
  }

  void Run() {
    for (int step = 0; step < 150; ++step) Turn(true);
    for (int step = 0; step < 20'000 && !Settled(); ++step) Turn(false);
    EXPECT_TRUE(Settled()) << "tasks were never answered for";
    EXPECT_TRUE(core_->Held().empty());
    Send(DrainRequested{});
    EXPECT_TRUE(left_);
  }

 private:
  struct FakeExecutor {
    bool ready = false;
    std::deque<Event> reports;  // not yet read by the worker
    std::deque<Event> batch;    // outcomes that its threads have not handed over
    std::map<AssignmentId, IntervalSet> waiting;
    std::map<AssignmentId, std::uint32_t> width;
    std::set<Key> running;
    std::map<Key, bool> blocked;  // of these; whether it has asked to go on
  };
  struct FakeAssignment {
    JobId job;
    TaskRange tasks;
    IntervalSet unanswered;
    bool dropped = false;
  };
  struct Message {  // to the coordinator
    std::vector<std::uint64_t> batches;
    std::vector<SendHandedBack> handed_back;
  };

  std::uint32_t Below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool Chance(std::uint32_t percent) { return Below(100) < percent; }

  void Send(const Event& event) {
    now_.monotonic_us += 1 + Below(200);
    for (const Effect& effect : core_->Step(event, now_)) {
      std::visit([this, &event](const auto& e) { Do(e, event); }, effect);
    }
    core_->CheckInvariants();
    while (!withdrawn_.empty()) {
      const CommandsWithdrawn next = std::move(withdrawn_.front());
      withdrawn_.pop_front();
      Send(next);
    }
    CheckPlaces();
  }

  // Where every end was told, what the core has given places to is what runs.
  void CheckPlaces() const {
    std::map<AssignmentId, int> placed;
    for (const auto& [key, command] : core_->state().commands) {
      if (!command.ahead) ++placed[key.first];
    }
    for (const Key& key : commands_) --placed[key.first];
    for (const auto& [assignment, event] : ended_commands_) placed.erase(assignment);
    for (const auto& [assignment, more] : placed) EXPECT_EQ(more, 0) << assignment.value();
  }

  void Turn(bool faults) {
    switch (Below(10)) {
      case 0:
        return faults ? Assign() : FinishSomething();
      case 1:
        return ReadCoordinator();
      case 2:
        return ReadWorker();
      case 3:
        return connected_ ? WriteSlot() : Connect();
      case 4:
        return faults ? Meddle() : FinishSomething();
      case 5:
        return ReadExecutor();
      case 6:
        return ReadExecutor();
      case 7:
        return FinishSomething();
      case 8:
        return FinishSomething();
      default:
        ReapEnding();
        return PassTime();
    }
  }

  // --- the coordinator ---
  void Assign() {
    if (!connected_) return;
    const AssignmentId id(1, ++last_assignment_);
    FakeAssignment& assignment = assignments_[id];
    assignment.job = JobId(1 + Below(4));
    assignment.tasks = {next_task_, 1 + Below(12)};
    next_task_ += assignment.tasks.count;
    const bool function = assignment.job.value() % 2 == 0;
    const bool alone = function && Chance(20);
    if (alone) assignment.tasks.count = 1;
    assignment.unanswered.Add(assignment.tasks);
    AssignmentReceived event{.assignment = id,
                             .job = assignment.job,
                             .tasks = assignment.tasks,
                             .width = 1 + Below(5),
                             .cpus_milli = 250 * (1 + Below(6)),
                             .priority = static_cast<std::int32_t>(Below(3)),
                             .kind = function ? WorkKind::kFunction : WorkKind::kCommand,
                             .alone = alone,
                             .own_process = assignment.job.value() == 4,
                             .tasks_per_process = Below(3),
                             .depth = Below(3),
                             .charged = {}};
    // Some come in two messages.
    if (event.tasks.count > 1 && Chance(30)) {
      const std::uint64_t half = event.tasks.count / 2;
      AssignmentReceived first = event;
      first.tasks.count = half;
      to_worker_.push_back(first);
      event.tasks = {event.tasks.first + half, event.tasks.count - half};
    }
    to_worker_.push_back(event);
  }

  void Meddle() {
    switch (Below(5)) {
      case 0:
        if (connected_ && Chance(30)) Disconnect();
        return;
      case 1:
        if (const auto id = AnyAssignment(); id && connected_) {
          to_worker_.push_back(RevokeReceived{*id, 1 + Below(6)});
        }
        return;
      case 2:
        if (const auto id = AnyAssignment(); id && connected_ && Chance(30)) {
          CancelReceived cancel{*id, "somebody", {}};
          if (Chance(70)) cancel.tasks = {{Below(40), 1 + Below(10)}, {Below(40), 1}};
          to_worker_.push_back(std::move(cancel));
        }
        return;
      case 3:
        if (Chance(30)) KillExecutor();
        return;
      default:
        if (!connected_ && Chance(30)) now_.monotonic_us += 200'000;  // past the lease
        return;
    }
  }

  std::optional<AssignmentId> AnyAssignment() {
    if (assignments_.empty()) return std::nullopt;
    return std::next(assignments_.begin(),
                     static_cast<std::ptrdiff_t>(random_() % assignments_.size()))
        ->first;
  }

  void Disconnect() {
    connected_ = false;
    to_worker_.clear();
    to_coordinator_.clear();
    outbox_ = {};
    Send(Disconnected{});
  }

  void Connect() {
    std::map<AssignmentId, IntervalSet> held;
    for (const HeldLine& line : core_->Held()) {
      for (const TaskRange& tasks : line.tasks) held[line.assignment].Add(tasks);
    }
    Welcomed welcome{.lease_us = 100'000, .dropped = {}};
    for (auto& [id, assignment] : assignments_) {
      // What is not listed never arrived, or was handed back.
      assignment.unanswered = assignment.unanswered.Intersection(held[id]);
      if (!held[id].empty() && Chance(10)) {
        welcome.dropped.push_back(id);
        assignment.dropped = true;
        assignment.unanswered = {};
      }
    }
    connected_ = true;
    Send(welcome);
  }

  void Answer(AssignmentId id, TaskRange tasks) {
    FakeAssignment& assignment = assignments_.at(id);
    EXPECT_FALSE(assignment.dropped) << "a dropped assignment was answered for";
    EXPECT_EQ(assignment.unanswered.Remove(tasks), tasks.count) << "a task was answered for twice";
  }

  void ReadWorker() {
    if (to_coordinator_.empty()) return;
    const Message message = std::move(to_coordinator_.front());
    to_coordinator_.pop_front();
    for (const std::uint64_t sequence : message.batches) {
      if (sequence <= durable_through_) continue;
      EXPECT_EQ(sequence, durable_through_ + 1) << "a batch was skipped";
      for (const auto& [id, tasks] : batches_.at(sequence)) Answer(id, tasks);
      durable_through_ = sequence;
    }
    if (!message.batches.empty()) to_worker_.push_back(BatchesDurable{durable_through_});
    for (const SendHandedBack& handed : message.handed_back) {
      for (const TaskRange& tasks : handed.tasks) Answer(handed.assignment, tasks);
    }
  }

  bool Settled() const {
    const bool answered =
        std::all_of(assignments_.begin(), assignments_.end(),
                    [](const auto& entry) { return entry.second.unanswered.empty(); });
    return answered && to_worker_.empty() && to_coordinator_.empty() && core_->Held().empty();
  }

  // --- the shell ---
  void ReadCoordinator() {
    if (to_worker_.empty()) return;
    const Event event = std::move(to_worker_.front());
    to_worker_.pop_front();
    Send(event);
  }

  void WriteSlot() {
    if (Chance(50)) Send(CoordinatorHeard{});
    if (core_->HasUnsent()) Send(SendSlotFree{});
    if (!outbox_.batches.empty() || !outbox_.handed_back.empty()) {
      to_coordinator_.push_back(std::exchange(outbox_, {}));
    }
  }

  void PassTime() {
    const auto deadline = core_->NextDeadlineUs();
    if (deadline && connected_) now_.monotonic_us = std::max(now_.monotonic_us, *deadline);
    if (connected_) Send(CoordinatorHeard{});
    Send(TimePassed{});
  }

  // --- what runs ---
  void FinishSomething() {
    if (!commands_.empty() && Chance(50)) {
      const auto it =
          std::next(commands_.begin(), static_cast<std::ptrdiff_t>(random_() % commands_.size()));
      const Key key = *it;
      commands_.erase(it);
      Launch(key.first, places_[key.first].OnEnd());
      if (Chance(5)) {
        ended_commands_.emplace_back(key.first, DirectoryMissing{key.first, key.second, ""});
        return;
      }
      ended_commands_.emplace_back(
          key.first,
          OutcomeArrived{.assignment = key.first,
                         .tasks = {key.second, 1},
                         .status = Chance(80) ? TaskStatus::kSucceeded : TaskStatus::kFailed,
                         .byte_count = 50,
                         .output_pending = Chance(10)});
      return;
    }
    // The loop looks for them later, in their order.
    if (!ended_commands_.empty() && Chance(80)) return TellOfCommand();
    if (!uploads_.empty()) {
      const Key key = *uploads_.begin();
      uploads_.erase(uploads_.begin());
      return Send(
          OutputUploaded{.assignment = key.first, .tasks = {key.second, 1}, .byte_count = 50});
    }
  }

  void Launch(AssignmentId assignment, const std::optional<TaskIndex>& task) {
    if (!task) return;
    EXPECT_TRUE(commands_.insert({assignment, *task}).second);
  }

  void TellOfCommand() {
    const auto [assignment, event] = std::move(ended_commands_.front());
    ended_commands_.pop_front();
    places_[assignment].OnEndTold();
    Send(event);
  }

  void ReadExecutor() {
    if (executors_.empty()) return;
    const auto it =
        std::next(executors_.begin(), static_cast<std::ptrdiff_t>(random_() % executors_.size()));
    FakeExecutor& executor = it->second;
    if (!executor.ready) {
      executor.ready = true;
      return Send(ExecutorReady{it->first});
    }
    Work(it->first, executor);
    if (executor.reports.empty()) return;
    const Event event = std::move(executor.reports.front());
    executor.reports.pop_front();
    Send(event);
  }

  void Work(ExecutorId id, FakeExecutor& executor) {
    if (Chance(50)) {
      std::move(executor.batch.begin(), executor.batch.end(), std::back_inserter(executor.reports));
      executor.batch.clear();
    }
    for (auto it = executor.running.begin(); it != executor.running.end();) {
      if (const auto blocked = executor.blocked.find(*it); blocked != executor.blocked.end()) {
        if (!blocked->second && Chance(50)) {
          blocked->second = true;
          executor.reports.push_back(ResumeAsked{id, it->first, it->second});
        }
        // Told to stop, it may end without going on.
        if (!Chance(3)) {
          ++it;
          continue;
        }
        executor.blocked.erase(blocked);
        it = Finish(id, executor, it);
        continue;
      }
      if (Chance(20)) {
        executor.blocked[*it] = false;
        executor.reports.push_back(TaskBlocked{id, it->first, it->second});
        ++it;
        continue;
      }
      it = Chance(50) ? Finish(id, executor, it) : std::next(it);
    }
    for (auto& [id_of_waiting, waiting] : executor.waiting) {
      const AssignmentId assignment = id_of_waiting;
      const auto running = std::count_if(executor.running.begin(), executor.running.end(),
                                         [&](const Key& key) { return key.first == assignment; });
      for (auto n = running; n < executor.width[assignment] && !waiting.empty(); ++n) {
        const TaskRange task = waiting.First(1);
        waiting.Remove(task);
        executor.running.insert({assignment, task.first});
        EXPECT_TRUE(started_.insert({assignment, task.first}).second)
            << "a start has the token of an earlier one";
      }
    }
  }

  static std::set<Key>::iterator Finish(ExecutorId id, FakeExecutor& executor,
                                        std::set<Key>::iterator task) {
    executor.batch.push_back(OutcomeArrived{
        .executor = id, .assignment = task->first, .tasks = {task->second, 1}, .byte_count = 50});
    return executor.running.erase(task);
  }

  void KillExecutor() {
    if (executors_.empty()) return;
    const auto it =
        std::next(executors_.begin(), static_cast<std::ptrdiff_t>(random_() % executors_.size()));
    Died(it->first);
  }

  // Executors that were ended die, sooner or later.
  void ReapEnding() {
    while (!ending_.empty()) Died(*ending_.begin());
  }

  void Died(ExecutorId id) {
    const auto it = executors_.find(id);
    while (!it->second.reports.empty()) {
      const Event event = std::move(it->second.reports.front());
      it->second.reports.pop_front();
      Send(event);
    }
    ExecutorDied died{.executor = id, .suspects = {}, .code = 11, .message = {}};
    for (const Key& key : it->second.running) died.suspects.push_back({key.first, key.second});
    executors_.erase(it);
    ending_.erase(id);
    Send(died);
  }

  // --- effects ---
  void Do(const StartCommand& e, const Event&) {
    Launch(e.assignment, e.ahead ? places_[e.assignment].Add(e.task) : e.task);
  }
  void Do(const AdvanceCommands& e, const Event&) {
    Launch(e.assignment, places_[e.assignment].Advance());
  }
  void Do(const WithdrawCommands& e, const Event&) {
    const std::deque<TaskIndex> tasks = places_[e.assignment].Withdraw();
    withdrawn_.push_back({e.assignment, {tasks.begin(), tasks.end()}});
  }
  void Do(const StopCommand&, const Event&) {}
  void Do(const KillCommands&, const Event&) {
    commands_.clear();
    places_.clear();
    ended_commands_.clear();
  }
  void Do(const UploadOutput& e, const Event&) { uploads_.insert({e.assignment, e.tasks.first}); }
  void Do(const StartExecutor& e, const Event&) { executors_[e.executor]; }
  void Do(const EndExecutor& e, const Event& event) {
    EXPECT_FALSE(std::holds_alternative<TaskBlocked>(event)) << "it says nothing that is not so";
    ending_.insert(e.executor);
  }
  void Do(const StartRun& e, const Event&) {
    FakeExecutor& executor = executors_.at(e.executor);
    EXPECT_TRUE(executor.ready);
    EXPECT_GE(e.width, 1u);
    executor.width[e.assignment] = e.width;
    EXPECT_EQ(executor.waiting[e.assignment].Add(e.tasks), e.tasks.count);
  }
  void Do(const ReclaimRun& e, const Event&) {
    FakeExecutor& executor = executors_.at(e.executor);
    IntervalSet& waiting = executor.waiting[e.assignment];
    const TaskRange last = waiting.Last(e.count);
    waiting.Remove(last);
    executor.reports.push_back(TasksReclaimed{e.executor, e.assignment, last});
  }
  void Do(const StopRun& e, const Event&) {
    FakeExecutor& executor = executors_.at(e.executor);
    for (const TaskRange& tasks : std::exchange(executor.waiting[e.assignment], {}).ranges()) {
      executor.reports.push_back(TasksReclaimed{e.executor, e.assignment, tasks});
    }
  }
  void Do(const StopTasks& e, const Event&) {
    FakeExecutor& executor = executors_.at(e.executor);
    IntervalSet& waiting = executor.waiting[e.assignment];
    const IntervalSet taken = waiting.Intersection(e.tasks);
    waiting.Remove(taken);
    for (const TaskRange& tasks : taken.ranges()) {
      executor.reports.push_back(TasksReclaimed{e.executor, e.assignment, tasks});
    }
  }
  void Do(const ResumeTask& e, const Event&) {
    std::map<Key, bool>& blocked = executors_.at(e.executor).blocked;
    const auto it = blocked.find({e.assignment, e.task});
    if (it == blocked.end()) return;  // its end is on the way
    EXPECT_TRUE(it->second);
    blocked.erase(it);
  }
  void Do(const ReportBlocked& e, const Event&) { EXPECT_LE(e.count, 15u); }
  void Do(const KeepOutcome& e, const Event& event) {
    TaskRange tasks;
    if (const auto* arrived = std::get_if<OutcomeArrived>(&event)) tasks = arrived->tasks;
    if (const auto* uploaded = std::get_if<OutputUploaded>(&event)) tasks = uploaded->tasks;
    unsealed_[e.assignment].push_back(tasks);
  }
  void Do(const RecordOutcome& e, const Event&) {
    unsealed_[e.assignment].push_back(e.outcome.tasks);
  }
  void Do(const SealBatch& e, const Event&) {
    auto& unsealed = unsealed_[e.assignment];
    ASSERT_GE(unsealed.size(), e.outcome_count);
    for (std::size_t i = 0; i < e.outcome_count; ++i) {
      batches_[e.sequence].push_back({e.assignment, unsealed.front()});
      unsealed.pop_front();
    }
  }
  void Do(const SendBatch& e, const Event&) { outbox_.batches.push_back(e.sequence); }
  void Do(const ForgetBatches& e, const Event&) {
    batches_.erase(batches_.begin(), batches_.upper_bound(e.through));
  }
  void Do(const VoidBatch& e, const Event&) { batches_.at(e.sequence).clear(); }
  void Do(const SendHandedBack& e, const Event&) {
    if (connected_) outbox_.handed_back.push_back(e);
  }
  void Do(const ForgetAssignment& e, const Event&) {
    unsealed_.erase(e.assignment);
    std::erase_if(uploads_, [&](const Key& key) { return key.first == e.assignment; });
  }
  void Do(const SayDraining&, const Event&) {}
  void Do(const Leave&, const Event&) { left_ = true; }

  std::mt19937 random_;
  CoreOptions options_;
  std::unique_ptr<Core> core_;
  Now now_{.monotonic_us = 1'000'000, .unix_us = 1'700'000'000'000'000};
  bool connected_ = false;
  bool left_ = false;
  std::deque<Event> to_worker_;
  std::deque<Message> to_coordinator_;
  Message outbox_;
  std::uint64_t last_assignment_ = 0;
  TaskIndex next_task_ = 0;
  std::uint64_t durable_through_ = 0;
  std::map<AssignmentId, FakeAssignment> assignments_;
  std::map<AssignmentId, std::deque<TaskRange>> unsealed_;
  std::map<std::uint64_t, std::vector<std::pair<AssignmentId, TaskRange>>> batches_;
  std::set<Key> commands_;
  std::map<AssignmentId, Places<TaskIndex>> places_;
  std::deque<std::pair<AssignmentId, Event>> ended_commands_;  // not told yet
  std::deque<CommandsWithdrawn> withdrawn_;
  std::set<Key> uploads_;
  std::set<Key> started_;  // by executors, ever
  std::map<ExecutorId, FakeExecutor> executors_;
  std::set<ExecutorId> ending_;
};

TEST(CoreRandomTest, EveryTaskIsAnsweredForExactlyOnce) {
  // The simulator has thousands.
  for (unsigned seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    world.Run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace haul::worker
