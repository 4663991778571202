// The programming model of a pool over a cluster: an Executor takes calls of functions
// (haul/function.h) and gives futures; workers that serve the functions run them.
//
//   std::unique_ptr<haul::Client> client = *haul::Client::Connect();
//   haul::Executor executor(*client, {.max_attempts = 3});
//   haul::Future<std::uint64_t> primes = executor.Submit(kCountPrimes, 1, 1000);
//   std::cout << primes.Get();
//   for (const std::uint64_t count : executor.Map(kCountPrimes, ranges)) …   // in order, lazily
//   for (auto& done : haul::AsCompleted(futures)) …                          // as they end
//   auto [done, pending] = haul::Wait(futures, haul::kFirstCompleted, std::chrono::seconds(5));
//
// Standard C++20 only. Everything here may be used from any thread; a future is a handle that can
// be copied, and outlives its executor.
#pragma once

#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "haul/client.h"
#include "haul/function.h"

namespace haul {

// ---------------------------------------------------------------- errors

// What Future::Get throws where the task did not succeed.
class TaskError : public std::runtime_error {
 public:
  TaskError(const std::string& message, client::FailureCause cause, std::int32_t code)
      : std::runtime_error(message), cause_(cause), code_(code) {}
  client::FailureCause cause() const { return cause_; }
  std::int32_t code() const { return code_; }  // a signal, or an exit code

 private:
  client::FailureCause cause_;
  std::int32_t code_;
};
class FunctionError : public TaskError {  // the function threw; its message
  using TaskError::TaskError;
};
class CrashError : public TaskError {  // it ended its process, by a signal or by exit
  using TaskError::TaskError;
};
class TimeoutError : public TaskError {
  using TaskError::TaskError;
};
class CancelledError : public TaskError {
  using TaskError::TaskError;
};
class LostError : public TaskError {  // its worker is gone, and it was to start at most once
  using TaskError::TaskError;
};

// Not the task but the cluster failed: no coordinator, a function that nobody serves, results that
// are not what the function declares. Thrown by Submit and by Future::Get.
class ExecutorError : public std::runtime_error {
 public:
  explicit ExecutorError(const client::Status& status)
      : std::runtime_error(status.message()), kind_(status.kind()) {}
  client::ErrorKind kind() const { return kind_; }

 private:
  client::ErrorKind kind_;
};

// Where and when a task ran, once it has ended. With `detail` these are the task's own, otherwise
// those of the run of tasks that it was part of.
struct TaskInfo {
  std::uint64_t job_id = 0;
  std::uint64_t task_index = 0;
  std::string worker;
  std::string host;
  std::uint32_t pid = 0;
  std::uint32_t attempt = 1;
  std::int64_t started_unix_us = 0;
  std::int64_t finished_unix_us = 0;
};

// ---------------------------------------------------------------- what futures stand on

namespace internal {

// What tasks of one open job wait on.
struct Board {
  std::mutex mutex;
  std::condition_variable ended;
  std::function<void(std::uint64_t task)> cancel;  // none once the job is gone
};

// Positions of tasks in the order in which they end.
class EndQueue {
 public:
  void Push(std::size_t position);
  // nothing at `deadline`.
  std::optional<std::size_t> PopUntil(
      std::optional<std::chrono::steady_clock::time_point> deadline);

 private:
  std::mutex mutex_;
  std::condition_variable pushed_;
  std::deque<std::size_t> positions_;
};

class Task {
 public:
  struct Ending {
    client::TaskState state = client::TaskState::kSucceeded;
    client::FailureCause cause = client::FailureCause::kNone;
    std::int32_t code = 0;
    std::string message;
    std::string result;
    client::Status broken;  // nothing is known of the task
    TaskInfo info;
  };

  Task(std::shared_ptr<Board> board, std::uint64_t index)
      : board_(std::move(board)), index_(index) {}

