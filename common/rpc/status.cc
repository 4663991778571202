#include "common/rpc/status.h"

namespace haul::rpc {

// The two enumerations have the same values, by gRPC's and Abseil's documentation.
grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.raw_code()), std::string(status.message())};
}

absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace haul::rpc
