#include "coordinator/loop/loop.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/time.h"

namespace haul::coordinator {

Loop::Loop(LoopOptions options, Store& store, Store& memory, Poller& poller)
    : options_(std::move(options)),
      store_(store),
      memory_(memory),
      poller_(poller),
      input_cache_(options_.input_cache_bytes),
      recent_(options_.recent_outcomes_bytes) {}

Loop::~Loop() {
  // The threads end before what they read from.
  files_thread_.reset();
  read_thread_.reset();
  store_thread_.reset();
}

absl::StatusOr<std::unique_ptr<Loop>> Loop::Create(LoopOptions options, Store& store, Store& memory,
                                                   Poller& poller) {
  std::unique_ptr<Loop> loop(new Loop(std::move(options), store, memory, poller));
  if (absl::Status status = loop->Recover(); !status.ok()) return status;
  return loop;
}

absl::Status Loop::Recover() {
  absl::StatusOr<Recovered> recovered = store_.Recover();
  if (!recovered.ok()) return recovered.status();
  if (absl::StatusOr<Recovered> empty = memory_.Recover(); !empty.ok()) return empty.status();
  core_ = std::make_unique<Core>(options_.core, recovered->epoch);
  core_->RecoverLastIds(recovered->last_job, recovered->last_worker);
  last_input_set_ = recovered->last_input_set.value();
  for (RecoveredJob& job : recovered->jobs) {
    core_->Recover(job.record);
    if (!job.job_template.empty()) {
      templates_[job.record.job] = std::make_shared<const std::string>(std::move(job.job_template));
    }
  }
  for (const DurableRecord& record : recovered->records) core_->Recover(record);
  for (const WorkerJoined& worker : recovered->workers_once_known) {
    workers_once_known_[worker.worker] = worker;
  }

  absl::StatusOr<std::unique_ptr<StoreReader>> reader = store_.NewReader();
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  absl::StatusOr<std::unique_ptr<StoreReader>> memory_reader = memory_.NewReader();
  if (!memory_reader.ok()) return memory_reader.status();
  memory_reader_ = *std::move(memory_reader);

  const auto wake = [this] { poller_.Wake(); };
  store_thread_ = std::make_unique<StoreThread>(store_, wake);
  read_thread_ = std::make_unique<SideThread>(wake);
  files_thread_ = std::make_unique<SideThread>(wake);
  Handle(ServingStarted{});
  return absl::OkStatus();
}

// ---- turns ----

absl::Status Loop::Run() {
  while (!stopping_.load(std::memory_order_acquire)) {
    const std::int64_t tick_us = ReadClocks().monotonic_us + options_.tick_ms * 1000;
    poller_.Poll(timers_.empty() ? tick_us : std::min(tick_us, timers_.begin()->first));
    if (absl::Status status = Turn(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void Loop::Stop() {
  stopping_.store(true, std::memory_order_release);
  poller_.Wake();
}

absl::Status Loop::Turn() {
  read_thread_->RunContinuations();
  files_thread_->RunContinuations();
  RunTimers();
  Handle(TimePassed{.unread = Congested()});
  CommitTurn();
  Release();
  if (absl::Status status = store_thread_->failure(); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("the store cannot commit, so nothing more can be "
                                     "promised: ",
                                     status.message()));
  }
  return failure_;
}

void Loop::Handle(Event event, Payload payload) {
  if (auto* finished = std::get_if<TasksFinished>(&event)) KeepWithinRoom(*finished, payload);
  Take(core_->Step(event, ReadClocks()), &payload);
}

void Loop::Take(StepResult result, Payload* payload) {
  for (const StepResult::Durable& durable : result.records) {
    OnRecord(durable.record, payload);
    AddWrites(durable, payload);
  }
  if (!memory_writes_.empty()) {
    // Memory refuses nothing: what is too much was, before the core heard of it (loop_room.cc).
    if (absl::Status status = memory_.Commit(memory_writes_); !status.ok()) failure_ = status;
    memory_writes_.clear();
  }
  for (Effect& effect : result.effects) Queue(std::move(effect));
}

namespace {

// What of a run's outcome is that of some of its tasks. `run` is as before when this returns.
Outcome PartOf(Outcome& run, TaskRange tasks) {
  PackedBytes results = std::exchange(run.results, {});  // not copied for each part
  Outcome part = run;
  if (results.count() > 0) {
    part.results = results.Slice(tasks.first - run.tasks.first, tasks.count);
  }
  run.results = std::move(results);
  return part;
}

}  // namespace

void Loop::AddWrites(const StepResult::Durable& durable, Payload* payload) {
  const auto* extended = std::get_if<JobExtended>(&durable.record);
  if (extended != nullptr && extended->count > 0) AddInputs(*extended, std::move(payload->inputs));
  // What only a start would read of a job that does not outlive this one is not kept.
  const bool is_for_recovery = extended != nullptr ||
                               std::holds_alternative<AttemptsCharged>(durable.record) ||
                               std::holds_alternative<StartsRecorded>(durable.record);
  if (durable.is_volatile && is_for_recovery) return;
  (durable.is_volatile ? memory_writes_ : writes_).push_back(ToWrite(durable.record, payload));
}

// Payloads are moved out: an outcome is recorded at most once.
Write Loop::ToWrite(const DurableRecord& record, Payload* payload) const {
  if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    return AddJob{*accepted, payload->job_template};
  }
  if (const auto* recorded = std::get_if<OutcomeRecorded>(&record)) {
    Outcome outcome;
    if (recorded->payload != OutcomeRecorded::kNoPayload) {
      Outcome& given = payload->outcomes[recorded->payload];
      outcome = given.tasks == recorded->tasks ? std::move(given) : PartOf(given, recorded->tasks);
    } else {
      outcome.finished_unix_us = recorded->unix_us;
    }
    outcome.tasks = recorded->tasks;
    outcome.status = recorded->status;
    outcome.cause = recorded->cause;
    if (!recorded->message.empty()) outcome.message = recorded->message;
    outcome.worker = recorded->worker;
    return AddOutcome{recorded->job, std::move(outcome), recent_.Keeps(recorded->job)};
  }
  return std::visit(
      [](const auto& other) -> Write {
        using Record = std::decay_t<decltype(other)>;
        if constexpr (std::is_same_v<Record, JobAccepted> ||
                      std::is_same_v<Record, OutcomeRecorded>) {
          HAUL_UNREACHABLE("handled above");
        } else {
          return other;
        }
      },
      record);
}

void Loop::OnRecord(const DurableRecord& record, Payload* payload) {
  if (const auto* accepted = std::get_if<JobAccepted>(&record)) {
    templates_[accepted->job] = std::make_shared<const std::string>(payload->job_template);
  } else if (const auto* ended = std::get_if<JobEnded>(&record)) {
    templates_.erase(ended->job);
    const InputSetId inputs = core_->state().FindJob(ended->job)->facts.spec.input_set;
    if (!inputs.is_none()) input_cache_.Drop(inputs);
  } else if (const auto* joined = std::get_if<WorkerJoined>(&record)) {
    workers_once_known_[joined->worker] = *joined;
  }
}

void Loop::CommitTurn() {
  if (writes_.empty()) return;
  store_thread_->Commit(std::exchange(writes_, {}), core_->last_sequence());
}

void Loop::Release() {
  // Before the rest is looked at, since it may rest on what these are in.
  const RecordSequence committed = store_thread_->committed();
  for (StoreThread::StoredOutcome& stored : store_thread_->TakeFollowed()) {
    recent_.Add(stored.job, std::move(stored.entry));
  }
  FlushSessions();  // first, since what starts work takes longest to come back
  RunDurable(committed);
  // Once: a read that only leads to the next must not hold up everything else.
  for (const std::function<void()>& fn : std::exchange(due_, {})) fn();
  RunDurable(committed);  // what those queued
  FlushSessions();
  if (!when_relieved_.empty() && !Congested()) {
    for (const std::function<void()>& fn : std::exchange(when_relieved_, {})) fn();
  }
  if (!due_.empty()) poller_.Wake();
}

// What runs may queue more.
void Loop::RunDurable(RecordSequence committed) {
  while (!waiting_.empty() && waiting_.begin()->first <= committed) {
    const auto node = waiting_.extract(waiting_.begin());
    node.mapped()();
  }
}

// ---- effects ----

void Loop::Queue(Effect effect) {
  if (const SessionId session = SessionOf(effect); !session.is_none()) {
    return AddToSession(session, std::move(effect));
  }
  const RecordSequence rests_on = effect.rests_on;
  std::function<void()> carry_out = std::visit(
      [this](auto& what) -> std::function<void()> {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, AnswerError>) {
          return [this, what] { Answered(what.request, what.status); };
        } else if constexpr (std::is_same_v<What, NotifyJob>) {
          return [this, what] { Notify(what); };
        } else if constexpr (requires { what.request; }) {
          return [this, what] { Answered(what.request, Answer::value_type(what)); };
        } else {
          HAUL_UNREACHABLE("an effect for a session");
        }
      },
      effect.what);
  waiting_.emplace(rests_on, std::move(carry_out));
}

void Loop::AddToSession(SessionId id, Effect effect) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;  // gone; its worker is told anew when it comes back
  it->second.queue.Add(WithInputs(id, std::move(effect)), store_thread_->committed());
  busy_sessions_.insert(id);
}

void Loop::FlushSessions() {
  if (busy_sessions_.empty()) return;
  const std::int64_t now_us = ReadClocks().monotonic_us;
  for (auto it = busy_sessions_.begin(); it != busy_sessions_.end();) {
    it = Flush(*it, now_us) ? std::next(it) : busy_sessions_.erase(it);
  }
}

namespace {

void Say(SessionPort& port, const SessionQueue::Item& item) {
  const auto& what = item.effect.what;
  if (const auto* assignment = std::get_if<SendAssignment>(&what)) {
    port.Assign(*assignment, item.job_template.get(), item.inputs);
  } else if (const auto* durable = std::get_if<SendDurable>(&what)) {
    port.Durable(durable->through);
  } else if (const auto* welcome = std::get_if<SendWelcome>(&what)) {
    port.Welcome(*welcome);
  } else if (const auto* revoke = std::get_if<SendRevoke>(&what)) {
    port.Revoke(*revoke);
  } else if (const auto* cancel = std::get_if<SendCancel>(&what)) {
    port.Cancel(*cancel);
  } else if (const auto* drain = std::get_if<SendDrain>(&what)) {
    port.Drain(drain->deadline_ms);
  } else if (std::holds_alternative<SendStop>(what)) {
    port.Stop();
  } else if (std::holds_alternative<SendDepart>(what)) {
    port.Depart();
  }
}

}  // namespace

bool Loop::Flush(SessionId id, std::int64_t now_us) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return false;
  Session& session = it->second;
  const SessionQueue::Look look = session.queue.Take(store_thread_->committed(), now_us);
  if (look.again_at_us && !std::exchange(session.is_looked_at_later, true)) {
    RunAt(*look.again_at_us, [this, id] {
      const auto later = sessions_.find(id);
      if (later == sessions_.end()) return;
      later->second.is_looked_at_later = false;
      busy_sessions_.insert(id);
    });
  }
  for (const SessionQueue::Item& item : look.leaving) {
    if (const auto* close = std::get_if<CloseSession>(&item.effect.what)) {
      SessionPort* const port = session.port;
      sessions_.erase(it);
      port->Close(close->status);
      return false;
    }
    Say(*session.port, item);
  }
  if (!look.leaving.empty()) session.port->Send();
  return !look.again_at_us && !session.queue.empty();
}