  bool done() const;
  void Wait() const;
  bool WaitUntil(std::chrono::steady_clock::time_point deadline) const;
  void Cancel();
  // Once it is done; throws what became of it where that is not a result.
  const Ending& Succeeded() const;
  const Ending& ending() const { return ending_; }  // once it is done
  // Runs `fn` when it is done, on the thread that learns of it; now, if it is.
  void WhenDone(std::function<void()> fn);
  // Likewise puts `position` into `queue`, unless nobody waits there any more.
  void PushWhenDone(const std::shared_ptr<EndQueue>& queue, std::size_t position);
  // The first counts. What was to be run then is appended to `to_run`; the caller holds the board.
  void End(Ending ending, std::vector<std::function<void()>>& to_run);

 private:
  const std::shared_ptr<Board> board_;
  const std::uint64_t index_;
  bool done_ = false;
  Ending ending_;
  std::vector<std::function<void()>> when_done_;
  std::vector<std::pair<std::weak_ptr<EndQueue>, std::size_t>> queues_;  // and the place in each
};

}  // namespace internal

// ---------------------------------------------------------------- futures

template <typename T>
class Future {
 public:
  Future() = default;
  explicit Future(std::shared_ptr<internal::Task> task) : task_(std::move(task)) {}

  bool valid() const { return task_ != nullptr; }
  bool done() const { return task_->done(); }
  void Wait() const { task_->Wait(); }
  template <typename Rep, typename Period>
  bool WaitFor(std::chrono::duration<Rep, Period> timeout) const {  // whether it is done
    return task_->WaitUntil(std::chrono::steady_clock::now() +
                            std::chrono::duration_cast<std::chrono::nanoseconds>(timeout));
  }
  // Waits for the result. Throws a TaskError or an ExecutorError.
  T Get() const {
    task_->Wait();
    const internal::Task::Ending& ending = task_->Succeeded();
    try {
      return Function<T()>::DecodeResult(ending.result);
    } catch (const DecodeError& error) {
      throw ExecutorError(client::Status(
          client::ErrorKind::kFailed, std::string("the result cannot be read: ") + error.what()));
    }
  }
  // Waits; where it ran, also where it failed.
  const TaskInfo& info() const {
    task_->Wait();
    return task_->ending().info;
  }
  // Waits; whether Get would throw.
  bool failed() const {
    task_->Wait();
    return !task_->ending().broken.ok() || task_->ending().state != client::TaskState::kSucceeded;
  }
  // Asks that it end: what has not started never will, and what runs is asked to stop (its
  // stop_token), and after some seconds made to. Returns at once. Then Get throws CancelledError,
  // or gives what came of it all the same. Throws ExecutorError where no thread can be started to
  // say so.
  void Cancel() const { task_->Cancel(); }
  // Runs `fn(future)` when it is done, on a thread of the executor; at once where it is done. `fn`
  // must neither wait for the executor nor throw.
  template <typename Fn>
  void Then(Fn fn) const {
    task_->WhenDone([future = *this, fn = std::move(fn)]() mutable { fn(future); });
  }

  // co_await future: its result, on a thread of the executor.
  bool await_ready() const { return done(); }
  void await_suspend(std::coroutine_handle<> waiting) const {
    task_->WhenDone([waiting] { waiting.resume(); });
  }
  T await_resume() const { return Get(); }

 private:
  template <typename U>
  friend class CompletedFutures;
  std::shared_ptr<internal::Task> task_;
};

// Futures in the order in which they end. Each at most once; ends early at the deadline.
template <typename T>
class CompletedFutures {
 public:
  CompletedFutures(std::vector<Future<T>> futures,
                   std::optional<std::chrono::steady_clock::time_point> deadline)
      : futures_(std::move(futures)),
        deadline_(deadline),
        queue_(std::make_shared<internal::EndQueue>()) {
    for (std::size_t i = 0; i < futures_.size(); ++i) {
      futures_[i].task_->PushWhenDone(queue_, i);
    }
  }

