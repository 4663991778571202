#include "common/rpc/token.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace haul::rpc {
namespace {

constexpr char kKey[] = "authorization";
constexpr char kScheme[] = "Bearer ";

bool SameBytes(std::string_view given, std::string_view expected) {
  unsigned difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i] ^ expected[i % expected.size()]);
  }
  return difference == 0;
}

}  // namespace

void AddToken(const std::string& token, grpc::ClientContext& context) {
  context.AddMetadata(kKey, absl::StrCat(kScheme, token));
}

absl::Status CheckToken(const std::string& token, const grpc::ServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kKey);
  if (first == last) {
    return absl::UnauthenticatedError(
        "the call carries no token; set HAUL_TOKEN_FILE or HAUL_DATA_DIR to the coordinator's");
  }
  const std::string expected = absl::StrCat(kScheme, token);
  for (auto it = first; it != last; ++it) {
    if (SameBytes({it->second.data(), it->second.size()}, expected)) return absl::OkStatus();
  }
  return absl::UnauthenticatedError(
      "the token is not this coordinator's; set HAUL_TOKEN_FILE or HAUL_DATA_DIR to the "
      "coordinator's");
}

}  // namespace haul::rpc
