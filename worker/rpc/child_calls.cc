#include "worker/rpc/child_calls.h"

#include <chrono>

#include "spdlog/spdlog.h"

namespace haul::worker {
namespace {

// A task waits for its children as long as a worker waits for its coordinator.
constexpr std::chrono::hours kPatience{24 * 365};

ExecutorOptions OptionsFor(const v1::JobSpec& spec, JobId job, const v1::ChildCall& call) {
  ExecutorOptions options;
  options.name = spec.name();
  options.priority = spec.priority();
  if (spec.cpus_milli() > 0) options.cpus_milli = spec.cpus_milli();
  options.volatile_job = spec.volatile_job();
  if (spec.function().own_process()) options.isolation = Isolation::kProcess;
  options.tasks_per_process = spec.function().tasks_per_process();
  options.parent = client::ParentTask{.assignment_id = call.assignment_id(),
                                      .job = client::JobId{job.value()},
                                      .task = call.task()};
  return options;
}

v1::ChildAnswer AnswerTo(const v1::ChildCall& call, v1::ChildAnswer::Status status,
                         std::string data) {
  v1::ChildAnswer answer;
  answer.set_assignment_id(call.assignment_id());
  answer.set_task(call.task());
  answer.set_number(call.number());
  answer.set_status(status);
  answer.set_data(std::move(data));
  return answer;
}

// What the coordinator, or the client, says where a task has no end of its own.
v1::ChildAnswer AnswerTo(const v1::ChildCall& call, const client::Status& status) {
  const bool stopped = status.kind() == client::ErrorKind::kStopped;
  return AnswerTo(call,
                  stopped ? v1::ChildAnswer::STATUS_CANCELLED : v1::ChildAnswer::STATUS_REFUSED,
                  status.message());
}

v1::ChildAnswer AnswerOf(const v1::ChildCall& call, const internal::Task& task) {
  const internal::Task::Ending& ending = task.ending();
  if (!ending.broken.ok()) return AnswerTo(call, ending.broken);
  if (ending.state == client::TaskState::kSucceeded) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_RESULT, ending.result);
  }
  try {
    static_cast<void>(task.Succeeded());
  } catch (const CancelledError& error) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_CANCELLED, error.what());
  } catch (const LostError& error) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_LOST, error.what());
  } catch (const CrashError& error) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_CRASHED, error.what());
  } catch (const TimeoutError& error) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_TIMED_OUT, error.what());
  } catch (const std::exception& error) {
    return AnswerTo(call, v1::ChildAnswer::STATUS_FAILED, error.what());
  }
  return AnswerTo(call, v1::ChildAnswer::STATUS_FAILED, "it has no result");
}

}  // namespace

ChildCalls::ChildCalls(exec::Reactor& reactor, std::string address, std::string token)
    : reactor_(reactor),
      address_(std::move(address)),
      token_(std::move(token)),
      wake_handler_(reactor.AddWakeHandler([this] { Deliver(); })),
      thread_([this](const std::stop_token& stop) { Work(stop); }) {}

ChildCalls::~ChildCalls() {
  thread_.request_stop();
  thread_.join();
  reactor_.RemoveWakeHandler(wake_handler_);
}

// ---- the loop's ----

void ChildCalls::Call(ExecutorId executor, JobId job, const v1::JobSpec& spec, v1::ChildCall call) {
  const Caller caller{executor, AssignmentId(call.assignment_id()), call.task()};
  callers_.insert(caller);
  ExecutorOptions options = OptionsFor(spec, job, call);
  Enqueue([this, caller, options = std::move(options), call = std::move(call)]() mutable {
    Submit(caller, options, std::move(call));
  });
}

// The coordinator ends their jobs with them.
void ChildCalls::EndTasks(ExecutorId executor, AssignmentId assignment, TaskRange tasks) {
  auto it = callers_.lower_bound({executor, assignment, tasks.first});
  while (it != callers_.end() && *it < Caller{executor, assignment, tasks.end()}) {
    Enqueue([this, caller = *it] {
      const auto ended = executors_.find(caller);
      if (ended == executors_.end()) return;
      ended->second->Abandon();
      executors_.erase(ended);
    });
    it = callers_.erase(it);
  }
}

