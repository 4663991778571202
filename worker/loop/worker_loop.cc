// The loop's turn, and what it is told.
#include "worker/loop/worker_loop.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/time.h"
#include "common/utf8.h"
#include "common/wire/convert.h"
#include "spdlog/spdlog.h"

namespace haul::worker {
namespace {

constexpr std::int64_t kProgressPollUs = 1'000'000;

CoreOptions WithCommandLimit(CoreOptions options) {
  options.command_limit = exec::CommandRunner::MostAtOnce();
  return options;
}

}  // namespace

WorkerLoop::WorkerLoop(exec::Reactor& reactor, SessionPort& session, ExecutorPort& executors,
                       ChildCallPort& calls, const LoopOptions& options)
    : reactor_(reactor),
      session_(session),
      executors_(executors),
      calls_(calls),
      options_(options),
      core_(WithCommandLimit(options.core)) {}

absl::StatusOr<std::unique_ptr<WorkerLoop>> WorkerLoop::Create(exec::Reactor& reactor,
                                                               SessionPort& session,
                                                               ExecutorPort& executors,
                                                               ChildCallPort& calls,
                                                               const LoopOptions& options) {
  std::unique_ptr<WorkerLoop> loop(new WorkerLoop(reactor, session, executors, calls, options));
  auto runner = exec::CommandRunner::Create(reactor, *loop, options.commands);
  if (!runner.ok()) return runner.status();
  loop->runner_ = *std::move(runner);
  executors.SetListener(loop.get());
  calls.SetListener(loop.get());
  return loop;
}

WorkerLoop::~WorkerLoop() = default;

WorkerEnd WorkerLoop::Run() {
  Step(Started{});
  if (options_.core.serves_functions) LookAtProgress();
  AttachWhenReady();
  FinishTurn();
  while (!end_) {
    const std::optional<std::int64_t> deadline_us = core_.NextDeadlineUs();
    reactor_.RunOnce(deadline_us.value_or(exec::Reactor::kNoDeadline));
    if (deadline_us && ReadClocks().monotonic_us >= *deadline_us) Step(TimePassed{});
    FinishTurn();
  }
  return *end_;
}

void WorkerLoop::Drain(std::uint64_t deadline_ms) {
  // So far away that it never comes, rather than an overflow.
  constexpr std::uint64_t kMostMs = std::uint64_t{1} << 50;
  Step(DrainRequested{static_cast<std::int64_t>(std::min(deadline_ms, kMostMs)) * 1000});
}

void WorkerLoop::Stop() { Step(StopRequested{}); }

void WorkerLoop::Step(Event event, std::optional<StagedOutcome> staged) {
  later_.emplace_back(std::move(event), std::move(staged));
  if (stepping_) return;
  stepping_ = true;
  while (!later_.empty()) {
    auto [next, its_outcome] = std::move(later_.front());
    later_.pop_front();
    staged_ = std::move(its_outcome);
    for (const Effect& effect : core_.Step(next, ReadClocks())) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
    SayLease();
    if (!staged_) continue;
    // Nobody wanted it.
    for (const std::string& path : {staged_->output_path, staged_->error_path}) {
      if (!path.empty()) ::unlink(path.c_str());
    }
    staged_.reset();
  }
  stepping_ = false;
}

// Launchers go on by themselves, also while this thread is held up.
void WorkerLoop::SayLease() {
  if (runner_ == nullptr || core_.lease_end_us() == said_lease_end_us_) return;
  said_lease_end_us_ = core_.lease_end_us();
  runner_->StartUntil(said_lease_end_us_);
}

// Whatever gathered in this turn leaves in one message, when the stream takes it.
void WorkerLoop::FinishTurn() {
  if (leaving_ && !closing_ && !welcome_) {
    closing_ = true;
    attached_ ? session_.Close() : OnClosed();
    return;
  }
  if (closing_ || !welcome_) return;
  if (!outbox_used_ && !core_.WantsToSend() && !leaving_) return;
  if (!session_.Writable()) return;
  if (core_.HasUnsent()) Step(SendSlotFree{});
  if (leaving_) outbox_.set_goodbye(true);
  outbox_used_ = false;
  session_.Send(std::exchange(outbox_, {}));
  if (leaving_) {
    closing_ = true;
    session_.Close();
  }
}

// The worker joins when it can say which functions it serves.
void WorkerLoop::AttachWhenReady() {
  const std::size_t wanted = options_.core.serves_functions ? options_.core.processes : 0;
  if (attached_ || core_.ready_executor_count() < wanted) return;
  attached_ = true;
  session_.Start(this);
}

// ------------------------------------------------------------------------------------- the session

void WorkerLoop::OnConnecting(v1::Hello* hello) {
  // What waited here for the stream before is said by not listing it as held.
  outbox_.Clear();
  outbox_used_ = false;
  said_progress_.clear();
  *hello = options_.hello;
  hello->set_cpus_milli(core_.capacity_milli());
  hello->mutable_functions()->Assign(functions_.begin(), functions_.end());
  hello->set_draining(core_.draining());
  hello->set_worker_id(worker_id_);
  for (const HeldLine& line : core_.Held()) {
    v1::HeldAssignment& held = *hello->add_held();
    held.set_assignment_id(line.assignment.value());
    held.set_job_id(line.job.value());
    held.set_width(line.width);
    held.set_alone(line.alone);
    held.set_blocked(line.blocked);
    wire::ToWire(line.tasks, held.mutable_ranges());
  }
}

void WorkerLoop::OnMessage(v1::CoordinatorMessage message) {
  if (message.has_welcome()) {
    welcome_ = true;
    worker_id_ = message.welcome().worker_id();
    Welcomed welcomed = FromWire(message.welcome());
    if (!welcomed.dropped.empty()) {
      spdlog::warn("{} assignments are not this worker's any more", welcomed.dropped.size());
    }
    Step(std::move(welcomed));
  } else {
    Step(CoordinatorHeard{});
  }
  for (v1::Assignment& assignment : *message.mutable_assignments()) {
    TakeAssignment(std::move(assignment));
  }
  for (const v1::Revoke& revoke : message.revokes()) {
    Step(RevokeReceived{AssignmentId(revoke.assignment_id()), revoke.count()});
  }
  for (const v1::Cancel& cancel : message.cancels()) {
    absl::StatusOr<std::vector<TaskRange>> tasks = wire::FromWire(cancel.tasks(), "cancel.tasks");
    if (!tasks.ok()) {
      spdlog::error("{}", std::string(tasks.status().message()));
      continue;
    }
    Step(CancelReceived{AssignmentId(cancel.assignment_id()), cancel.by(), *std::move(tasks)});
  }
  if (message.durable_through() > 0) Step(BatchesDurable{message.durable_through()});
  if (message.drain()) Drain(message.drain_deadline_ms());
  if (message.stop()) Step(StopRequested{});
  if (message.depart()) Step(DepartReceived{});
}

void WorkerLoop::TakeAssignment(v1::Assignment&& message) {
  v1::HandedBack refusal;
  refusal.set_assignment_id(message.assignment_id());
  refusal.set_job_id(message.job_id());
  wire::ToWire({{message.first(), message.count()}}, refusal.mutable_ranges());
  absl::StatusOr<AssignmentReceived> event = payloads_.Add(std::move(message));
  if (event.ok()) return Step(*std::move(event));
  spdlog::error("an assignment of job {} cannot be understood: {}", refusal.job_id(),
                std::string(event.status().message()));
  refusal.set_reason(v1::HandedBack::REASON_REVOKED);
  refusal.set_message(ToUtf8(std::string(event.status().message())));
  *outbox_.add_handed_back() = std::move(refusal);
  outbox_used_ = true;
}

// What is new of it, and then again after a while.
void WorkerLoop::LookAtProgress() {
  reactor_.AddTimer(ReadClocks().monotonic_us + kProgressPollUs, [this] { LookAtProgress(); });
  if (!welcome_) return;
  absl::btree_map<std::pair<AssignmentId, TaskIndex>, std::uint32_t> now;
  for (const TaskProgress& one : executors_.Progress()) {
    const auto task = std::make_pair(one.assignment, one.task);
    now[task] = one.permille;
    const auto said = said_progress_.find(task);
    if (said != said_progress_.end() && said->second == one.permille) continue;
    v1::TaskProgress& progress = *outbox_.add_progress();
    progress.set_assignment_id(one.assignment.value());
    progress.set_task(one.task);
    progress.set_permille(one.permille);
    outbox_used_ = true;
  }
  said_progress_ = std::move(now);
}

void WorkerLoop::OnDisconnected() {
  welcome_ = false;
  Step(Disconnected{});
}

void WorkerLoop::OnRefused(absl::Status status) {
  if (end_) return;
  end_ = WorkerEnd{WorkerEnd::Why::kRefused, std::string(status.message())};
}

void WorkerLoop::OnClosed() {
  if (!end_) end_ = WorkerEnd{};
}

void WorkerLoop::OnUploaded(std::uint64_t id, absl::StatusOr<std::string> file) {
  const auto upload = uploads_.find(id);
  if (upload == uploads_.end()) return;
  const auto [outcome_id, error_output] = upload->second;
  uploads_.erase(upload);
  AwaitedOutcome& awaited = awaited_.at(outcome_id);
  Outcome& outcome = awaited.outcome;
  if (file.ok()) {
    (error_output ? outcome.error_file : outcome.output_file) = *std::move(file);
  } else {
    // Nothing is silently cut: a task whose output is refused has failed.
    outcome.status = TaskStatus::kFailed;
    outcome.cause = Cause::kOutputLimit;
    outcome.message = absl::StrCat("its output was refused: ", file.status().message());
    (error_output ? outcome.error_bytes : outcome.output_bytes) = 0;
  }
  if (--awaited.uploads > 0) return;
  for (const std::string& path : awaited.paths) ::unlink(path.c_str());
  OutputUploaded event{.assignment = awaited.assignment,
                       .tasks = outcome.tasks,
                       .status = outcome.status,
                       .byte_count = ByteCount(outcome)};
  StagedOutcome staged{.outcome = std::move(outcome), .output_path = {}, .error_path = {}};
  awaited_.erase(outcome_id);
  Step(event, std::move(staged));
}

// -------------------------------------------------------------------------------------- what runs

void WorkerLoop::OnCommandEnded(exec::CommandEnd end) {
  OutcomeArrived event{.assignment = end.outcome.assignment,
                       .tasks = end.outcome.tasks,
                       .status = end.outcome.status,
                       .byte_count = ByteCount(end.outcome),
                       .output_pending = !end.output_path.empty() || !end.error_path.empty()};
  Step(event, StagedOutcome{.outcome = std::move(end.outcome),
                            .job = end.job,
                            .output_path = std::move(end.output_path),
                            .error_path = std::move(end.error_path)});
}

void WorkerLoop::OnDirectoryMissing(const exec::CommandTask& task, const std::string& message) {
  Step(DirectoryMissing{task.assignment, task.task, message});
}

void WorkerLoop::OnExecutorReady(ExecutorId id, const std::vector<v1::FunctionInfo>& functions) {
  if (functions_.empty()) functions_ = functions;
  Step(ExecutorReady{id});
  AttachWhenReady();
}

void WorkerLoop::OnExecutorOutcome(ExecutorId id, AssignmentId assignment, Outcome outcome) {
  calls_.EndTasks(id, assignment, outcome.tasks);
  OutcomeArrived event{.executor = id,
                       .assignment = assignment,
                       .tasks = outcome.tasks,
                       .status = outcome.status,
                       .byte_count = ByteCount(outcome),
                       .output_pending = !outcome.output_file.empty()};
  std::string path = std::move(outcome.output_file);
  outcome.output_file.clear();
  Step(event, StagedOutcome{
                  .outcome = std::move(outcome), .output_path = std::move(path), .error_path = {}});
}

void WorkerLoop::OnExecutorReclaimed(ExecutorId id, AssignmentId assignment, TaskRange tasks) {
  Step(TasksReclaimed{id, assignment, tasks});
}

// User code shares the executor's memory: what it does not run calls nothing.
void WorkerLoop::OnExecutorCall(ExecutorId id, v1::ChildCall call) {
  const auto executor = core_.state().executors.find(id);
  if (executor == core_.state().executors.end()) return;
  const auto run = executor->second.runs.find(AssignmentId(call.assignment_id()));
  if (run == executor->second.runs.end() || run->second.abandoned ||
      !run->second.unfinished.Contains(call.task())) {
    return;
  }
  calls_.Call(id, run->second.job, payloads_.job(run->second.job).spec, std::move(call));
}

void WorkerLoop::OnExecutorWaiting(ExecutorId id, AssignmentId assignment, TaskIndex task) {
  Step(TaskBlocked{id, assignment, task});
}

void WorkerLoop::OnExecutorResumable(ExecutorId id, AssignmentId assignment, TaskIndex task) {
  Step(ResumeAsked{id, assignment, task});
}

void WorkerLoop::OnChildAnswer(ExecutorId executor, v1::ChildAnswer answer) {
  executors_.Answer(executor, std::move(answer));
}

void WorkerLoop::OnExecutorDied(ExecutorDied death) {
  calls_.EndExecutor(death.executor);
  // Without it the worker is ending: what is left is its guardian's to end.
  if (runner_ != nullptr) runner_->LookForOrphans();
  if (!attached_ && !core_.draining()) {
    // What does not start at first will not start later.
    if (!end_) end_ = WorkerEnd{WorkerEnd::Why::kNoExecutors, death.message};
    return;
  }
  const auto executor = core_.state().executors.find(death.executor);
  const bool was_told_to = executor != core_.state().executors.end() &&
                           executor->second.phase == ExecutorState::Phase::kEnding;
  if (!core_.draining() && !was_told_to) spdlog::warn("{}", death.message);
  Step(std::move(death));
}

}  // namespace haul::worker
