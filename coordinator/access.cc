#include "coordinator/access.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/data_directory.h"

namespace haul {
namespace {

constexpr std::size_t kTokenBytes = 32;

absl::StatusOr<std::string> RandomToken() {
  char bytes[kTokenBytes];
  if (getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) {
    return absl::ErrnoToStatus(errno, "cannot get random bytes for the token");
  }
  return absl::BytesToHexString({bytes, sizeof bytes});
}

absl::StatusOr<std::string> ReadToken(const std::string& path, int fd) {
  struct stat facts = {};
  if (fstat(fd, &facts) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot examine ", path));
  if ((facts.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " can be read by others; run chmod 600 on it"));
  }
  char text[4096];
  const ssize_t size = read(fd, text, sizeof text);
  if (size < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  std::string token(absl::StripAsciiWhitespace({text, static_cast<std::size_t>(size)}));
  if (token.size() < 16) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " holds a token of ", token.size(), " characters; remove it to have a new one made"));
  }
  return token;
}

}  // namespace

absl::StatusOr<std::string> LoadOrMakeToken(const std::string& data_dir) {
  const std::string path = data_dir + "/token";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    absl::StatusOr<std::string> token = ReadToken(path, fd);
    close(fd);
    return token;
  }
  if (errno != ENOENT) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  absl::StatusOr<std::string> token = RandomToken();
  if (!token.ok()) return token.status();
  absl::Status made = WriteFileAtomically(path, *token + "\n", 0600);
  // Workers on other machines get a copy: a power cut must not make another.
  if (made.ok()) made = coordinator::SyncDirectory(data_dir);
  if (!made.ok()) return made;
  return token;
}

absl::Status CheckListenAddress(const std::string& listen, bool insecure) {
  const std::size_t colon = listen.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65'535) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen: '", listen, "' is not HOST:PORT with a port of 0 to 65535"));
  }
  const std::string host = listen.substr(0, colon);
  const bool loopback = absl::StartsWith(host, "127.") || host == "localhost" || host == "[::1]";
  if (!loopback && !insecure) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen: ", host,
                     " is not a loopback address, and the connection is not encrypted; say "
                     "--insecure if the network is trusted"));
  }
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& content,
                                 unsigned mode) {
  const std::string temporary = path + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", temporary));
  const bool written =
      write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
      fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!written) return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", temporary));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot rename ", temporary));
  }
  return absl::OkStatus();
}

}  // namespace haul
