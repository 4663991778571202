// The client of a Haul coordinator: submits jobs, follows them, fetches what they wrote, and asks
// about the cluster. Standard C++20 only; no gRPC or protobuf type appears here.
//
//   haul::client::Result<std::unique_ptr<haul::Client>> client = haul::Client::Connect();
//   if (!client.ok()) { … client.status().message() … }
//   haul::client::JobSpec spec;
//   spec.work = haul::client::Command{.arguments = {"echo", "{}"}, .directory = "/tmp"};
//   haul::client::ListSource inputs({"a", "b"});
//   haul::client::Result<haul::client::Submitted> job = (*client)->Submit(spec, inputs);
//
// Calls block. A Client may be used from any number of threads at once; everything else is a plain
// value. All times are microseconds since the Unix epoch (UTC), 0 where something has not happened.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace haul::internal {
class OpenJob;
}  // namespace haul::internal

namespace haul::client {

class Extender;
class JobFollower;

// ---------------------------------------------------------------- errors

enum class ErrorKind : std::uint8_t {
  kOk = 0,
  kInvalid,      // what was asked is wrong; the message names the field, the value and the limit
  kNotFound,     // no such job, worker or output
  kUnreachable,  // no answer from a coordinator within the time given
  kRefused,      // the token is wrong or missing, or a limit is reached for now
  kFailed,       // anything else
  kStopped,      // the caller's stop_token, or its callback, said so
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  bool ok() const { return kind_ == ErrorKind::kOk; }
  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }  // one line, for people

 private:
  ErrorKind kind_ = ErrorKind::kOk;
  std::string message_;
};

// A value, or why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : value_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.index() == 0; }
  Status status() const { return ok() ? Status() : std::get<1>(value_); }
  // Only where ok(); otherwise std::bad_variant_access is thrown.
  T& operator*() & { return std::get<0>(value_); }
  const T& operator*() const& { return std::get<0>(value_); }
  T&& operator*() && { return std::get<0>(std::move(value_)); }
  T* operator->() { return &std::get<0>(value_); }
  const T* operator->() const { return &std::get<0>(value_); }

 private:
  std::variant<T, Status> value_;
};

// ---------------------------------------------------------------- jobs

struct JobId {
  std::uint64_t value = 0;
  friend auto operator<=>(const JobId&, const JobId&) = default;
};

struct TaskRange {  // tasks [first, first + count) of a job
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// How a job is named: by its id, by its name (the newest of that name), or as the newest of all.
class JobRef {
 public:
  JobRef(JobId id) : ref_(id) {}  // NOLINT(google-explicit-constructor)
  static JobRef Named(std::string name) { return JobRef(Ref(std::move(name))); }
  static JobRef Last() { return JobRef(Ref(LastJob())); }
  // "17", "last", or a name.
  static JobRef Parse(std::string_view text);

  const JobId* id() const { return std::get_if<JobId>(&ref_); }
  const std::string* name() const { return std::get_if<std::string>(&ref_); }

