// The Cluster service on the loop's completion queue. Loop thread.
#pragma once

#include <functional>
#include <string>

#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "haul/v1/cluster.grpc.pb.h"

namespace haul::coordinator {

// What Info tells that does not change.
struct ClusterFacts {
  std::string data_directory;
  std::string address;
  std::int64_t started_unix_us = 0;
};

class ClusterService {
 public:
  // `loop` outlives this, and this outlives the server. `stop` is called once Stop was answered.
  ClusterService(Loop& loop, std::function<void()> stop) : loop_(loop), stop_(std::move(stop)) {}

  grpc::Service& service() { return service_; }
  void Serve(const rpc::ServerQueue& server, const ClusterFacts& facts);

 private:
  using Service = v1::Cluster::AsyncService;
  template <typename Request, typename Reply>
  using Unary = rpc::UnaryCall<Service, Request, Reply>;
  using ListWorkersCall = Unary<v1::ListWorkersRequest, v1::ListWorkersReply>;

  v1::InfoReply Info() const;
  void ListWorkers(const ListWorkersCall::Pointer& call);
  // Drain and stop: `event` says which, but for the request and the worker.
  template <typename Request, typename Event>
  void AskWorker(const typename Unary<Request, v1::WorkerStatus>::Pointer& call, Event event);

  Loop& loop_;
  const std::function<void()> stop_;
  ClusterFacts facts_;
  Service service_;
};

}  // namespace haul::coordinator
