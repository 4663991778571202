#include "client/open_job.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace haul::internal {

using client::ErrorKind;
using client::FailureCause;
using client::Status;
using client::TaskState;

namespace {

// Calls wait while so much has not been sent; and what each costs besides its arguments.
constexpr std::size_t kWaitingBytes = 64 << 20;
constexpr std::size_t kCallBytes = 512;
// Of one message.
constexpr std::size_t kBatchBytes = 512 << 10;
constexpr std::size_t kBatchCount = 1 << 16;
// Of cancelled tasks in one call, and how often it is repeated.
constexpr std::size_t kMostRanges = 10'000;
constexpr std::chrono::seconds kAskAgain{2};

ExecutorError NoThread(const std::system_error& error) {
  return ExecutorError(
      Status(ErrorKind::kRefused, "cannot start a thread: " + std::string(error.what())));
}

}  // namespace

OpenJob::OpenJob(Client& client, client::JobId job)
    : client_(client),
      job_(job),
      board_(std::make_shared<Board>()),
      extender_(*client.impl_, client.impl_->calls, job, *this, abandoned_.get_token()),
      follower_(
          *client.impl_, client.impl_->calls, job,
          [this](client::FollowUpdate& update) { return TakeIfSmall(update); },
          [this](client::FollowUpdate& update) { TakeWithLarge(update); }, abandoned_.get_token()) {
  board_->cancel = [this](std::uint64_t task) { Cancel(task); };
  try {
    client.impl_->calls.Start();
    extending_ = std::thread([this] { Extend(); });
    following_ = std::thread([this] { Follow(); });
  } catch (const std::system_error& error) {
    Abandon();  // nothing is heard of the job any more, so the coordinator closes it
    throw NoThread(error);
  }
}

OpenJob::~OpenJob() {
  Close();
  Join();
  abandoned_.request_stop();  // the canceller too
  const std::lock_guard lock(board_->mutex);
  board_->cancel = nullptr;
}

std::shared_ptr<Task> OpenJob::Add(std::string arguments) {
  std::shared_ptr<Task> task;
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return waiting_bytes_ < kWaitingBytes || closed_; });
    if (closed_) return nullptr;
    waiting_bytes_ += arguments.size() + kCallBytes;
    waiting_.push_back(std::move(arguments));
    task = std::make_shared<Task>(board_, released_ + tasks_.size());
    tasks_.push_back(task);
  }
  extender_.Poke();
  return task;
}

void OpenJob::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  room_.notify_all();
  extender_.Poke();
}

void OpenJob::Join() {
  const std::lock_guard lock(join_mutex_);
  if (extending_.joinable()) extending_.join();
  if (following_.joinable()) following_.join();
}

void OpenJob::Terminate() {
  std::uint64_t first_unsent = 0;
  {
    const std::lock_guard lock(mutex_);
    terminated_ = closed_ = true;
    first_unsent = released_ + tasks_.size() - waiting_.size();
    waiting_.clear();
    waiting_bytes_ = 0;
  }
  Close();
  Fail(first_unsent, Status(ErrorKind::kFailed, "its executor was terminated"));
  const Status said = client_.Cancel(job_, abandoned_.get_token()).status();
  if (said.ok()) return;
  if (said.kind() != ErrorKind::kUnreachable) return Fail(0, said);
  try {
    const std::lock_guard lock(mutex_);
    all_unwanted_ = true;
    WakeCanceller();
  } catch (const ExecutorError&) {  // nobody can ask again
    Fail(0, said);
  }
}

void OpenJob::Abandon() {
  abandoned_.request_stop();
  Close();
  Join();
}

