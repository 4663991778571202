#include "coordinator/rpc/server.h"

#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_log.h"

namespace haul::coordinator {
namespace {

constexpr int kReceiveLimitBytes = 16 << 20;  // a worker's bundle; a submit's message is far below
// Calls at once on one connection; a client's further ones wait there.
constexpr int kMostStreams = 10'000;
constexpr int kKeepaliveMs = 10'000;

void SetKeepalive(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepaliveMs / 2);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

}  // namespace

void ServerPoller::Attach(grpc::CompletionQueue& queue) {
  queue_ = std::make_unique<rpc::CompletionQueueLoop>(queue);
  absl::MutexLock lock(&mutex_);
  wakeable_ = queue_.get();
}

void ServerPoller::Detach() {
  absl::MutexLock lock(&mutex_);
  wakeable_ = nullptr;  // its alarm stays until the queue is empty
}

void ServerPoller::Poll(std::int64_t deadline_monotonic_us) { queue_->Poll(deadline_monotonic_us); }

void ServerPoller::Wake() {
  absl::MutexLock lock(&mutex_);
  if (wakeable_ != nullptr) wakeable_->Wake();
}

Server::Server(const ServerOptions& options, Loop& loop, OutputFiles& files, ServerPoller& poller,
               std::function<void()> stop)
    : poller_(poller),
      jobs_(loop, files, options.limits),
      sessions_(loop, files, options.limits),
      cluster_(loop, std::move(stop)),
      standard_({v1::Jobs::service_full_name(), v1::WorkerSession::service_full_name(),
                 v1::Cluster::service_full_name()}) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Loop& loop,
                                                      OutputFiles& files, ServerPoller& poller,
                                                      std::function<void()> stop) {
  std::unique_ptr<Server> server(new Server(options, loop, files, poller, std::move(stop)));
  rpc::RouteGrpcLog();
  grpc::EnableDefaultHealthCheckService(false);
  grpc::ServerBuilder builder;
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(options.listen);
  if (!listener.ok()) return listener.status();
  auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.RegisterService(&server->jobs_.service());
  builder.RegisterService(&server->sessions_.service());
  builder.RegisterService(&server->cluster_.service());
  for (grpc::Service* service : server->standard_.services()) builder.RegisterService(service);
  builder.SetMaxReceiveMessageSize(kReceiveLimitBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
  SetKeepalive(builder);
  server->queue_ = builder.AddCompletionQueue();
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) return absl::UnavailableError("the gRPC server does not start");
  const std::string host = options.listen.substr(0, options.listen.rfind(':'));
  server->listener_ = *std::move(listener);
  server->address_ = absl::StrCat(host, ":", server->listener_->port());
  poller.Attach(*server->queue_);

  const rpc::ServerQueue queue{server->queue_.get(), options.token};
  server->jobs_.Serve(queue);
  server->sessions_.Serve(queue);
  server->cluster_.Serve(queue, {.data_directory = options.data_directory,
                                 .address = server->address_,
                                 .started_unix_us = options.started_unix_us});
  server->standard_.Serve(server->queue_.get());
  server->listener_->Start(std::move(acceptor));
  return server;
}

Server::~Server() { Shutdown(); }

void Server::Shutdown() {
  if (server_ == nullptr) return;
  listener_.reset();
  server_->Shutdown(std::chrono::system_clock::now());
  poller_.Detach();
  queue_->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  // Handlers do not run any more: what they would start, gRPC would abort on.
  while (queue_->Next(&tag, &ok)) static_cast<rpc::Tag*>(tag)->Dropped();
  server_ = nullptr;
}

}  // namespace haul::coordinator
