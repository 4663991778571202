#include "haul/executor.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

namespace haul {

using client::ErrorKind;
using client::FailureCause;
using client::Status;
using client::TaskState;

namespace internal {

// ---------------------------------------------------------------- open jobs

// Of one call: the coordinator takes no more, and would refuse with it what else is on the way.
constexpr std::size_t kMostArgumentBytes = 128 << 10;
// Calls wait while so much has not been sent.
constexpr std::size_t kWaitingBytes = 64 << 20;
// Of one message.
constexpr std::size_t kBatchBytes = 512 << 10;
constexpr std::size_t kBatchCount = 1 << 16;
// Of cancelled tasks in one call, and how often it is repeated.
constexpr std::size_t kMostRanges = 10'000;
constexpr std::chrono::seconds kAskAgain{2};

// The calls of one function: an open job, a thread that extends it, and one that follows it.
class OpenJob final : public client::TaskFeed {
 public:
  OpenJob(Client& client, client::JobId job)
      : client_(client), job_(job), board_(std::make_shared<Board>()) {
    board_->cancel = [this](std::uint64_t task) { Cancel(task); };
    extender_ = std::jthread([this](const std::stop_token& stop) { Extend(stop); });
    follower_ = std::jthread([this](const std::stop_token& stop) { Follow(stop); });
  }
  OpenJob(const OpenJob&) = delete;
  OpenJob& operator=(const OpenJob&) = delete;
  ~OpenJob() override {
    Close();
    Join();
    const std::lock_guard lock(board_->mutex);
    board_->cancel = nullptr;
  }