void Loop::Answered(RequestId request, const Answer& answer) {
  const auto node = requests_.extract(request);
  if (node.empty()) return;
  node.mapped()(answer);
}

void Loop::Notify(const NotifyJob& notify) {
  if (notify.forgotten && on_forgotten_) on_forgotten_(notify.job);
  const auto watches = watches_.find(notify.job);
  if (watches == watches_.end()) return;
  const std::map<WatchId, std::function<void()>> to_run = watches->second;  // they may unwatch
  for (const auto& [id, fn] : to_run) fn();
}

// ---- for the rpc rooms ----

// NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved into the table.
RequestId Loop::NewRequest(AnswerCallback callback) {
  const RequestId id(++last_request_);
  requests_.emplace(id, std::move(callback));
  return id;
}

void Loop::WhenDurable(std::function<void()> fn) {
  waiting_.emplace(core_->last_sequence(), std::move(fn));
}

SessionId Loop::OpenSession(SessionPort* port) {
  const SessionId id(++last_session_);
  sessions_[id].port = port;
  return id;
}

void Loop::SessionEnded(SessionId session) {
  if (sessions_.erase(session) == 0) return;
  Handle(SessionClosed{session});
}

bool Loop::TryRead(SideThread::Work work) {
  return !read_thread_->is_half_full() && read_thread_->TryRun(std::move(work));
}

