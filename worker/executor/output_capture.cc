#include "worker/executor/output_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace haul::executor {

OutputCapture::~OutputCapture() { Discard(); }

int OutputCapture::WriteAll(std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd_, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int OutputCapture::Append(std::string_view data) {
  byte_count_ += data.size();
  if (!in_file_ && byte_count_ <= kInlineBytes) {
    inline_.append(data);
    return 0;
  }
  if (!in_file_) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd_ < 0) return errno;
    in_file_ = true;
    if (const int error = WriteAll(std::exchange(inline_, {}))) return error;
  }
  return WriteAll(data);
}

int OutputCapture::Finish() {
  const int fd = std::exchange(fd_, -1);
  return fd >= 0 && ::close(fd) != 0 ? errno : 0;
}

void OutputCapture::Discard() {
  inline_.clear();
  byte_count_ = 0;
  if (const int fd = std::exchange(fd_, -1); fd >= 0) ::close(fd);
  if (std::exchange(in_file_, false)) ::unlink(path_.c_str());
}

std::string OutputCapture::TakeFile() {
  in_file_ = false;
  return std::move(path_);
}

}  // namespace haul::executor