  // The next one to end; nullptr when all were given, or at the deadline.
  const Future<T>* Next() {
    if (given_ == futures_.size()) return nullptr;
    const std::optional<std::size_t> position = queue_->PopUntil(deadline_);
    if (!position.has_value()) return nullptr;
    ++given_;
    return &futures_[*position];
  }

  class Iterator {
   public:
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(CompletedFutures* all) : all_(all) { ++*this; }
    const Future<T>& operator*() const { return *current_; }
    const Future<T>* operator->() const { return current_; }
    Iterator& operator++() {
      current_ = all_->Next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return current_ == nullptr; }

   private:
    CompletedFutures* all_ = nullptr;
    const Future<T>* current_ = nullptr;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  std::vector<Future<T>> futures_;
  const std::optional<std::chrono::steady_clock::time_point> deadline_;
  const std::shared_ptr<internal::EndQueue> queue_;
  std::size_t given_ = 0;
};

// Without a timeout all of them come.
template <typename T>
CompletedFutures<T> AsCompleted(std::vector<Future<T>> futures,
                                std::optional<std::chrono::nanoseconds> timeout = std::nullopt) {
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (timeout.has_value()) deadline = std::chrono::steady_clock::now() + *timeout;
  return CompletedFutures<T>(std::move(futures), deadline);
}

enum class WaitUntil : std::uint8_t { kAllCompleted, kFirstCompleted, kFirstException };
inline constexpr WaitUntil kAllCompleted = WaitUntil::kAllCompleted;
inline constexpr WaitUntil kFirstCompleted = WaitUntil::kFirstCompleted;
inline constexpr WaitUntil kFirstException = WaitUntil::kFirstException;

template <typename T>
struct Waited {
  std::vector<Future<T>> done;  // in the order given
  std::vector<Future<T>> pending;
};

// Until all, or one, or one that failed has ended, or the timeout has passed.
template <typename T>
Waited<T> Wait(const std::vector<Future<T>>& futures, WaitUntil until = kAllCompleted,
               std::optional<std::chrono::nanoseconds> timeout = std::nullopt) {
  CompletedFutures<T> completed = AsCompleted(futures, timeout);
  while (const Future<T>* future = completed.Next()) {
    if (until == kFirstCompleted || (until == kFirstException && future->failed())) break;
  }
  Waited<T> waited;
  for (const Future<T>& future : futures) {
    (future.done() ? waited.done : waited.pending).push_back(future);
  }
  return waited;
}

// ---------------------------------------------------------------- executors

struct ExecutorOptions {
  std::string name;                 // of its jobs
  std::int32_t priority = 0;        // higher first
  std::uint32_t max_running = 0;    // tasks at once in the whole cluster; 0: no limit
  std::uint32_t cpus_milli = 1000;  // a task's request; 20 lets fifty waiting tasks share a cpu
  std::chrono::milliseconds timeout{0};  // of one attempt; 0: none
  std::uint32_t max_attempts = 1;
  bool at_most_once = false;
  bool volatile_job = false;  // never touches the disk: faster, and lost with the coordinator
  bool detail = false;        // TaskInfo of every single task
  Isolation isolation = Isolation::kThread;
  std::uint32_t tasks_per_process = 0;  // with kProcess: then a new one; 0: no limit
  // Its jobs are those of this task, and end with it: for hosts of functions. A function itself has
  // Context::Submit.
  std::optional<client::ParentTask> parent;
};

template <typename Result, typename Range>
class MapResults;

// One open job for each function that is called through it, from its first call until Close. A loop
// of calls is sent in few messages. Calls wait while 64 MiB of them have not been sent, counting
// 512 bytes for each besides its arguments.
class Executor {
 public:
  // `client` outlives it.
  explicit Executor(Client& client, ExecutorOptions options = {});
  ~Executor();  // Close and Join
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws ExecutorError: a function that nobody serves, arguments of more than 128 KiB, no
  // coordinator, no more threads for this process, or it is closed.
  template <typename Result, typename... Arguments>
  Future<Result> Submit(const Function<Result(Arguments...)>& function,
                        std::type_identity_t<Arguments>... arguments) {
    using Called = Function<Result(Arguments...)>;
    return Future<Result>(
        Add(function.name(), &Called::Signature, Called::EncodeArguments(arguments...)));
  }
  // Likewise where the function is known only now: its name and signature as it is served, and
  // arguments that are encoded already (codec.h).
  std::shared_ptr<internal::Task> SubmitEncoded(const std::string& function,
                                                const std::string& signature,
                                                std::string arguments);