 private:
  struct LastJob {};
  using Ref = std::variant<JobId, std::string, LastJob>;
  explicit JobRef(Ref ref) : ref_(std::move(ref)) {}
  Ref ref_;
};

// A program with arguments, started without a shell. Arguments, values of the environment, the
// directory and the stdin file may hold the placeholders {} {.} {/} {//} {/.} {#} {index} {1} {2} …
struct Command {
  std::vector<std::string> arguments;  // the program first; bytes
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;             // absolute, on the worker
  bool temporary_directory = false;  // a fresh one for each task instead; `directory` is empty
  std::string stdin_file;            // on the worker; empty: /dev/null
};

// What tasks of functions share. kThread: an executor process of their worker, each on a thread of
// its own; one that crashes ends what runs beside it, which is then run again. kProcess: nothing;
// a crash is that task's failure, with its signal or exit code.
enum class Isolation : std::uint8_t { kThread, kProcess };

struct FunctionCall {
  std::string name;       // "count_primes.v1"
  std::string signature;  // "u64(u64,u64)", as Functions() gives it
  bool detail = false;    // an outcome for each task, instead of one for a run of them
  Isolation isolation = Isolation::kThread;
  // With kProcess: a process runs one task after the other, so many; 0: no limit.
  std::uint32_t tasks_per_process = 0;
};

// Plain indices instead of input values: task i has the value start + i * step.
struct Array {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::uint64_t count = 1;
};

// The start of a task that submits a job, which ends with it.
struct ParentTask {
  std::uint64_t assignment_id = 0;  // the task's fencing token
  JobId job;
  std::uint64_t task = 0;
};

struct JobSpec {
  std::string name;
  std::variant<Command, FunctionCall> work;
  std::optional<Array> array;       // absent: one task for each input value
  std::int32_t priority = 0;        // higher first
  std::uint32_t max_running = 0;    // tasks at once in the whole cluster; 0: no limit
  std::uint32_t cpus_milli = 1000;  // a task's request; 1000 is one cpu
  std::uint64_t timeout_ms = 0;     // of one attempt; 0: none
  std::uint32_t max_attempts = 1;
  // Each start is on the disk before it happens; a task that is lost after it ends as lost, since
  // it must not start again. Only with max_attempts = 1.
  bool at_most_once = false;
  bool volatile_job = false;  // never touches the disk
  // It grows until it is closed (haul/executor.h). Submitted with the inputs there are, or none.
  bool open = false;
  std::optional<ParentTask> parent;  // absent: no task submits it
  // Commands only: most resident memory of a task with all its processes; 0: no limit.
  std::uint64_t memory_bytes = 0;
};

// Where input values come from. For commands a value is that of its sources, in order, separated by
// a zero byte; for functions it is the encoded arguments. Called by one thread, during Submit.
class InputSource {
 public:
  virtual ~InputSource() = default;
  // Sets the next value; false at the end, or on an error, which status() then tells.
  virtual bool Next(std::string* value) = 0;
  virtual Status status() const { return Status(); }
  // Starts again from the first value; false where that cannot be done (a pipe).
  virtual bool Rewind() { return false; }
};

// Values that are in memory.
class ListSource : public InputSource {
 public:
  explicit ListSource(std::vector<std::string> values) : values_(std::move(values)) {}
  bool Next(std::string* value) override {
    if (next_ == values_.size()) return false;
    *value = values_[next_++];
    return true;
  }
  bool Rewind() override {
    next_ = 0;
    return true;
  }

 private:
  std::vector<std::string> values_;
  std::size_t next_ = 0;
};

struct Submitted {
  JobId job;
  bool already_accepted = false;  // by an earlier submit with the same request id
};

enum class JobState : std::uint8_t {
  kQueued = 1,  // nothing of it has been sent to a worker
  kRunning,
  kSucceeded,
  kFailed,
  kCancelled,
};
std::string_view Name(JobState state);  // "queued", …

// A running task that says how much of it is done.
struct RunningTask {
  std::uint64_t task = 0;
  std::uint32_t permille = 0;
  std::uint64_t worker_id = 0;
};

struct JobStatus {
  JobId id;
  JobState state = JobState::kQueued;
  JobSpec spec;
  std::uint64_t task_count = 0;
  std::string description;  // the command line or call, cut to 200 bytes, for people
  std::string owner;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t lost = 0;
  std::uint64_t assigned = 0;  // with a worker, running or in its backlog
  std::uint64_t ready = 0;
  std::uint64_t retried = 0;  // attempts charged beyond the first
  std::int64_t accepted_unix_us = 0;
  std::int64_t ended_unix_us = 0;
  std::string waiting_reason;         // why what is ready does not run, where it does not
  std::vector<RunningTask> progress;  // at most 100
  bool cancel_requested = false;

  bool ended() const { return state >= JobState::kSucceeded; }
  std::uint64_t done() const { return succeeded + failed + cancelled + lost; }
};

// ---------------------------------------------------------------- outcomes

enum class TaskState : std::uint8_t { kSucceeded = 1, kFailed, kCancelled, kLost };
std::string_view Name(TaskState state);  // "succeeded", …

enum class FailureCause : std::uint8_t {
  kNone = 0,
  kExitCode,
  kSignal,
  kTimeout,
  kMemoryLimit,
  kOutputLimit,
  kWorkerLost,
  kCancelled,
  kFunctionError,
  kStartFailed,
  kExecutorExit,
  kProcessLimit,
};
std::string_view Name(FailureCause cause);  // "exit_code", …; "" for kNone

// The byte values of consecutive tasks in one blob.
class Values {
 public:
  Values() = default;
  // Every value has `uniform_size` bytes, or value i ends at end_offsets[i]. False when that does
  // not describe `count` values within `data`.
  static bool FromParts(std::uint64_t count, std::uint32_t uniform_size,
                        std::vector<std::uint32_t> end_offsets, std::string data, Values* out);
  // i less than the number of tasks; an empty value where there are none.
  std::string_view operator[](std::uint64_t i) const;

