#include "worker/rpc/report_death.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>

#include "common/rpc/status.h"
#include "common/rpc/token.h"
#include "haul/v1/session.grpc.pb.h"

namespace haul::worker {

absl::Status ReportDeath(const std::string& address, const std::string& token,
                         const std::string& incarnation, const std::string& cause) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = v1::WorkerSession::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  v1::DeathCertificate certificate;
  certificate.set_incarnation(incarnation);
  certificate.set_cause(cause);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  context.set_wait_for_ready(true);
  rpc::AddToken(token, context);
  v1::DeathReceipt receipt;
  return rpc::FromGrpc(stub->ReportDeath(&context, certificate, &receipt));
}

}  // namespace haul::worker
