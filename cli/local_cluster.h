// A coordinator in this process and workers as its children: what `haul up` is. Main thread;
// nothing of it outlives the object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/child.h"
#include "cli/served_coordinator.h"
#include "haul/client.h"

namespace haul::cli {

struct LocalClusterOptions {
  std::string data_dir;  // empty: a temporary one, removed at the end
  std::string listen = "127.0.0.1:0";
  std::uint32_t workers = 1;
  std::uint32_t threads =
      0;  // of each worker; 0: the cpus that there are, shared among the workers
  std::vector<std::string> functions;
  std::string log_level = "info";
  std::string log_format = "text";
};

class LocalCluster {
 public:
  // Serves when it returns; its workers may still be on their way.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(const LocalClusterOptions& options);
  ~LocalCluster();  // stops it
  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  const std::string& address() const { return coordinator_->address(); }
  const std::string& data_dir() const { return data_dir_; }
  std::uint32_t threads() const { return threads_; }

  // Can be read when the coordinator, or a worker, has ended.
  std::vector<int> descriptors() const;
  bool coordinator_ended(int descriptor) const {
    return descriptor == coordinator_->ended_descriptor();
  }
  // Takes the worker whose end `descriptor` told of out of the cluster; its exit status.
  int TakeEndedWorker(int descriptor);
  std::size_t worker_count() const { return workers_.size(); }

  // Lets the workers hand back what they have and end, ends what does not, and stops the
  // coordinator; why that ended.
  absl::Status Stop();

 private:
  LocalCluster() = default;
  absl::Status StartWorkers(const LocalClusterOptions& options);
  void StopWorkers();
  bool WaitForWorkers(int limit_ms);
  void ReapStrays();

  std::string data_dir_;
  bool data_dir_is_temporary_ = false;
  std::uint32_t threads_ = 0;
  std::unique_ptr<ServedCoordinator> coordinator_;
  std::vector<Child> workers_;
};

}  // namespace haul::cli
