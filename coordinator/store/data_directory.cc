#include "coordinator/store/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace haul::coordinator {
namespace {

constexpr char kLockName[] = "lock";

// A directory whose name is not durable takes all that is in it along.
absl::Status SyncAncestors(const std::filesystem::path& path) {
  for (std::filesystem::path at = path; at.has_relative_path();) {
    at = at.parent_path();
    absl::Status synced = SyncDirectory(at.string());
    // What may only be passed through was made by somebody else, long ago.
    if (!synced.ok() && ::access(at.c_str(), R_OK) == 0) return synced;
  }
  return absl::OkStatus();
}

absl::Status MakeDirectory(const std::string& path) {
  std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  std::error_code error;
  std::filesystem::create_directories(whole.parent_path(), error);
  if (error) {
    return ErrnoStatus(error.value(), "cannot make the directory", whole.parent_path().string());
  }
  // Inputs and outputs of tasks are nobody else's business.
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno != EEXIST) return ErrnoStatus(errno, "cannot make the data directory", path);
    if (!std::filesystem::is_directory(path, error)) {
      return ErrnoStatus(ENOTDIR, "cannot use as data directory", path);
    }
  }
  // Not only what was made just now: whoever made it may have been killed before it was synced.
  const bool used_before =
      std::filesystem::exists(absl::StrCat(path, "/", kLockName), error) && !error;
  return used_before ? absl::OkStatus() : SyncAncestors(whole);
}

// What the holder wrote of itself; empty if that cannot be read.
std::string ReadHolder(int fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  if (size <= 0) return {};
  return std::string(absl::StripAsciiWhitespace({text.data(), static_cast<std::size_t>(size)}));
}

}  // namespace

absl::Status ErrnoStatus(int error, const char* what, const std::string& path) {
  absl::Status status = absl::ErrnoToStatus(error, absl::StrCat(what, " ", path));
  // A directory's permissions, and not what its user may ask of the coordinator.
  return absl::IsPermissionDenied(status) ? absl::FailedPreconditionError(status.message())
                                          : status;
}

absl::Status WithAdvice(const absl::Status& status, const std::string& data_dir) {
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(absl::StrCat(status.message(), "; put a backup of ", data_dir,
                                          " in its place, or move it away to start without jobs"));
}

absl::Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open the directory", path);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // EINVAL: a file system that has nothing to sync there.
  if (error != 0 && error != EINVAL) return ErrnoStatus(error, "cannot sync the directory", path);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DataDirectory>> DataDirectory::Hold(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the data directory has no name");
  if (absl::Status made = MakeDirectory(path); !made.ok()) return made;
  const std::string lock = absl::StrCat(path, "/", kLockName);
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", lock);
  // From here on the object closes it.
  std::unique_ptr<DataDirectory> held(new DataDirectory(path, fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "cannot lock", lock);
    const std::string holder = ReadHolder(fd);
    return absl::FailedPreconditionError(absl::StrCat(
        "another coordinator", holder.empty() ? "" : absl::StrCat(" (pid ", holder, ")"),
        " uses the data directory ", path));
  }
  // The pid is for people only; that it cannot be written (a full disk) is no reason to stay away.
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(fd, pid.data(), pid.size(), 0);
  }
  return held;
}

DataDirectory::~DataDirectory() { ::close(lock_fd_); }

}  // namespace haul::coordinator