  // The results of `function` for each element of `arguments`, in order: an element is the
  // argument, or a tuple or pair of several. Lazily: no more than `in_flight` are ahead of what was
  // taken. A range given as a variable must outlive the results.
  template <typename Result, typename... Arguments, std::ranges::input_range Range>
  auto Map(const Function<Result(Arguments...)>& function, Range&& arguments,
           std::size_t in_flight = 1024) {
    auto submit = [this, function](const auto& element) {
      if constexpr (sizeof...(Arguments) == 1) {
        return this->Submit(function, element);
      } else {
        return std::apply(
            [&](const auto&... argument) { return this->Submit(function, argument...); }, element);
      }
    };
    return MapResults<Result, Range>(std::forward<Range>(arguments), std::move(submit), in_flight);
  }

  // It takes no more calls.
  void Close();
  // Until every task has ended. After Close; also from several threads.
  void Join();
  // Closes it and cancels what has not ended: what has not started never will. While the
  // coordinator cannot be reached it is asked again, as long as the client is patient and the
  // executor stands; a future whose end is not known then throws ExecutorError.
  void Terminate();
  // That it has opened so far.
  std::vector<client::JobId> Jobs() const;
  // Leaves its jobs as they are: nothing more is sent to them, nothing more is heard of them, and
  // futures that have no result yet fail with kStopped.
  void Abandon();

 private:
  class Impl;
  std::shared_ptr<internal::Task> Add(const char* function, std::string (*signature)(),
                                      std::string arguments);
  std::unique_ptr<Impl> impl_;
};

// An input range of results; `Range` is a reference where a variable was given. Moving from it, or
// leaving the loop, abandons the rest, which runs all the same.
template <typename Result, typename Range>
class MapResults {
 public:
  using Element = std::ranges::range_reference_t<Range>;
  MapResults(Range&& arguments,
             std::function<Future<Result>(const std::remove_cvref_t<Element>&)> submit,
             std::size_t in_flight)
      : arguments_(std::forward<Range>(arguments)),
        submit_(std::move(submit)),
        in_flight_(in_flight == 0 ? 1 : in_flight) {}

  class Iterator {
   public:
    using value_type = Result;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(MapResults* all) : all_(all) {}
    Result operator*() const { return all_->futures_.front().Get(); }
    Iterator& operator++() {
      all_->futures_.pop_front();
      all_->Fill();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return all_->futures_.empty(); }

   private:
    MapResults* all_ = nullptr;
  };
  Iterator begin() {
    next_ = std::ranges::begin(arguments_);
    Fill();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  void Fill() {
    for (; futures_.size() < in_flight_ && *next_ != std::ranges::end(arguments_); ++*next_) {
      futures_.push_back(submit_(**next_));
    }
  }

  Range arguments_;
  std::function<Future<Result>(const std::remove_cvref_t<Element>&)> submit_;
  const std::size_t in_flight_;
  std::optional<decltype(std::ranges::begin(std::declval<std::remove_reference_t<Range>&>()))>
      next_;
  std::deque<Future<Result>> futures_;
};

}  // namespace haul