// Their assignments may go on here, so the coordinator does not know that these starts are over.
void ChildCalls::EndExecutor(ExecutorId executor) {
  const auto first = callers_.lower_bound({.executor = executor, .assignment = {}});
  auto last = first;
  while (last != callers_.end() && last->executor == executor) ++last;
  if (first == last) return;
  callers_.erase(first, last);
  Enqueue([this, executor] { CancelChildren(executor); });
}

void ChildCalls::Deliver() {
  std::vector<std::pair<ExecutorId, v1::ChildAnswer>> answers;
  {
    const std::lock_guard lock(mutex_);
    answers.swap(answers_);
  }
  for (auto& [executor, answer] : answers) listener_->OnChildAnswer(executor, std::move(answer));
}

// ---- the thread's ----

void ChildCalls::Enqueue(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void ChildCalls::Work(const std::stop_token& stop) {
  while (true) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return !work_.empty(); });
      if (stop.stop_requested()) break;
      work = std::move(work_.front());
      work_.pop_front();
    }
    try {
      work();
    } catch (const std::exception& error) {  // what fails one task must not end the worker
      spdlog::error("a task's calls: {}", error.what());
    }
  }
  for (const auto& [caller, executor] : executors_) executor->Abandon();
  executors_.clear();
}

Executor& ChildCalls::ExecutorOf(const Caller& caller, const ExecutorOptions& options) {
  if (client_ == nullptr) {
    client::ConnectOptions connect;
    connect.coordinator = address_;
    connect.token = token_;
    connect.reconnect_timeout = kPatience;
    connect.stop = thread_.get_stop_token();
    while (client_ == nullptr) {
      auto connected = Client::Connect(connect);
      if (connected.ok()) {
        client_ = *std::move(connected);
      } else if (connected.status().kind() != client::ErrorKind::kUnreachable ||
                 connect.stop.stop_requested()) {
        throw ExecutorError(connected.status());
      }
    }
  }
  std::unique_ptr<Executor>& executor = executors_[caller];
  if (executor == nullptr) executor = std::make_unique<Executor>(*client_, options);
  return *executor;
}

void ChildCalls::Submit(const Caller& caller, const ExecutorOptions& options, v1::ChildCall call) {
  try {
    const std::shared_ptr<internal::Task> task =
        ExecutorOf(caller, options)
            .SubmitEncoded(call.function(), call.signature(), std::move(*call.mutable_arguments()));
    call.clear_arguments();
    // It holds itself until it has ended.
    task->WhenDone([this, task, executor = caller.executor, call = std::move(call)] {
      Say(executor, AnswerOf(call, *task));
    });
  } catch (const ExecutorError& error) {
    Say(caller.executor, AnswerTo(call, client::Status(error.kind(), error.what())));
  } catch (const std::exception& error) {
    Say(caller.executor, AnswerTo(call, v1::ChildAnswer::STATUS_REFUSED, error.what()));
  }
}

// However long the coordinator is away: what else is called meanwhile waits for it as well.
void ChildCalls::CancelChildren(ExecutorId executor) {
  std::vector<client::JobId> jobs;
  auto it = executors_.lower_bound({.executor = executor, .assignment = {}});
  while (it != executors_.end() && it->first.executor == executor) {
    for (const client::JobId job : it->second->Jobs()) jobs.push_back(job);
    it->second->Abandon();
    it = executors_.erase(it);
  }
  if (jobs.empty()) return;
  const client::Status told = client_->CancelJobs(std::move(jobs));
  if (!told.ok() && told.kind() != client::ErrorKind::kStopped) {
    spdlog::warn("what tasks of a dead executor called goes on: {}", told.message());
  }
}

// Any thread.
void ChildCalls::Say(ExecutorId executor, v1::ChildAnswer answer) {
  {
    const std::lock_guard lock(mutex_);
    answers_.emplace_back(executor, std::move(answer));
  }
  reactor_.Wake();
}

}  // namespace haul::worker
