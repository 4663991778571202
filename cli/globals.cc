#include "cli/globals.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "cli/status.h"
#include "common/units.h"

namespace haul::cli {

namespace {

client::Status Parse(const char* option, const std::string& text,
                     std::chrono::milliseconds* duration) {
  const absl::StatusOr<std::uint64_t> ms = ParseDurationMs(text);
  if (!ms.ok()) {
    return client::Status(client::ErrorKind::kInvalid,
                          absl::StrCat(option, ": ", ms.status().message()));
  }
  *duration = std::chrono::milliseconds(*ms);
  return {};
}

}  // namespace

client::Result<std::unique_ptr<Client>> Connect(const Globals& globals) {
  client::ConnectOptions options;
  client::Status parsed = Parse("--connect-timeout", globals.connect_timeout, &options.timeout);
  if (parsed.ok()) {
    parsed = Parse("--reconnect-timeout", globals.reconnect_timeout, &options.reconnect_timeout);
  }
  if (!parsed.ok()) return parsed;
  options.coordinator = globals.config.coordinator;
  options.data_dir = globals.config.data_dir;
  options.token_file = globals.config.token_file;
  return Client::Connect(options);
}

}  // namespace haul::cli
