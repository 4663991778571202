// absl::Status inside, grpc::Status on the wire, where long messages are cut. Any thread.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace haul::rpc {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace haul::rpc
