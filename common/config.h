// Where a program of Haul finds its coordinator: flags, then the environment, then the file
// ~/.config/haul/config.toml, then the default data directory. Reads files; keeps no state; any
// thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul {

// The value of an environment variable; empty values count as absent.
using Environment = std::function<std::optional<std::string>(const char* name)>;
std::optional<std::string> ProcessEnvironment(const char* name);

// What was said on the command line; empty: not given.
struct ConfigFlags {
  std::string coordinator;
  std::string data_dir;
  std::string token_file;
};

struct Config {
  std::string data_dir;        // of the coordinator on this machine; it need not exist
  bool is_running_up = false;  // `data_dir` is that of a running `haul up`, found by its note
  std::string coordinator;     // "host:port"; empty when nothing says where it is
  std::string token_file;      // it need not exist
};

//              flag           environment        config.toml     default
// coordinator  --coordinator  HAUL_COORDINATOR   coordinator     what DATA_DIR/address says
// data_dir     --data-dir     HAUL_DATA_DIR      data_dir        a running `haul up`, or
// DefaultDataDir token_file   --token-file   HAUL_TOKEN_FILE    token_file      DATA_DIR/token
//
// Where a flag or variable names a data directory, a coordinator and a token file of a lower rank
// do not count. The file is $XDG_CONFIG_HOME/haul/config.toml or ~/.config/haul/config.toml, with
// lines key = "value". kInvalidArgument names the file and what is wrong in it.
absl::StatusOr<Config> LoadConfig(const ConfigFlags& flags,
                                  const Environment& environment = ProcessEnvironment);

// $XDG_DATA_HOME/haul or ~/.local/share/haul.
std::string DefaultDataDir(const Environment& environment = ProcessEnvironment);

// The token in `config.token_file`. kPermissionDenied when there is none, saying how to give one.
absl::StatusOr<std::string> ReadToken(const Config& config);

// `haul up` notes its data directory here, so that the user's other shells find it; of several the
// newest. A note whose process is gone, or whose directory is not of a coordinator of this user,
// does not count.
absl::Status NoteRunningUp(const std::string& data_dir, pid_t pid,
                           const Environment& environment = ProcessEnvironment);
void ForgetRunningUp(pid_t pid, const Environment& environment = ProcessEnvironment);

}  // namespace haul
