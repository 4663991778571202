// The one thread that owns the core: events in, records to the store, effects out when what they
// rest on is durable.
//
// A turn: the poller runs the handlers of whatever came in (each may call Handle), then time passes
// for the core, then one batch of durable records goes to the store thread. Every method is called
// on the loop thread unless it says otherwise. Poller, stores and options outlive the loop; so do
// the callbacks' targets.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/core.h"
#include "coordinator/core/session_queue.h"
#include "coordinator/loop/input_cache.h"
#include "coordinator/loop/ports.h"
#include "coordinator/loop/recent_outcomes.h"
#include "coordinator/loop/side_thread.h"
#include "coordinator/loop/store_thread.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

struct LoopOptions {
  CoreOptions core;
  std::size_t input_cache_bytes = 24 << 20;
  // Of outcomes that were just committed, for those who follow their jobs.
  std::size_t recent_outcomes_bytes = 16 << 20;
  // Above this nothing more is read from workers and submitters until the store has caught up.
  std::size_t store_backlog_bytes = 64 << 20;
  std::int64_t tick_ms = 100;  // how long a turn waits when nothing happens
  // What volatile jobs may fill. What does not fit is refused at submit, or, when a result brings
  // it, that task fails with Cause::kOutputLimit. Outcomes without results may fill as much again;
  // then a job that brings more is cancelled.
  std::size_t volatile_bytes = std::numeric_limits<std::size_t>::max();
  std::function<std::size_t()> volatile_bytes_used;  // absent: none
};

// What passes beside the core with an event.
struct Payload {
  std::vector<Outcome> outcomes;  // of TasksFinished, by position
  std::string job_template;       // of JobSubmitted
  PackedBytes inputs;             // of JobExtendAsked
};

using Answer = absl::StatusOr<std::variant<AnswerSubmit, AnswerExtend, AnswerJob, AnswerWorker>>;
using AnswerCallback = std::function<void(const Answer&)>;

class Loop {
 public:
  // Recovers from `store` (durable) and begins to serve; `memory` holds volatile jobs, and has no
  // bound of its own below what LoopOptions::volatile_bytes says.
  static absl::StatusOr<std::unique_ptr<Loop>> Create(LoopOptions options, Store& store,
                                                      Store& memory, Poller& poller);
  ~Loop();  // commits what was decided

  // Takes turns until Stop, or until the store fails (then that is the status).
  absl::Status Run();
  void Stop();  // any thread, any number of times

  // ---- for the rpc rooms ----
  const Core& core() const { return *core_; }

  void Handle(Event event, Payload payload = {});
  // The answer comes when it is durable, exactly once, never from within this call.
  RequestId NewRequest(AnswerCallback callback);
  // Runs `fn` once everything decided so far is durable: for answers about the state as it is now.
  void WhenDurable(std::function<void()> fn);

  SessionId OpenSession(SessionPort* port);
  // The stream is gone; `port` is not called any more.
  void SessionEnded(SessionId session);

  // Inputs of a submit that is under way. They are the job's when its JobSubmitted is accepted.
  InputSetId NewInputSet() { return InputSetId(++last_input_set_); }
  // Whether this job, if it is volatile, may come in. RESOURCE_EXHAUSTED.
  absl::Status CheckRoom(const JobSpec& spec, std::size_t template_bytes) const;
  // Whether an open job may get these inputs. RESOURCE_EXHAUSTED.
  absl::Status CheckRoom(JobId open, const PackedBytes& inputs) const;
  // RESOURCE_EXHAUSTED for those of a volatile job.
  absl::Status StageInputs(InputSetId set, bool is_volatile, TaskIndex first, PackedBytes values);
  void DropInputs(InputSetId set, bool is_volatile);

  // Outcomes of a job, read beside the loop; `done` runs later on the loop thread.
  using PageCallback = std::function<void(absl::StatusOr<OutcomePage>)>;
  void ReadOutcomes(const OutcomeQuery& query, PageCallback done);
  // For one who reads all outcomes of a job in order of completion as they come: they need not be
  // read from the store once it has what came before.
  void KeepRecent(JobId job) { recent_.Keep(job, core_->last_sequence()); }
  void ReleaseRecent(JobId job) { recent_.Release(job); }
  // Whether a complete page that is asked for now holds all that came before what is kept.
  bool RecentFollowsStore(JobId job) const {
    return recent_.BeginsWithin(job, store_thread_->committed());
  }
  // What is committed beyond the query's cursor; nothing where the store is to be read.
  std::optional<OutcomePage> ReadRecent(const OutcomeQuery& query) {
    return recent_.Read(query.job, query.cursor, query.byte_limit);
  }
  // The serialized template of a job, likewise.
  void ReadTemplate(JobId job, std::function<void(absl::StatusOr<std::string>)> done);