  // nullptr where it is closed.
  std::shared_ptr<Task> Add(std::string arguments) {
    std::shared_ptr<Task> task;
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [this] { return waiting_bytes_ < kWaitingBytes || closed_; });
      if (closed_) return nullptr;
      waiting_bytes_ += arguments.size();
      waiting_.push_back(std::move(arguments));
      task = std::make_shared<Task>(board_, released_ + tasks_.size());
      tasks_.push_back(task);
    }
    added_.notify_one();
    return task;
  }

  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    added_.notify_all();
    room_.notify_all();
  }

  void Join() {
    const std::lock_guard lock(join_mutex_);
    if (extender_.joinable()) extender_.join();
    if (follower_.joinable()) follower_.join();
  }

  // What has not started never will. What was not even sent ends here.
  void Terminate() {
    {
      const std::lock_guard lock(mutex_);
      terminated_ = true;
    }
    Close();
    const auto cancelled = client_.Cancel(client::JobRef(job_));
    if (!cancelled.ok()) Fail(0, cancelled.status());
  }

  void Abandon() {
    extender_.request_stop();
    follower_.request_stop();
    Close();
    Join();
  }

  Said Next(std::chrono::milliseconds patience, std::vector<std::string>* inputs) override {
    std::unique_lock lock(mutex_);
    added_.wait_for(lock, patience, [this] { return !waiting_.empty() || closed_; });
    std::size_t bytes = 0;
    while (!waiting_.empty() && inputs->size() < kBatchCount && bytes < kBatchBytes) {
      bytes += waiting_.front().size();
      inputs->push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    waiting_bytes_ -= bytes;
    const bool is_last = closed_ && waiting_.empty();
    lock.unlock();
    room_.notify_all();
    return is_last ? Said::kLast : Said::kMore;
  }

  void OnDurable(std::uint64_t task_count) override {
    const std::lock_guard lock(mutex_);
    durable_ = std::max(durable_, task_count);
    if (!unwanted_.empty()) unwanted_changed_.notify_one();
  }

 private:
  void Cancel(std::uint64_t task) {
    const std::lock_guard lock(mutex_);
    unwanted_.insert(task);
    unwanted_changed_.notify_one();
    if (!canceller_.joinable()) {
      canceller_ = std::jthread([this](const std::stop_token& stop) { SayUnwanted(stop); });
    }
  }

  // Once the job has them; and again until they have ended, since a coordinator that starts anew
  // has forgotten what it was asked.
  void SayUnwanted(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::vector<client::TaskRange> ranges;
      {
        std::unique_lock lock(mutex_);
        const bool news = unwanted_changed_.wait_for(lock, stop, kAskAgain, [this] {
          return !unwanted_.empty() && *unwanted_.begin() < durable_;
        });
        if (!news) unwanted_.merge(said_unwanted_);
        ranges = TakeUnwanted();
      }
      // What cannot be said now is said the next time.
      if (!ranges.empty()) static_cast<void>(client_.CancelTasks(client::JobRef(job_), ranges));
    }
  }

  // Of what the job has; as much as one call takes. The caller holds the mutex.
  std::vector<client::TaskRange> TakeUnwanted() {
    std::vector<client::TaskRange> ranges;
    while (!unwanted_.empty() && *unwanted_.begin() < durable_) {
      const std::uint64_t task = *unwanted_.begin();
      if (!ranges.empty() && ranges.back().first + ranges.back().count == task) {
        ++ranges.back().count;
      } else if (ranges.size() < kMostRanges) {
        ranges.push_back({task, 1});
      } else {
        break;
      }
      said_unwanted_.insert(unwanted_.extract(unwanted_.begin()));
    }
    return ranges;
  }

  void Extend(const std::stop_token& stop) {
    const Status status = client_.Extend(job_, *this, stop);
    if (status.ok()) return;
    Close();
    std::uint64_t durable = 0;
    {
      const std::lock_guard lock(mutex_);
      durable = durable_;
    }
    // What the job has is told by following it.
    Fail(durable, status);
  }

  void Follow(const std::stop_token& stop) {
    const auto take = [this](client::FollowUpdate& update) {
      Take(update);
      return true;
    };
    const Status status = client_.Follow(client::JobRef(job_), {}, take, stop);
    // It has ended: what it did not get is not coming.
    const Status missing(ErrorKind::kFailed, "the job ended without this task");
    Fail(0, status.ok() ? missing : status);
  }

  void Take(client::FollowUpdate& update) {
    std::vector<std::function<void()>> to_run;
    for (const client::Outcome& outcome : update.outcomes) {
      const std::string large = FetchIfLarge(outcome);
      const std::lock_guard lock(board_->mutex);
      for (std::uint64_t i = 0; i < outcome.count; ++i) {
        const std::shared_ptr<Task> task = Release(outcome.first + i);
        if (task == nullptr) continue;
        Task::Ending ending = EndingOf(outcome);
        ending.info.task_index = outcome.first + i;
        ending.result = outcome.output_file.empty() ? std::string(outcome.results[i]) : large;
        task->End(std::move(ending), to_run);
      }
    }
    board_->ended.notify_all();
    for (const std::function<void()>& fn : to_run) fn();
  }

  Task::Ending EndingOf(const client::Outcome& outcome) const {
    return {.state = outcome.state,
            .cause = outcome.cause,
            .code = outcome.code,
            .message = outcome.message,
            .result = {},
            .broken = large_error_,
            .info = {.job_id = job_.value,
                     .worker = outcome.worker_name,
                     .host = outcome.host,
                     .pid = outcome.pid,
                     .attempt = outcome.attempt,
                     .started_unix_us = outcome.started_unix_us,
                     .finished_unix_us = outcome.finished_unix_us}};
  }

  // A result of its own is one task's.
  std::string FetchIfLarge(const client::Outcome& outcome) {
    std::string result;
    large_error_ = {};
    if (outcome.output_file.empty()) return result;
    large_error_ = client_.FetchOutput(job_, outcome.output_file, [&](std::string_view piece) {
      result += piece;
      return true;
    });
    return result;
  }

  // Its place is free then: each task ends once.
  std::shared_ptr<Task> Release(std::uint64_t index) {
    const std::lock_guard lock(mutex_);
    if (index < released_ || index - released_ >= tasks_.size()) return nullptr;
    std::shared_ptr<Task> task = std::exchange(tasks_[index - released_], nullptr);
    unwanted_.erase(index);
    said_unwanted_.erase(index);
    while (!tasks_.empty() && tasks_.front() == nullptr) {
      tasks_.pop_front();
      ++released_;
    }
    return task;
  }

  // Of all that have not ended, from that one on, nothing will be known.
  void Fail(std::uint64_t from, const Status& why) {
    std::vector<std::shared_ptr<Task>> failed;
    Task::Ending ending{.broken = why, .info = {.job_id = job_.value}};
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      if (terminated_) {
        ending.broken = {};
        ending.state = TaskState::kCancelled;
        ending.cause = FailureCause::kCancelled;
        ending.message = "its executor was terminated";
      }
      for (std::size_t i = 0; i < tasks_.size(); ++i) {
        if (tasks_[i] != nullptr && released_ + i >= from) {
          failed.push_back(std::exchange(tasks_[i], nullptr));
        }
      }
    }
    room_.notify_all();
    std::vector<std::function<void()>> to_run;
    {
      const std::lock_guard lock(board_->mutex);
      for (const std::shared_ptr<Task>& task : failed) task->End(ending, to_run);
    }
    board_->ended.notify_all();
    for (const std::function<void()>& fn : to_run) fn();
  }

  Client& client_;
  const client::JobId job_;
  const std::shared_ptr<Board> board_;
  Status large_error_;  // of the outcome in hand; the follower's

  std::mutex mutex_;
  std::condition_variable added_, room_;
  std::deque<std::string> waiting_;  // arguments that have not been sent
  std::size_t waiting_bytes_ = 0;
  bool closed_ = false;
  bool terminated_ = false;
  std::uint64_t durable_ = 0;
  std::deque<std::shared_ptr<Task>> tasks_;  // from `released_` on; none where it has ended
  std::uint64_t released_ = 0;

  // Tasks to cancel that have not ended, and those of them that the coordinator was told of.
  std::set<std::uint64_t> unwanted_, said_unwanted_;
  std::condition_variable_any unwanted_changed_;

  std::mutex join_mutex_;
  std::jthread extender_, follower_;
  std::jthread canceller_;  // from the first cancelled task on
};

}  // namespace internal

