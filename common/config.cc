#include "common/config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace haul {
namespace {

std::string HomeDir(const Environment& environment) { return environment("HOME").value_or("/"); }

std::string ConfigFile(const Environment& environment) {
  const std::string base =
      environment("XDG_CONFIG_HOME").value_or(HomeDir(environment) + "/.config");
  return base + "/haul/config.toml";
}

std::string NoteFile(const Environment& environment) { return DefaultDataDir(environment) + "/up"; }

// Nothing when it cannot be read; `error` then holds errno.
std::optional<std::string> ReadSmallFile(const std::string& path, int* error = nullptr) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (error != nullptr) *error = errno;
    return std::nullopt;
  }
  constexpr std::size_t kMostBytes = 64 << 10;
  std::string text(kMostBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

absl::Status ApplyItem(const std::string& path, const CLI::ConfigItem& item, ConfigFlags* config) {
  std::string* target = nullptr;
  if (item.parents.empty()) {
    if (item.name == "coordinator") target = &config->coordinator;
    if (item.name == "data_dir") target = &config->data_dir;
    if (item.name == "token_file") target = &config->token_file;
  }
  if (target == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": unknown key \"", item.fullname(),
                     "\"; known are coordinator, data_dir and token_file"));
  }
  if (item.inputs.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", item.name, " needs one value: ", item.name, " = \"…\""));
  }
  *target = item.inputs.front();
  return absl::OkStatus();
}

absl::StatusOr<ConfigFlags> ReadConfigFile(const Environment& environment) {
  const std::string path = ConfigFile(environment);
  ConfigFlags config;
  const std::optional<std::string> text = ReadSmallFile(path);
  if (!text.has_value()) return config;
  std::istringstream stream(*text);
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(stream)) {
      if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section
      if (absl::Status applied = ApplyItem(path, item, &config); !applied.ok()) return applied;
    }
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
  return config;
}

// The data directory of a `haul up` that still runs.
std::optional<std::string> NotedDataDir(const Environment& environment) {
  const std::optional<std::string> note = ReadSmallFile(NoteFile(environment));
  if (!note.has_value()) return std::nullopt;
  const std::size_t space = note->find(' ');
  pid_t pid = 0;
  if (space == std::string::npos || !absl::SimpleAtoi(note->substr(0, space), &pid) || pid <= 0) {
    return std::nullopt;
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) return std::nullopt;
  std::string data_dir = note->substr(space);
  absl::StripAsciiWhitespace(&data_dir);
  return data_dir;
}

std::string FirstOf(std::string flag, const std::optional<std::string>& variable,
                    std::string file) {
  if (!flag.empty()) return flag;
  return variable.value_or(std::move(file));
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const char* name) {
  const char* value = getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::string DefaultDataDir(const Environment& environment) {
  const std::string base =
      environment("XDG_DATA_HOME").value_or(HomeDir(environment) + "/.local/share");
  return base + "/haul";
}

absl::StatusOr<Config> LoadConfig(const ConfigFlags& flags, const Environment& environment) {
  absl::StatusOr<ConfigFlags> file = ReadConfigFile(environment);
  if (!file.ok()) return file.status();
  Config config;
  config.data_dir =
      FirstOf(flags.data_dir, environment("HAUL_DATA_DIR"), std::move(file->data_dir));
  config.coordinator =
      FirstOf(flags.coordinator, environment("HAUL_COORDINATOR"), std::move(file->coordinator));
  config.token_file =
      FirstOf(flags.token_file, environment("HAUL_TOKEN_FILE"), std::move(file->token_file));
  if (config.data_dir.empty()) {
    const std::optional<std::string> noted = NotedDataDir(environment);
    config.is_running_up = noted.has_value();
    config.data_dir = noted.value_or(DefaultDataDir(environment));
  }
  if (config.coordinator.empty()) {
    config.coordinator = ReadSmallFile(config.data_dir + "/address").value_or("");
    absl::StripAsciiWhitespace(&config.coordinator);
  }
  if (config.token_file.empty()) config.token_file = config.data_dir + "/token";
  return config;
}

absl::StatusOr<std::string> ReadToken(const Config& config) {
  int error = 0;
  std::optional<std::string> token = ReadSmallFile(config.token_file, &error);
  if (!token.has_value()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token file ", config.token_file, " cannot be read (", strerror(error),
                     "): name the coordinator's with --token-file or HAUL_TOKEN_FILE"));
  }
  absl::StripAsciiWhitespace(&*token);
  if (token->empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token file ", config.token_file, " is empty"));
  }
  return *std::move(token);
}

absl::Status NoteRunningUp(const std::string& data_dir, pid_t pid, const Environment& environment) {
  const std::string path = NoteFile(environment);
  std::error_code error;
  std::filesystem::create_directories(DefaultDataDir(environment), error);
  // Replaced by a rename: a reader sees the old note or the new one.
  const std::string fresh = absl::StrCat(path, ".", pid);
  {
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << pid << ' ' << data_dir << '\n';
    file.close();
    if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", fresh));
  }
  std::filesystem::rename(fresh, path, error);
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  return absl::OkStatus();
}

void ForgetRunningUp(const std::string& data_dir, const Environment& environment) {
  const std::string path = NoteFile(environment);
  const std::optional<std::string> note = ReadSmallFile(path);
  if (note.has_value() && note->ends_with(absl::StrCat(" ", data_dir, "\n"))) unlink(path.c_str());
}

}  // namespace haul