bool OpenJob::Take(std::vector<std::string>* inputs) {
  std::unique_lock lock(mutex_);
  const bool was_full = waiting_bytes_ >= kWaitingBytes;
  std::size_t bytes = 0;
  while (!waiting_.empty() && inputs->size() < kBatchCount && bytes < kBatchBytes) {
    bytes += waiting_.front().size();
    waiting_bytes_ -= waiting_.front().size() + kCallBytes;
    inputs->push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  const bool is_last = closed_ && waiting_.empty();
  lock.unlock();
  if (was_full) room_.notify_all();
  return is_last;
}

void OpenJob::OnDurable(std::uint64_t task_count) {
  const std::lock_guard lock(mutex_);
  durable_ = std::max(durable_, task_count);
  if (!unwanted_.empty()) unwanted_changed_.notify_one();
}

// ---- cancelling ----

void OpenJob::Cancel(std::uint64_t task) {
  const std::lock_guard lock(mutex_);
  if (task < released_ || tasks_[task - released_] == nullptr) return;  // it ends just now
  unwanted_.insert(task);
  WakeCanceller();
}

// The caller holds the mutex.
void OpenJob::WakeCanceller() {
  unwanted_changed_.notify_one();
  if (canceller_.joinable()) return;
  try {
    canceller_ = std::jthread([this] { SayUnwanted(); });
  } catch (const std::system_error& error) {
    throw NoThread(error);
  }
}

// Once the job has them; and again until they have ended, since a coordinator that starts anew has
// forgotten what it was asked.
void OpenJob::SayUnwanted() {
  const std::stop_token stop = abandoned_.get_token();
  auto again = std::chrono::steady_clock::now() + kAskAgain;
  while (!stop.stop_requested()) {
    std::vector<client::TaskRange> ranges;
    bool all = false;
    {
      std::unique_lock lock(mutex_);
      unwanted_changed_.wait_until(lock, stop, again, [this] {
        return all_unwanted_ || (!unwanted_.empty() && *unwanted_.begin() < durable_);
      });
      // By the time alone: there may be no end of new ones.
      if (const auto now = std::chrono::steady_clock::now(); now >= again) {
        unwanted_.merge(said_unwanted_);
        again = now + kAskAgain;
      }
      all = std::exchange(all_unwanted_, false);
      ranges = TakeUnwanted();
    }
    if (all) SayTerminated();
    // What cannot be said now is said the next time.
    if (!ranges.empty()) static_cast<void>(client_.CancelTasks(job_, ranges, stop));
  }
}

void OpenJob::SayTerminated() {
  const client::Client::Impl& client = *client_.impl_;
  client::Patience patience(*client.channel, client.reconnect_timeout, abandoned_.get_token());
  Status said;
  do {
    said = client_.Cancel(job_, abandoned_.get_token()).status();
  } while (patience.TryAgain(said));
  if (!said.ok()) Fail(0, said);
}

// Of what the job has; as much as one call takes. The caller holds the mutex.
std::vector<client::TaskRange> OpenJob::TakeUnwanted() {
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

// ---- the two streams ----

void OpenJob::Extend() {
  const Status status = extender_.Run();
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

void OpenJob::Follow() {
  const Status status = follower_.Run();
  // It has ended: what it did not get is not coming.
  const Status missing(ErrorKind::kFailed, "the job ended without this task");
  Fail(0, status.ok() ? missing : status);
}

// On the thread of the client's calls, which is not for what may take long.
bool OpenJob::TakeIfSmall(client::FollowUpdate& update) {
  const bool has_large =
      std::any_of(update.outcomes.begin(), update.outcomes.end(),
                  [](const client::Outcome& outcome) { return !outcome.output_file.empty(); });
  if (has_large) return false;
  std::vector<std::function<void()>> to_run;
  {
    const std::lock_guard lock(board_->mutex);
    for (const client::Outcome& outcome : update.outcomes) {
      for (std::uint64_t i = 0; i < outcome.count; ++i) {
        End(outcome, outcome.first + i, std::string(outcome.results[i]), {}, to_run);
      }
    }
  }
  board_->ended.notify_all();
  if (!to_run.empty()) {
    follower_.RunLater([functions = std::move(to_run)] {
      for (const std::function<void()>& fn : functions) fn();
    });
  }
  return true;
}

void OpenJob::TakeWithLarge(client::FollowUpdate& update) {
  std::vector<std::function<void()>> to_run;
  for (const client::Outcome& outcome : update.outcomes) {
    std::string large;  // one task's
    Status broken;
    if (!outcome.output_file.empty()) {
      const auto append = [&large](std::string_view piece) {
        large += piece;
        return true;
      };
      broken = client_.FetchOutput(job_, outcome.output_file, append, 0, abandoned_.get_token());
    }
    const std::lock_guard lock(board_->mutex);
    for (std::uint64_t i = 0; i < outcome.count; ++i) {
      End(outcome, outcome.first + i,
          outcome.output_file.empty() ? std::string(outcome.results[i]) : large, broken, to_run);
    }
  }
  board_->ended.notify_all();
  for (const std::function<void()>& fn : to_run) fn();
}

// The caller holds the board.
void OpenJob::End(const client::Outcome& outcome, std::uint64_t index, std::string result,
                  const Status& broken, std::vector<std::function<void()>>& to_run) {
  const std::shared_ptr<Task> task = Release(index);
  if (task == nullptr) return;
  task->End({.state = outcome.state,
             .cause = outcome.cause,
             .code = outcome.code,
             .message = outcome.message,
             .result = std::move(result),
             .broken = broken,
             .info = {.job_id = job_.value,
                      .task_index = index,
                      .worker = outcome.worker_name,
                      .host = outcome.host,
                      .pid = outcome.pid,
                      .attempt = outcome.attempt,
                      .started_unix_us = outcome.started_unix_us,
                      .finished_unix_us = outcome.finished_unix_us}},
            to_run);
}

// Its place is free then: each task ends once.
std::shared_ptr<Task> OpenJob::Release(std::uint64_t index) {
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
void OpenJob::Fail(std::uint64_t from, const Status& why) {
  std::vector<std::shared_ptr<Task>> failed;
  Task::Ending ending{.broken = why, .info = {.job_id = job_.value}};
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    // Where the coordinator has no answer, they may run all the same.
    if (terminated_ && (why.kind() == ErrorKind::kFailed || why.kind() == ErrorKind::kNotFound)) {
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
    unwanted_.erase(unwanted_.lower_bound(from), unwanted_.end());
    said_unwanted_.erase(said_unwanted_.lower_bound(from), said_unwanted_.end());
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

}  // namespace haul::internal
