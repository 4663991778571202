#include "common/config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

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

constexpr char kNotePrefix[] = "up.";

std::string NoteFile(const Environment& environment, pid_t pid) {
  return absl::StrCat(DefaultDataDir(environment), "/", kNotePrefix, pid);
}

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

// The notes of every `haul up`, by their pids.
std::vector<std::pair<pid_t, std::filesystem::path>> Notes(const Environment& environment) {
  std::vector<std::pair<pid_t, std::filesystem::path>> notes;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(DefaultDataDir(environment), none)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    if (name.starts_with(kNotePrefix) &&
        absl::SimpleAtoi(name.substr(std::strlen(kNotePrefix)), &pid) && pid > 0) {
      notes.emplace_back(pid, entry.path());
    }
  }
  return notes;
}

// As this user: a process of another one was given the pid of an `up` that is gone.
bool IsRunning(pid_t pid) { return kill(pid, 0) == 0; }

// Whether a coordinator of this user has served there. The note of an `up` that was killed may
// outlive its directory, and count again when its pid does.
bool IsOwnDataDir(const std::string& data_dir) {
  struct stat address {};
  return stat((data_dir + "/address").c_str(), &address) == 0 && address.st_uid == geteuid();
}

// The data directory of the `haul up` that was started last of those that still run.
std::optional<std::string> NotedDataDir(const Environment& environment) {
  std::optional<std::string> newest;
  std::filesystem::file_time_type newest_time;
  for (const auto& [pid, path] : Notes(environment)) {
    std::error_code gone;
    const auto time = std::filesystem::last_write_time(path, gone);
    if (gone || !IsRunning(pid) || (newest.has_value() && time <= newest_time)) continue;
    std::optional<std::string> data_dir = ReadSmallFile(path);
    if (!data_dir.has_value()) continue;
    absl::StripAsciiWhitespace(&*data_dir);
    if (!IsOwnDataDir(*data_dir)) continue;
    newest = *std::move(data_dir);
    newest_time = time;
  }
  return newest;
}

bool HasPort(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::uint32_t port = 0;
  return colon != std::string::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port > 0 && port < 65536;
}

// What the flags say comes before the environment before the file. A data directory has an address
// and a token of its own: where it is named, what lower ranks say of another one does not count.
Config Combine(const ConfigFlags& flags, const Environment& environment, const ConfigFlags& file) {
  const ConfigFlags variables = {.coordinator = environment("HAUL_COORDINATOR").value_or(""),
                                 .data_dir = environment("HAUL_DATA_DIR").value_or(""),
                                 .token_file = environment("HAUL_TOKEN_FILE").value_or("")};
  Config config;
  for (const ConfigFlags* rank : {&flags, &variables, &file}) {
    if (config.coordinator.empty()) config.coordinator = rank->coordinator;
    if (config.token_file.empty()) config.token_file = rank->token_file;
    config.data_dir = rank->data_dir;
    if (!config.data_dir.empty()) break;
  }
  return config;
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
  Config config = Combine(flags, environment, *file);
  if (!config.coordinator.empty() && !HasPort(config.coordinator)) {
    return absl::InvalidArgumentError(
        absl::StrCat("coordinator: \"", config.coordinator, "\" is not HOST:PORT"));
  }
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
  const auto is_plain = [](char c) { return c > ' ' && c <= '~'; };
  if (!std::all_of(token->begin(), token->end(), is_plain)) {
    return absl::PermissionDeniedError(absl::StrCat("the token file ", config.token_file,
                                                    " holds no token: it has bytes other than "
                                                    "printable ASCII"));
  }
  if (token->empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token file ", config.token_file, " is empty"));
  }
  return *std::move(token);
}

absl::Status NoteRunningUp(const std::string& data_dir, pid_t pid, const Environment& environment) {
  const std::string path = NoteFile(environment, pid);
  std::error_code error;
  std::filesystem::create_directories(DefaultDataDir(environment), error);
  for (const auto& [other, note] : Notes(environment)) {
    if (!IsRunning(other)) std::filesystem::remove(note, error);
  }
  // By a rename: a reader sees all of it or nothing.
  const std::string fresh = absl::StrCat(path, ".new");
  {
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << data_dir << '\n';
    file.close();
    if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", fresh));
  }
  std::filesystem::rename(fresh, path, error);
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  return absl::OkStatus();
}

void ForgetRunningUp(pid_t pid, const Environment& environment) {
  unlink(NoteFile(environment, pid).c_str());
}

}  // namespace haul