// ---------------------------------------------------------------- executors

using internal::OpenJob;

class Executor::Impl {
 public:
  Impl(Client& client, ExecutorOptions options) : client_(client), options_(std::move(options)) {}

  template <typename Signature>
  OpenJob& JobOf(std::string_view function, const Signature& signature) {
    const std::lock_guard lock(mutex_);
    if (closed_) throw ExecutorError(Status(ErrorKind::kInvalid, "the executor is closed"));
    if (const auto it = jobs_.find(function); it != jobs_.end()) {
      return *it->second;
    }
    auto job = std::make_unique<OpenJob>(client_, Open(std::string(function), signature()));
    return *jobs_.emplace(function, std::move(job)).first->second;
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const auto& [function, job] : jobs_) job->Close();
  }
  void Join() {
    for (OpenJob* job : All()) job->Join();
  }
  void Terminate() {
    Close();
    for (OpenJob* job : All()) job->Terminate();
  }
  void Abandon() {
    Close();
    for (OpenJob* job : All()) job->Abandon();
  }

 private:
  client::JobId Open(std::string function, std::string signature) {
    client::JobSpec spec;
    spec.name = options_.name;
    spec.work = client::FunctionCall{.name = std::move(function),
                                     .signature = std::move(signature),
                                     .detail = options_.detail,
                                     .isolation = options_.isolation,
                                     .tasks_per_process = options_.tasks_per_process};
    spec.priority = options_.priority;
    spec.max_running = options_.max_running;
    spec.cpus_milli = options_.cpus_milli;
    spec.timeout_ms =
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, options_.timeout.count()));
    spec.max_attempts = options_.max_attempts;
    spec.at_most_once = options_.at_most_once;
    spec.volatile_job = options_.volatile_job;
    spec.open = true;
    spec.parent = options_.parent;
    client::ListSource none({});
    const auto submitted = client_.Submit(spec, none);
    if (!submitted.ok()) throw ExecutorError(submitted.status());
    return submitted->job;
  }

  std::vector<OpenJob*> All() {
    const std::lock_guard lock(mutex_);
    std::vector<OpenJob*> all;
    for (const auto& [function, job] : jobs_) all.push_back(job.get());
    return all;
  }

  Client& client_;
  const ExecutorOptions options_;
  std::mutex mutex_;
  bool closed_ = false;
  std::map<std::string, std::unique_ptr<OpenJob>, std::less<>> jobs_;  // by function
};

Executor::Executor(Client& client, ExecutorOptions options)
    : impl_(std::make_unique<Impl>(client, std::move(options))) {}
Executor::~Executor() {
  Close();
  Join();
}

namespace {

void CheckArguments(std::string_view function, const std::string& arguments) {
  if (arguments.size() <= internal::kMostArgumentBytes) return;
  throw ExecutorError(Status(
      ErrorKind::kInvalid, "arguments of " + std::string(function) + ": " +
                               std::to_string(arguments.size()) + " bytes are over the limit of " +
                               std::to_string(internal::kMostArgumentBytes)));
}

std::shared_ptr<internal::Task> AddTo(OpenJob& job, std::string arguments) {
  std::shared_ptr<internal::Task> task = job.Add(std::move(arguments));
  if (task != nullptr) return task;
  throw ExecutorError(Status(ErrorKind::kFailed, "the job of this function was closed"));
}

}  // namespace

std::shared_ptr<internal::Task> Executor::Add(const char* function, std::string (*signature)(),
                                              std::string arguments) {
  CheckArguments(function, arguments);
  return AddTo(impl_->JobOf(function, signature), std::move(arguments));
}

std::shared_ptr<internal::Task> Executor::SubmitEncoded(const std::string& function,
                                                        const std::string& signature,
                                                        std::string arguments) {
  CheckArguments(function, arguments);
  return AddTo(impl_->JobOf(function, [&] { return signature; }), std::move(arguments));
}

void Executor::Close() { impl_->Close(); }
void Executor::Join() { impl_->Join(); }
void Executor::Terminate() { impl_->Terminate(); }
void Executor::Abandon() { impl_->Abandon(); }

}  // namespace haul
