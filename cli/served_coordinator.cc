#include "cli/served_coordinator.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "common/check.h"

namespace haul::cli {

absl::StatusOr<std::unique_ptr<ServedCoordinator>> ServedCoordinator::Start(
    const CoordinatorOptions& options) {
  absl::StatusOr<std::unique_ptr<Coordinator>> coordinator = Coordinator::Start(options);
  if (!coordinator.ok()) return coordinator.status();
  return std::unique_ptr<ServedCoordinator>(new ServedCoordinator(*std::move(coordinator)));
}

ServedCoordinator::ServedCoordinator(std::unique_ptr<Coordinator> coordinator)
    : coordinator_(std::move(coordinator)), ended_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  HAUL_CHECK(ended_ >= 0);
  waiter_ = std::thread([this] {
    status_ = coordinator_->Wait();
    HAUL_CHECK(eventfd_write(ended_, 1) == 0);
  });
}

ServedCoordinator::~ServedCoordinator() {
  (void)Stop();
  close(ended_);
}

absl::Status ServedCoordinator::Stop() {
  if (waiter_.joinable()) {
    coordinator_->Stop();
    waiter_.join();
  }
  return status_;
}

}  // namespace haul::cli