  // Whoever had that id, also when it has left; nullptr for none.
  const WorkerJoined* WorkerOnceKnown(WorkerId id) const;

  // Runs `fn` in the turn that follows that time.
  void RunAt(std::int64_t monotonic_us, std::function<void()> fn);

  // `fn` runs whenever there may be something new about the job, until Unwatch.
  using WatchId = std::uint64_t;
  WatchId Watch(JobId job, std::function<void()> fn);
  void Unwatch(JobId job, WatchId watch);

  // `fn` goes on reading from outside: at the end of a turn, when what was read has left for
  // others, or, while congested, of the turn when that is over. For gRPC tells the sender of each
  // message at once, when the next may come, that there is room again.
  bool Congested() const { return store_thread_->waiting_bytes() > options_.store_backlog_bytes; }
  void WhenRelieved(std::function<void()> fn);

  // Large outputs: files are written and read there.
  SideThread& files() { return *files_thread_; }
  // Called when a job was forgotten, durably.
  void set_on_forgotten(std::function<void(JobId)> fn) { on_forgotten_ = std::move(fn); }

 private:
  struct Session {
    SessionPort* port = nullptr;
    SessionQueue queue;
    bool is_looked_at_later = false;  // a timer is set
  };

  Loop(LoopOptions options, Store& store, Store& memory, Poller& poller);
  absl::Status Recover();
  absl::Status Turn();
  void Take(StepResult result, Payload* payload);
  Write ToWrite(const DurableRecord& record, Payload* payload) const;
  void OnRecord(const DurableRecord& record, Payload* payload);
  std::size_t VolatileBytesUsed() const {
    return options_.volatile_bytes_used ? options_.volatile_bytes_used() : 0;
  }
  // What volatile jobs may still fill.
  std::size_t VolatileRoom() const;
  absl::Status NoRoomFor(const std::string& what) const;
  absl::Status CheckInputRoom(const PackedBytes& inputs) const;
  // Before the core hears of it: what does not fit into what volatile jobs may fill is dropped.
  void KeepWithinRoom(TasksFinished& event, Payload& payload);
  void RunTimers();
  void CommitTurn();
  void Release();
  void RunDurable(RecordSequence committed);
  void Queue(Effect effect);
  void AddToSession(SessionId session, Effect effect);
  void AddWrites(const StepResult::Durable& durable, Payload* payload);
  void AddInputs(const JobExtended& extended, PackedBytes values);
  SessionQueue::Item WithInputs(SessionId session, Effect effect);
  // For clients, who can be refused: half of what the thread takes is for inputs alone.
  bool TryRead(SideThread::Work work);
  void ReadInputs(SessionId session, AssignmentId assignment, InputSetId set, TaskRange tasks);
  void FlushSessions();
  // Whether more may leave with the next commit, or when inputs were read.
  bool Flush(SessionId session, std::int64_t now_us);
  void Answered(RequestId request, const Answer& answer);
  void Notify(const NotifyJob& notify);

  const LoopOptions options_;
  Store& store_;
  Store& memory_;
  Poller& poller_;
  std::atomic<bool> stopping_ = false;

  std::unique_ptr<Core> core_;
  std::unique_ptr<StoreReader> reader_;         // used on the read thread alone
  std::unique_ptr<StoreReader> memory_reader_;  // used here
  std::unique_ptr<StoreThread> store_thread_;
  std::unique_ptr<SideThread> read_thread_;
  std::unique_ptr<SideThread> files_thread_;

  std::vector<Write> writes_;         // of this turn, durable
  std::vector<Write> memory_writes_;  // of this step, volatile
  // What waits for the disk, by the record that it rests on.
  std::multimap<RecordSequence, std::function<void()>> waiting_;
  std::vector<std::function<void()>> due_;  // rests on nothing: at the end of a turn
  std::multimap<std::int64_t, std::function<void()>> timers_;  // by the monotonic time
  absl::flat_hash_map<RequestId, AnswerCallback> requests_;
  std::map<SessionId, Session> sessions_;
  std::set<SessionId> busy_sessions_;  // whose queues are looked at in each turn
  absl::flat_hash_map<JobId, std::shared_ptr<const std::string>> templates_;  // of unfinished jobs
  std::map<JobId, std::map<WatchId, std::function<void()>>> watches_;
  std::vector<std::function<void()>> when_relieved_;
  std::function<void(JobId)> on_forgotten_;
  absl::flat_hash_map<WorkerId, WorkerJoined> workers_once_known_;
  InputCache input_cache_;
  RecentOutcomes recent_;
  absl::Status failure_;  // of what must not fail; ends the loop

  std::uint64_t last_request_ = 0;
  std::uint64_t last_session_ = 0;
  std::uint64_t last_input_set_ = 0;
  WatchId last_watch_ = 0;
};

}  // namespace haul::coordinator
