#include "cli/local_cluster.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/worker_command.h"
#include "worker/worker.h"

namespace haul::cli {
absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(
    const LocalClusterOptions& options) {
  std::unique_ptr<LocalCluster> cluster(new LocalCluster);
  // What a killed guardian leaves behind becomes a child of this process, and ends with it.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  cluster->data_dir_ = options.data_dir;
  if (options.data_dir.empty()) {
    absl::StatusOr<std::string> made = MakeTemporaryDirectory("haul");
    if (!made.ok()) return made.status();
    cluster->data_dir_ = *std::move(made);
    cluster->data_dir_is_temporary_ = true;
  }
  CoordinatorOptions coordinator_options;
  coordinator_options.data_dir = cluster->data_dir_;
  coordinator_options.listen = options.listen;
  auto coordinator = ServedCoordinator::Start(coordinator_options);
  if (!coordinator.ok()) return coordinator.status();
  cluster->coordinator_ = *std::move(coordinator);
  if (absl::Status started = cluster->StartWorkers(options); !started.ok()) return started;
  return cluster;
}

absl::Status LocalCluster::StartWorkers(const LocalClusterOptions& options) {
  threads_ = options.threads;
  if (threads_ == 0 && options.workers > 0) {
    const std::uint32_t all = worker::DefaultThreads(/*serves_functions=*/false);
    threads_ = std::clamp<std::uint32_t>(all / options.workers, 1, worker::kMostExecutorThreads);
  }
  for (std::uint32_t number = 1; number <= options.workers; ++number) {
    const std::string name = absl::StrCat("up-", number);
    const absl::StatusOr<std::vector<std::string>> words =
        GuardedWorker({.coordinator = address(),
                       .token_file = data_dir_ + "/token",
                       .name = name,
                       .processes = 1,
                       .threads = threads_,
                       .functions = options.functions,
                       .directory = absl::StrCat(data_dir_, "/", name),
                       .log_level = options.log_level,
                       .log_format = options.log_format});
    if (!words.ok()) return words.status();
    absl::StatusOr<Child> child = StartChild(*words, /*read_output=*/false);
    if (!child.ok()) return child.status();
    workers_.push_back(*child);
  }
  return absl::OkStatus();
}

LocalCluster::~LocalCluster() {
  (void)Stop();
  if (data_dir_is_temporary_) {
    std::error_code error;
    std::filesystem::remove_all(data_dir_, error);
  }
}

std::vector<int> LocalCluster::descriptors() const {
  std::vector<int> descriptors = {coordinator_->ended_descriptor()};
  for (const Child& worker : workers_) descriptors.push_back(worker.pidfd);
  return descriptors;
}

int LocalCluster::TakeEndedWorker(int descriptor) {
  const auto worker =
      std::find_if(workers_.begin(), workers_.end(),
                   [descriptor](const Child& child) { return child.pidfd == descriptor; });
  if (worker == workers_.end()) return 0;
  const int status = WaitForChild(*worker);
  workers_.erase(worker);
  return status;
}

absl::Status LocalCluster::Stop() {
  if (coordinator_ == nullptr) return absl::OkStatus();
  StopWorkers();
  absl::Status stopped = coordinator_->Stop();
  ReapStrays();
  return stopped;
}

void LocalCluster::StopWorkers() {
  if (workers_.empty()) return;
  // One that has nothing, or has not joined yet, ends by the signal; the others are told to hand
  // back.
  for (const Child& worker : workers_) kill(worker.pid, SIGTERM);
  client::ConnectOptions options;
  options.coordinator = address();
  options.token = coordinator_->token();
  options.timeout = std::chrono::seconds(1);
  if (const auto client = Client::Connect(options); client.ok()) {
    if (const auto joined = (*client)->Workers(); joined.ok()) {
      for (const client::WorkerStatus& worker : *joined) {
        (void)(*client)->StopWorker(std::to_string(worker.id));
      }
    }
  }
  constexpr int kCleanEndMs = 10'000;
  if (WaitForWorkers(kCleanEndMs)) return;
  // Its worker notices at once that a guardian is gone, kills its tasks, and ends.
  for (const Child& worker : workers_) kill(worker.pid, SIGKILL);
  WaitForWorkers(-1);
}

bool LocalCluster::WaitForWorkers(int limit_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
  while (!workers_.empty()) {
    int left_ms = -1;
    if (limit_ms >= 0) {
      const auto left = deadline - std::chrono::steady_clock::now();
      left_ms =
          static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(left).count());
      if (left_ms <= 0) return false;
    }
    pollfd ended{workers_.back().pidfd, POLLIN, 0};
    if (poll(&ended, 1, left_ms) <= 0) continue;
    WaitForChild(workers_.back());
    workers_.pop_back();
  }
  return true;
}

// What killed guardians left is ending by itself; gives it some seconds.
void LocalCluster::ReapStrays() {
  constexpr int kTries = 500;
  for (int i = 0; i < kTries; ++i) {
    const pid_t reaped = waitpid(-1, nullptr, WNOHANG);
    if (reaped < 0) return;
    if (reaped == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace haul::cli
