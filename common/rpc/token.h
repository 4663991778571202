// The token that every call carries: metadata "authorization: Bearer TOKEN". Any thread.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"

namespace haul::rpc {

void AddToken(const std::string& token, grpc::ClientContext& context);

// UNAUTHENTICATED when it is missing or another; takes the same time wherever it differs.
absl::Status CheckToken(const std::string& token, const grpc::ServerContext& context);

}  // namespace haul::rpc