namespace {

absl::Status TooManyReaders() {
  return absl::ResourceExhaustedError(
      absl::StrCat("reads: ", SideThread::kCapacity / 2,
                   " wait for the store, which is the limit; try again later"));
}

}  // namespace

void Loop::ReadOutcomes(const OutcomeQuery& query, PageCallback done) {
  const Job* job = core_->state().FindJob(query.job);
  if (job == nullptr) {
    due_.push_back(
        [done = std::move(done)] { done(absl::NotFoundError("the job was forgotten")); });
    return;
  }
  if (job->facts.spec.is_volatile) {
    due_.push_back(
        [this, query, done = std::move(done)] { done(memory_reader_->ReadOutcomes(query)); });
    return;
  }
  const bool taken = TryRead([this, query, done]() -> SideThread::Continuation {
    return [done, page = reader_->ReadOutcomes(query)]() mutable { done(std::move(page)); };
  });
  if (!taken) {
    due_.push_back([done] { done(TooManyReaders()); });
  }
}

void Loop::ReadTemplate(JobId id, std::function<void(absl::StatusOr<std::string>)> done) {
  if (const auto it = templates_.find(id); it != templates_.end()) {
    return WhenDurable([done = std::move(done), text = *it->second] { done(text); });
  }
  const Job* job = core_->state().FindJob(id);
  if (job != nullptr && job->facts.spec.is_volatile) {
    return WhenDurable(
        [this, id, done = std::move(done)] { done(memory_reader_->ReadTemplate(id)); });
  }
  const bool taken = TryRead([this, id, done]() -> SideThread::Continuation {
    return [done, text = reader_->ReadTemplate(id)]() mutable { done(std::move(text)); };
  });
  if (!taken) {
    due_.push_back([done] { done(TooManyReaders()); });
  }
}

void Loop::RunAt(std::int64_t monotonic_us, std::function<void()> fn) {
  timers_.emplace(monotonic_us, std::move(fn));
}

void Loop::RunTimers() {
  const std::int64_t now_us = ReadClocks().monotonic_us;
  while (!timers_.empty() && timers_.begin()->first <= now_us) {
    const auto node = timers_.extract(timers_.begin());
    node.mapped()();
  }
}

Loop::WatchId Loop::Watch(JobId job, std::function<void()> fn) {
  watches_[job].emplace(++last_watch_, std::move(fn));
  return last_watch_;
}

void Loop::Unwatch(JobId job, WatchId watch) {
  const auto it = watches_.find(job);
  if (it == watches_.end()) return;
  it->second.erase(watch);
  if (it->second.empty()) watches_.erase(it);
}

const WorkerJoined* Loop::WorkerOnceKnown(WorkerId id) const {
  const auto it = workers_once_known_.find(id);
  return it == workers_once_known_.end() ? nullptr : &it->second;
}

void Loop::WhenRelieved(std::function<void()> fn) { when_relieved_.push_back(std::move(fn)); }

}  // namespace haul::coordinator
