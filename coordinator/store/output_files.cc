#include "coordinator/store/output_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "coordinator/store/data_directory.h"

namespace haul::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr char kTemporarySuffix[] = ".part";

const char* Suffix(OutputStream stream) {
  switch (stream) {
    case OutputStream::kOutput:
      return ".out";
    case OutputStream::kError:
      return ".err";
  }
  return "";
}

// The part of `text` before `mark`, which is cut off with the mark.
std::optional<std::uint64_t> TakeNumber(std::string_view& text, char mark) {
  const std::size_t end = text.find(mark);
  std::uint64_t number = 0;
  if (end == std::string_view::npos || !absl::SimpleAtoi(AbslView(text.substr(0, end)), &number)) {
    return std::nullopt;
  }
  text.remove_prefix(end + 1);
  return number;
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      const absl::Status status = ErrnoStatus(error, "cannot write the output", path);
      const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
      return full ? absl::ResourceExhaustedError(status.message()) : status;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

// Moves without replacing; the errno otherwise.
int MoveNew(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL) return errno;
  // A file system that cannot promise it; nobody else makes files here.
  struct stat existing {};
  if (::stat(to.c_str(), &existing) == 0) return EEXIST;
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

}  // namespace

// ---- names ----

std::string OutputName::Reference() const {
  return absl::StrCat(job.value(), "/", assignment.value(), "-", task, Suffix(stream));
}

absl::StatusOr<OutputName> OutputName::Parse(std::string_view reference) {
  std::string_view rest = reference;
  const std::optional<std::uint64_t> job = TakeNumber(rest, '/');
  const std::optional<std::uint64_t> assignment = job ? TakeNumber(rest, '-') : std::nullopt;
  const std::optional<std::uint64_t> task = assignment ? TakeNumber(rest, '.') : std::nullopt;
  if (task) {
    const OutputName name{JobId(*job), AssignmentId(*assignment), *task,
                          rest == "err" ? OutputStream::kError : OutputStream::kOutput};
    // Only the one way of writing it: no leading zeros, signs, spaces, or other suffixes.
    if (name.Reference() == reference) return name;
  }
  return absl::InvalidArgumentError("not the reference of an output");
}

// ---- writing ----

absl::StatusOr<std::unique_ptr<OutputFiles>> OutputFiles::Open(const std::string& data_dir,
                                                               std::uint64_t file_limit_bytes) {
  const std::string root = absl::StrCat(data_dir, "/", kOutputsName);
  if (::mkdir(root.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, "cannot make the directory", root);
  }
  // Also where it was there: who made it may have been killed before this.
  if (absl::Status synced = SyncDirectory(data_dir); !synced.ok()) return synced;
  return std::unique_ptr<OutputFiles>(new OutputFiles(root, file_limit_bytes));
}

std::string OutputFiles::JobPath(JobId job) const { return absl::StrCat(root_, "/", job.value()); }

absl::Status OutputFiles::MakeJobDirectory(JobId job) {
  const std::string path = JobPath(job);
  const bool made = ::mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return ErrnoStatus(errno, "cannot make the directory", path);
  // That it is there does not make its name durable: who made it may have failed or been killed
  // before it was synced.
  if (!made && job == durable_job_) return absl::OkStatus();
  absl::Status synced = SyncDirectory(root_);
  durable_job_ = synced.ok() ? job : JobId();
  return synced;
}

absl::StatusOr<std::unique_ptr<OutputFiles::Writer>> OutputFiles::NewWriter(
    const OutputName& name) {
  if (absl::Status made = MakeJobDirectory(name.job); !made.ok()) return made;
  // Each upload has a file of its own, also beside one that was broken off and not yet noticed.
  std::string path =
      absl::StrCat(root_, "/", name.Reference(), ".", ++last_temporary_, kTemporarySuffix);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno, "cannot make the file", path);
  return std::unique_ptr<Writer>(new Writer(*this, name, std::move(path), fd));
}

OutputFiles::Writer::Writer(OutputFiles& files, OutputName name, std::string path, int fd)
    : files_(files), name_(name), path_(std::move(path)), fd_(fd) {}

OutputFiles::Writer::~Writer() { Abort(); }

void OutputFiles::Writer::Abort() {
  if (fd_ < 0) return;
  ::close(fd_);
  fd_ = -1;
  ::unlink(path_.c_str());
}

absl::Status OutputFiles::Writer::Append(std::string_view piece) {
  if (fd_ < 0) return absl::FailedPreconditionError("the output was finished or aborted");
  if (!status_.ok()) return status_;
  if (piece.size() > kPieceLimitBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a piece of ", piece.size(), " bytes passes the limit of ", kPieceLimitBytes));
  }
  if (bytes_ + piece.size() > files_.file_limit_bytes_) {
    status_ = absl::ResourceExhaustedError(
        absl::StrCat("data: the output passes the limit of ", files_.file_limit_bytes_, " bytes"));
    return status_;
  }
  status_ = WriteAll(fd_, piece, path_);
  if (status_.ok()) bytes_ += piece.size();
  return status_;
}

