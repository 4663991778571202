// The gRPC server of a coordinator: all services on one completion queue, which the loop polls.
//
// Threads: everything on the loop thread, but Wake. Shutdown drains the queue and so must come
// after the loop's last turn, on the same thread or after it has ended.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/completion_queue_loop.h"
#include "coordinator/loop/loop.h"
#include "coordinator/loop/ports.h"
#include "coordinator/rpc/cluster_service.h"
#include "coordinator/rpc/jobs_service.h"
#include "coordinator/rpc/listener.h"
#include "coordinator/rpc/session_service.h"
#include "coordinator/rpc/standard_services.h"

namespace haul::coordinator {

struct ServerOptions {
  std::string listen;  // HOST:PORT; port 0 for any
  std::string token;
  std::string data_directory;
  Limits limits;
  std::int64_t started_unix_us = 0;
};

// The poller of the loop that the server will speak to: made first, and given to Start.
class ServerPoller final : public Poller {
 public:
  void Attach(grpc::CompletionQueue& queue);
  void Detach();
  void Poll(std::int64_t deadline_monotonic_us) override;
  void Wake() override;

 private:
  std::unique_ptr<rpc::CompletionQueueLoop> queue_;  // changed on the loop thread alone
  absl::Mutex mutex_;
  rpc::CompletionQueueLoop* wakeable_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

class Server {
 public:
  // `loop`, `files` and `poller` outlive it. Serves when it returns; the address tells the real
  // port.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, Loop& loop,
                                                       OutputFiles& files, ServerPoller& poller,
                                                       std::function<void()> stop);
  ~Server();

  const std::string& address() const { return address_; }
  // Ends all calls. The loop takes no turn any more.
  void Shutdown();

 private:
  Server(const ServerOptions& options, Loop& loop, OutputFiles& files, ServerPoller& poller,
         std::function<void()> stop);

  ServerPoller& poller_;
  std::string address_;
  JobsService jobs_;
  SessionService sessions_;
  ClusterService cluster_;
  StandardServices standard_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace haul::coordinator
