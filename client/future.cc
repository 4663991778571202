// What futures stand on: tasks that end, and the order in which they do.
#include "haul/executor.h"

namespace haul {

using client::FailureCause;
using client::TaskState;

namespace internal {

bool Task::done() const {
  const std::lock_guard lock(board_->mutex);
  return done_;
}

void Task::Wait() const {
  std::unique_lock lock(board_->mutex);
  board_->ended.wait(lock, [this] { return done_; });
}

bool Task::WaitUntil(std::chrono::steady_clock::time_point deadline) const {
  std::unique_lock lock(board_->mutex);
  return board_->ended.wait_until(lock, deadline, [this] { return done_; });
}

void Task::Cancel() {
  const std::lock_guard lock(board_->mutex);
  if (!done_ && board_->cancel) board_->cancel(index_);
}

void Task::WhenDone(std::function<void()> fn) {
  {
    const std::lock_guard lock(board_->mutex);
    if (!done_) {
      when_done_.push_back(std::move(fn));
      return;
    }
  }
  fn();
}

void Task::PushWhenDone(const std::shared_ptr<EndQueue>& queue, std::size_t position) {
  {
    const std::lock_guard lock(board_->mutex);
    if (!done_) {
      // Those who waited before are most often gone, or this would grow with every wait.
      std::erase_if(queues_, [](const auto& entry) { return entry.first.expired(); });
      queues_.emplace_back(queue, position);
      return;
    }
  }
  queue->Push(position);
}

void Task::End(Ending ending, std::vector<std::function<void()>>& to_run) {
  if (done_) return;
  done_ = true;
  ending_ = std::move(ending);
  for (std::function<void()>& fn : when_done_) to_run.push_back(std::move(fn));
  when_done_.clear();
  for (const auto& [waits, position] : queues_) {
    if (std::shared_ptr<EndQueue> queue = waits.lock(); queue != nullptr) {
      to_run.emplace_back([queue = std::move(queue), at = position] { queue->Push(at); });
    }
  }
  queues_.clear();
}

namespace {

std::string Describe(const Task::Ending& ending) {
  std::string text = "task " + std::to_string(ending.info.task_index) + " of job " +
                     std::to_string(ending.info.job_id) + " " + std::string(Name(ending.state));
  if (ending.cause != FailureCause::kNone) text += ": " + std::string(Name(ending.cause));
  if (ending.code != 0) text += " " + std::to_string(ending.code);
  if (!ending.message.empty()) text += ": " + ending.message;
  return text;
}

}  // namespace

const Task::Ending& Task::Succeeded() const {
  if (!ending_.broken.ok()) throw ExecutorError(ending_.broken);
  if (ending_.state == TaskState::kSucceeded) return ending_;
  const std::string text = Describe(ending_);
  if (ending_.state == TaskState::kCancelled) {
    throw CancelledError(text, ending_.cause, ending_.code);
  }
  if (ending_.state == TaskState::kLost) throw LostError(text, ending_.cause, ending_.code);
  switch (ending_.cause) {
    case FailureCause::kFunctionError:
      throw FunctionError(ending_.message, ending_.cause, ending_.code);
    case FailureCause::kSignal:
    case FailureCause::kExecutorExit:
    case FailureCause::kWorkerLost:
      throw CrashError(text, ending_.cause, ending_.code);
    case FailureCause::kTimeout:
      throw TimeoutError(text, ending_.cause, ending_.code);
    case FailureCause::kNone:
    case FailureCause::kExitCode:
    case FailureCause::kMemoryLimit:
    case FailureCause::kOutputLimit:
    case FailureCause::kCancelled:
    case FailureCause::kStartFailed:
    case FailureCause::kProcessLimit:
      break;
  }
  throw TaskError(text, ending_.cause, ending_.code);
}

void EndQueue::Push(std::size_t position) {
  {
    const std::lock_guard lock(mutex_);
    positions_.push_back(position);
  }
  pushed_.notify_one();
}

std::optional<std::size_t> EndQueue::PopUntil(
    std::optional<std::chrono::steady_clock::time_point> deadline) {
  std::unique_lock lock(mutex_);
  const auto has_one = [this] { return !positions_.empty(); };
  if (!deadline.has_value()) {
    pushed_.wait(lock, has_one);
  } else if (!pushed_.wait_until(lock, *deadline, has_one)) {
    return std::nullopt;
  }
  const std::size_t position = positions_.front();
  positions_.pop_front();
  return position;
}

}  // namespace internal
}  // namespace haul