absl::StatusOr<std::string> OutputFiles::Writer::Finish() {
  if (fd_ < 0) return absl::FailedPreconditionError("the output was finished or aborted");
  if (!status_.ok()) return status_;
  if (::fsync(fd_) != 0) {
    status_ = ErrnoStatus(errno, "cannot sync the output", path_);
  } else {
    status_ = Publish();
  }
  if (!status_.ok()) return status_;
  ::close(fd_);
  fd_ = -1;
  return name_.Reference();
}

absl::Status OutputFiles::Writer::Publish() {
  const std::string final_path = absl::StrCat(files_.root_, "/", name_.Reference());
  const int error = MoveNew(path_, final_path);
  if (error == EEXIST) {
    // An outcome may refer to it already, and outcomes never change.
    struct stat earlier {};
    if (::stat(final_path.c_str(), &earlier) != 0) {
      return ErrnoStatus(errno, "cannot look at", final_path);
    }
    if (static_cast<std::uint64_t>(earlier.st_size) != bytes_) {
      return absl::AlreadyExistsError(absl::StrCat("the output ", name_.Reference(), " of ",
                                                   earlier.st_size, " bytes comes again with ",
                                                   bytes_));
    }
    ::unlink(path_.c_str());
  } else if (error != 0) {
    return ErrnoStatus(error, "cannot name the output", final_path);
  }
  return SyncDirectory(files_.JobPath(name_.job));
}

// ---- reading ----

absl::StatusOr<std::string> OutputFiles::Read(std::string_view reference, std::uint64_t offset,
                                              std::size_t length) const {
  const absl::StatusOr<OutputName> name = OutputName::Parse(reference);
  if (!name.ok()) return name.status();
  const std::string path = absl::StrCat(root_, "/", name->Reference());
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return ErrnoStatus(errno, "cannot open the output", path);
  std::string bytes(std::min(length, kPieceLimitBytes), '\0');
  std::size_t done = 0;
  int error = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(fd, bytes.data() + done, bytes.size() - done,
                static_cast<off_t>(std::min<std::uint64_t>(offset, 1ull << 62) + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) error = errno;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  ::close(fd);
  if (error != 0) return ErrnoStatus(error, "cannot read the output", path);
  bytes.resize(done);
  return bytes;
}

// ---- removing ----

absl::Status OutputFiles::RemoveJob(JobId job) {
  std::error_code error;
  const std::string path = JobPath(job);
  if (fs::remove_all(path, error) == static_cast<std::uintmax_t>(-1) || error) {
    return ErrnoStatus(error.value(), "cannot remove the outputs", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputFiles::Garbage> OutputFiles::CollectGarbage(IsNeeded is_needed) {
  std::error_code error;
  std::vector<JobId> jobs;
  for (fs::directory_iterator it(root_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::uint64_t job = 0;
    if (absl::SimpleAtoi(name, &job) && absl::StrCat(job) == name &&
        it->symlink_status().type() == fs::file_type::directory) {
      jobs.emplace_back(job);
    }
  }
  if (error) return ErrnoStatus(error.value(), "cannot list", root_);
  Garbage garbage;
  for (const JobId job : jobs) {
    absl::Status collected = CollectJob(job, is_needed, garbage);
    if (!collected.ok()) return collected;
  }
  return garbage;
}

absl::Status OutputFiles::CollectJob(JobId job, IsNeeded is_needed, Garbage& garbage) {
  const std::string directory = JobPath(job);
  std::error_code error;
  std::vector<fs::path> unwanted;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    const absl::StatusOr<OutputName> name = OutputName::Parse(absl::StrCat(job.value(), "/", file));
    if (name.ok()) {
      const absl::StatusOr<bool> needed = is_needed(*name);
      if (!needed.ok()) return needed.status();
      if (*needed) continue;
    } else if (!absl::EndsWith(file, kTemporarySuffix)) {
      continue;
    }
    unwanted.push_back(it->path());
  }
  if (error) return ErrnoStatus(error.value(), "cannot list", directory);
  for (const fs::path& path : unwanted) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0 || ::unlink(path.c_str()) != 0) {
      return ErrnoStatus(errno, "cannot remove", path.string());
    }
    ++garbage.files;
    garbage.bytes += static_cast<std::uint64_t>(found.st_size);
  }
  ::rmdir(directory.c_str());  // only when nothing is left in it
  return absl::OkStatus();
}

absl::StatusOr<bool> RefersTo(StoreReader& reader, const OutputName& name) {
  const absl::StatusOr<OutcomePage> page = reader.ReadOutcomes({.job = name.job,
                                                                .in_order = true,
                                                                .cursor = name.task,
                                                                .only = {name.task, 1},
                                                                .with_payload = false});
  if (!page.ok()) return page.status();
  const std::string reference = name.Reference();
  return std::any_of(page->entries.begin(), page->entries.end(), [&](const auto& entry) {
    return (name.stream == OutputStream::kOutput ? entry.outcome.output_file
                                                 : entry.outcome.error_file) == reference;
  });
}

}  // namespace haul::coordinator
