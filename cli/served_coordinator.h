// A coordinator in this process, with a descriptor that tells when it has ended. Main thread.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"

namespace haul::cli {

class ServedCoordinator {
 public:
  static absl::StatusOr<std::unique_ptr<ServedCoordinator>> Start(
      const CoordinatorOptions& options);
  ~ServedCoordinator();  // stops it
  ServedCoordinator(const ServedCoordinator&) = delete;
  ServedCoordinator& operator=(const ServedCoordinator&) = delete;

  const std::string& address() const { return coordinator_->address(); }
  const std::string& token() const { return coordinator_->token(); }
  // Can be read once the coordinator has ended, by itself or by a client.
  int ended_descriptor() const { return ended_; }
  // Stops it, waits for its end and tells why it ended.
  absl::Status Stop();

 private:
  explicit ServedCoordinator(std::unique_ptr<Coordinator> coordinator);

  std::unique_ptr<Coordinator> coordinator_;
  int ended_ = -1;
  absl::Status status_;  // written by waiter_, read after its end
  std::thread waiter_;
};

}  // namespace haul::cli
