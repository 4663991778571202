#include "cli/globals.h"

#include <chrono>

#include "cli/status.h"
#include "common/units.h"

namespace haul::cli {

client::Result<std::unique_ptr<Client>> Connect(const Globals& globals) {
  const absl::StatusOr<std::uint64_t> timeout = ParseDurationMs(globals.connect_timeout);
  if (!timeout.ok()) {
    return client::Status(client::ErrorKind::kInvalid,
                          "--connect-timeout: " + std::string(timeout.status().message()));
  }
  client::ConnectOptions options;
  options.coordinator = globals.config.coordinator;
  options.data_dir = globals.config.data_dir;
  options.token_file = globals.config.token_file;
  options.timeout = std::chrono::milliseconds(*timeout);
  return Client::Connect(options);
}

}  // namespace haul::cli
