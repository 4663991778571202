#include "cli/status.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace haul::cli {

int ExitStatus(client::ErrorKind kind) {
  switch (kind) {
    case client::ErrorKind::kOk:
      return kExitSuccess;
    case client::ErrorKind::kInvalid:
    case client::ErrorKind::kNotFound:
      return kExitUsage;
    case client::ErrorKind::kUnreachable:
      return kExitUnreachable;
    case client::ErrorKind::kRefused:
      return kExitRefused;
    case client::ErrorKind::kStopped:
      return kExitInterrupted;
    case client::ErrorKind::kFailed:
      return kExitTaskFailed;
  }
  return kExitTaskFailed;
}

int ExitStatus(const client::JobStatus& job) {
  return job.state == client::JobState::kSucceeded ? kExitSuccess : kExitTaskFailed;
}

int Fail(int exit_status, std::string_view message) {
  std::string line = "haul: ";
  for (const char c : message) line += c == '\n' || c == '\r' ? ' ' : c;
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
  return exit_status;
}

int Fail(const client::Status& status) { return Fail(ExitStatus(status.kind()), status.message()); }

client::Status FlushOutput(std::FILE* stream) {
  static bool told = false;
  const bool flushed = std::fflush(stream) == 0;
  const int error = errno;
  if ((flushed && std::ferror(stream) == 0) || told) return {};
  told = true;
  return {client::ErrorKind::kFailed,
          absl::StrCat("cannot write to standard ", stream == stderr ? "error" : "output",
                       flushed ? "" : absl::StrCat(": ", std::strerror(error)))};
}

client::Status ToClientStatus(const absl::Status& status) {
  if (status.ok()) return {};
  client::ErrorKind kind = client::ErrorKind::kFailed;
  if (status.code() == absl::StatusCode::kInvalidArgument) kind = client::ErrorKind::kInvalid;
  if (status.code() == absl::StatusCode::kPermissionDenied) kind = client::ErrorKind::kRefused;
  return {kind, std::string(status.message())};
}

int Fail(const absl::Status& status) { return Fail(ToClientStatus(status)); }

}  // namespace haul::cli