 private:
  std::uint32_t uniform_size_ = 0;
  std::vector<std::uint32_t> end_offsets_;
  std::string data_;
};

// Consecutive tasks that ended alike. Commands, and functions with `detail`, have one for each
// task.
struct Outcome {
  std::uint64_t first = 0;
  std::uint64_t count = 1;
  TaskState state = TaskState::kSucceeded;
  FailureCause cause = FailureCause::kNone;
  std::int32_t code = 0;  // exit code, signal, or errno of a failed start
  std::string message;
  Values results;            // a function's result, or what the command wrote to stdout
  std::string error_output;  // what the command wrote to stderr
  std::string output_file;  // set where the result is large: it is fetched with FetchOutput instead
  std::uint64_t output_bytes = 0;
  std::string error_file;  // likewise for stderr
  std::uint64_t error_bytes = 0;
  std::int64_t queued_unix_us = 0;
  std::int64_t started_unix_us = 0;   // of the first of them
  std::int64_t finished_unix_us = 0;  // of the last of them
  std::uint64_t busy_ns = 0;          // sum of the tasks' own durations
  std::uint32_t pid = 0;
  std::uint64_t user_cpu_us = 0;
  std::uint64_t system_cpu_us = 0;
  std::uint64_t peak_memory_bytes = 0;
  std::uint32_t attempt = 1;
  std::uint64_t fencing_token = 0;
  std::uint64_t worker_id = 0;
  std::string worker_name;
  std::string host;
  std::uint64_t sequence = 0;  // position in order of completion
};

struct FollowOptions {
  bool follow = true;        // until the job has ended; otherwise only what there is
  bool in_order = false;     // by task index; otherwise in order of completion
  bool with_payload = true;  // results and outputs, not only how each task ended
  std::uint64_t first = 0;   // only outcomes that touch [first, first + count);
  std::uint64_t count = 0;   // 0: all
  bool unsuccessful_only = false;
  bool status_only = false;  // no outcomes, only the job's status as it changes
  std::uint64_t cursor = 0;  // of an earlier update; 0: from the start
  // Told when the connection is lost and Follow goes on trying.
  std::function<void(const Status& why)> on_connection_lost;
};

struct FollowUpdate {
  std::vector<Outcome> outcomes;
  std::optional<JobStatus> status;
  std::uint64_t cursor = 0;  // everything up to here has been delivered
};

// ---------------------------------------------------------------- the cluster

struct FunctionInfo {
  std::string name;
  std::string signature;
  std::string library;
  std::uint32_t workers = 0;  // that serve it and have not left
};

enum class WorkerState : std::uint8_t { kConnected = 1, kAway, kDraining, kLeft };
std::string_view Name(WorkerState state);  // "connected", …

struct WorkerAssignment {
  std::uint64_t assignment_id = 0;
  JobId job;
  std::uint64_t first = 0;
  std::uint64_t remaining = 0;
  std::uint32_t width = 0;
};

struct WorkerStatus {
  std::uint64_t id = 0;
  std::string name;
  std::string host;
  std::uint32_t pid = 0;
  WorkerState state = WorkerState::kConnected;
  std::string version;
  std::uint64_t cpus_milli = 0;
  std::uint64_t cpus_milli_reserved = 0;
  std::uint32_t processes = 0;
  std::uint32_t threads = 0;
  std::uint64_t tasks_assigned = 0;
  std::uint64_t tasks_ended = 0;
  std::int64_t joined_unix_us = 0;
  std::int64_t last_heard_unix_us = 0;
  std::vector<FunctionInfo> functions;
  std::vector<WorkerAssignment> assignments;  // of Worker() only
};

struct CoordinatorInfo {
  std::string version;
  std::uint64_t epoch = 0;
  std::uint32_t pid = 0;
  std::string data_directory;
  std::string address;
  std::int64_t started_unix_us = 0;
  std::uint64_t jobs_active = 0;
  std::uint64_t jobs_ended = 0;
  std::uint64_t workers_connected = 0;
  std::uint64_t tasks_ready = 0;
  std::uint64_t tasks_assigned = 0;
  std::uint64_t cpus_milli = 0;
  std::uint64_t resident_bytes = 0;
  bool adopting = false;  // still waiting for workers known before its restart
};

// ---------------------------------------------------------------- the client

struct ConnectOptions {
  // Empty: from the environment, the configuration file, or the default data directory, as the
  // program `haul` does.
  std::string coordinator;  // "host:port"
  std::string data_dir;
  std::string token_file;
  std::string token;                                   // itself; then no file is read
  std::chrono::milliseconds timeout{5000};             // of Connect
  std::chrono::milliseconds reconnect_timeout{60000};  // see Client
  // Ends Connect, Submit, CancelJobs and the calls that fail at once, whatever they wait for:
  // kStopped.
  std::stop_token stop;
};

// Where the connection is lost, Submit (of a source that can be rewound), CancelJobs, Follow, Wait
// and FetchOutput try again for `reconnect_timeout` before they give up with kUnreachable; the
// other calls fail at once.
class Client {
 public:
  // kUnreachable: nobody answers within the timeout. kRefused: the token is wrong or missing.
  static Result<std::unique_ptr<Client>> Connect(const ConnectOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Returns when the job is durable (with volatile_job: accepted). Memory use does not grow with
  // the inputs. Each submit carries a request id, random unless one is given (1 to 256 bytes): a
  // repeat with the same id gives the first one's job. So a submit whose connection broke can be
  // repeated safely, and this does so where `inputs` can be rewound; where not, kUnreachable says
  // that the job may or may not have been accepted.
  Result<Submitted> Submit(const JobSpec& spec, InputSource& inputs, std::string request_id = "");
  // For jobs with an array, or with one task: the command as it is, or the function without
  // arguments.
  Result<Submitted> Submit(const JobSpec& spec, std::string request_id = "");

  Result<JobStatus> GetJob(const JobRef& job);
  // Newest first, at most `limit` (0: 100; up to 1000), of ids less than `before` where it is set.
  Result<std::vector<JobStatus>> ListJobs(std::uint32_t limit = 0, bool active_only = false,
                                          std::optional<JobId> before = std::nullopt);
  // What has not started never will, what runs is asked to stop.
  Result<JobStatus> Cancel(const JobRef& job, const std::stop_token& stop = {});
  // Likewise these tasks alone, as far as the job has them; at least one range, at most 65,536.
  // What a worker has of them is cancelled once its outcome says so: after a restart of the
  // coordinator that is to be asked for again.
  Result<JobStatus> CancelTasks(const JobRef& job, const std::vector<TaskRange>& tasks,
                                const std::stop_token& stop = {});
  // These jobs, some of them at once; those that there are not are skipped. Where one is refused,
  // the others are cancelled all the same.
  Status CancelJobs(std::vector<JobId> jobs);
  // Removes an ended job and its results; kFailed while it goes on.
  Result<JobId> Forget(const JobRef& job);

  // Until the job has ended, or `timeout` has passed: the status then is not ended().
  Result<JobStatus> Wait(const JobRef& job,
                         std::optional<std::chrono::milliseconds> timeout = std::nullopt,
                         std::stop_token stop = {});
  // Calls `on_update`, on this thread, with outcomes as they become durable, each exactly once. It
  // ends when the job has ended and everything was delivered; with kStopped after `on_update`
  // returned false or when `stop` was requested.
  Status Follow(const JobRef& job, const FollowOptions& options,
                const std::function<bool(FollowUpdate& update)>& on_update,
                std::stop_token stop = {});
  // Outcome::output_file or error_file, piece by piece, from `offset` on.
  Status FetchOutput(JobId job, const std::string& file,
                     const std::function<bool(std::string_view piece)>& on_piece,
                     std::uint64_t offset = 0, std::stop_token stop = {});

  Result<std::vector<WorkerStatus>> Workers();
  // By name or id; with what it holds.
  Result<WorkerStatus> Worker(const std::string& worker);
  // It finishes what it runs, takes nothing new, and leaves. After `deadline_ms` what still runs is
  // stopped, and runs elsewhere uncharged; 0: no deadline. Of several calls the earliest counts.
  Result<WorkerStatus> Drain(const std::string& worker, std::uint64_t deadline_ms = 0);
  // It ends what it runs, hands that back uncharged, and leaves.
  Result<WorkerStatus> StopWorker(const std::string& worker);
  Result<std::vector<FunctionInfo>> Functions();

  Result<CoordinatorInfo> Info();
  // Workers keep what they run, and wait for the coordinator to come back.
  Status StopCoordinator();

  const std::string& address() const;  // "host:port", as connected

 private:
  struct Impl;
  friend class haul::internal::OpenJob;
  friend class Extender;
  friend class JobFollower;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace haul::client

namespace haul {
using client::Client;
using client::Isolation;
}  // namespace haul
