#include "haul/executor.h"

#include <algorithm>
#include <map>

#include "client/open_job.h"

namespace haul {

using client::ErrorKind;
using client::Status;
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
  std::vector<client::JobId> Jobs() {
    std::vector<client::JobId> ids;
    for (const OpenJob* job : All()) ids.push_back(job->id());
    return ids;
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
std::vector<client::JobId> Executor::Jobs() const { return impl_->Jobs(); }
void Executor::Abandon() { impl_->Abandon(); }

}  // namespace haul
