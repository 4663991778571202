// The WorkerSession service on the loop's completion queue. Loop thread.
#pragma once

#include <memory>

#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/store/output_files.h"
#include "haul/v1/session.grpc.pb.h"

namespace haul::coordinator {

class SessionService {
 public:
  // `loop` and `files` outlive this, and this outlives the server.
  SessionService(Loop& loop, OutputFiles& files, const Limits& limits)
      : loop_(loop), files_(files), limits_(limits) {}

  grpc::Service& service() { return service_; }
  void Serve(const rpc::ServerQueue& server);

 private:
  using Service = v1::WorkerSession::AsyncService;
  using UploadCall = rpc::ClientStreamCall<Service, v1::UploadRequest, v1::UploadReply>;
  using DeathCall = rpc::UnaryCall<Service, v1::DeathCertificate, v1::DeathReceipt>;

  Loop& loop_;
  OutputFiles& files_;
  const Limits limits_;
  Service service_;
};

}  // namespace haul::coordinator
