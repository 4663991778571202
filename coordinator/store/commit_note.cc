#include "coordinator/store/commit_note.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/absl_view.h"
#include "coordinator/store/data_directory.h"

namespace haul::coordinator {
namespace {

constexpr std::string_view kMark = " commits, check ";
constexpr std::size_t kDigits = 20;
constexpr std::size_t kLineBytes = kDigits + kMark.size() + 8 + 1;

// FNV-1a: only a line that was half written or damaged must show.
std::uint32_t CheckOf(std::string_view text) {
  std::uint32_t hash = 2'166'136'261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16'777'619u;
  return hash;
}

// All lines have one length, so that each covers the one before.
std::string LineOf(std::uint64_t commits) {
  const std::string digits = absl::StrFormat("%020u", commits);
  return absl::StrFormat("%s%s%08x\n", digits, AbslView(kMark), CheckOf(digits));
}

std::optional<std::uint64_t> Parse(std::string_view line) {
  std::uint64_t commits = 0;
  if (line.size() < kLineBytes || !absl::SimpleAtoi(AbslView(line.substr(0, kDigits)), &commits) ||
      LineOf(commits) != line.substr(0, kLineBytes)) {
    return std::nullopt;
  }
  return commits;
}

}  // namespace

std::string CommitNote::PathOf(const std::string& database_path) {
  return absl::StrCat(database_path, "-commits");
}

absl::StatusOr<CommitNote::Content> CommitNote::Read(const std::string& database_path) {
  const std::string path = PathOf(database_path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    if (errno == ENOENT) return Content{};
    return ErrnoStatus(errno, "cannot open", path);
  }
  std::array<char, kLineBytes> line{};
  const ssize_t size = ::pread(fd, line.data(), line.size(), 0);
  const int error = errno;
  ::close(fd);
  if (size < 0) return ErrnoStatus(error, "cannot read", path);
  return Content{true, Parse({line.data(), static_cast<std::size_t>(size)})};
}

absl::StatusOr<std::unique_ptr<CommitNote>> CommitNote::Open(const std::string& database_path) {
  const std::string path = PathOf(database_path);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  std::unique_ptr<CommitNote> note(new CommitNote(fd));
  char first = 0;
  if (::pread(fd, &first, 1, 0) == 0) note->Write(0);
  // Once a start: the name must be durable before anything is acknowledged.
  if (::fsync(fd) != 0) return ErrnoStatus(errno, "cannot sync", path);
  absl::Status synced = SyncDirectory(path.substr(0, path.rfind('/')));
  if (!synced.ok()) return synced;
  return note;
}

CommitNote::~CommitNote() { ::close(fd_); }

void CommitNote::Write(std::uint64_t commits) {
  const std::string line = LineOf(commits);
  // An older line is true as well, it only finds less: no reason to refuse a commit that is
  // durable.
  [[maybe_unused]] const ssize_t written = ::pwrite(fd_, line.data(), line.size(), 0);
}

}  // namespace haul::coordinator
