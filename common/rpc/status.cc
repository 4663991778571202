#include "common/rpc/status.h"

#include <string>
#include <string_view>

#include "common/utf8.h"

namespace haul::rpc {

namespace {

// A status travels in the header fields that end a call, where each byte may take three. Past 8 KiB
// the caller would be told of that instead of the error.
constexpr std::size_t kMostMessageBytes = 2000;

}  // namespace

// The two enumerations have the same values, by gRPC's and Abseil's documentation.
grpc::Status ToGrpc(const absl::Status& status) {
  const std::string_view whole(status.message().data(), status.message().size());
  std::string message(CutUtf8(whole, kMostMessageBytes));
  if (message.size() < whole.size()) message += "...";
  return {static_cast<grpc::StatusCode>(status.raw_code()), message};
}

absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace haul::rpc
