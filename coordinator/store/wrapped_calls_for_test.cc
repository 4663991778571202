// The calls by which the store itself changes files, as the linker's --wrap gives them: done, and
// noted where a PowerCutRecorder is there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <map>
#include <string>

#include "coordinator/store/power_cut_recorder_for_test.h"

namespace haul::coordinator {
namespace {

using Kind = DiskOperation::Kind;

// Where writes without an offset go on.
struct OpenFile {
  std::string path;
  std::uint64_t position = 0;
};
std::map<int, OpenFile>& open_files() {
  static auto* const files = new std::map<int, OpenFile>;
  return *files;
}

void Note(Kind kind, const std::string& path, std::uint64_t offset = 0,
          std::string_view bytes = {}) {
  if (PowerCutRecorder::current() != nullptr) {
    PowerCutRecorder::current()->Note(kind, path, offset, bytes);
  }
}

void NoteWrite(int fd, std::uint64_t offset, const void* bytes, ssize_t written) {
  const auto it = open_files().find(fd);
  if (it == open_files().end() || written <= 0) return;
  Note(Kind::kWrite, it->second.path, offset,
       {static_cast<const char*>(bytes), static_cast<std::size_t>(written)});
}

}  // namespace
}  // namespace haul::coordinator

using haul::coordinator::Note;
using haul::coordinator::NoteWrite;
using haul::coordinator::open_files;
using haul::coordinator::PowerCutRecorder;
using Kind = haul::coordinator::DiskOperation::Kind;

// The linker gives these names.
// NOLINTBEGIN(bugprone-reserved-identifier)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {

int __real_open(const char* path, int flags, ...);
int __real_close(int fd);
ssize_t __real_write(int fd, const void* bytes, size_t size);
ssize_t __real_pwrite(int fd, const void* bytes, size_t size, off_t offset);
int __real_fsync(int fd);
int __real_mkdir(const char* path, mode_t mode);
int __real_unlink(const char* path);
int __real_rmdir(const char* path);
int __real_rename(const char* from, const char* to);
int __real_renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags);

int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  const bool is_new = ::access(path, F_OK) != 0;
  const int fd = __real_open(path, flags, mode);
  if (fd < 0) return fd;
  open_files()[fd] = {path, 0};
  if (is_new) {
    Note(Kind::kMakeFile, path);
  } else if ((flags & O_TRUNC) != 0) {
    Note(Kind::kTruncate, path);
  }
  return fd;
}

int __wrap_close(int fd) {
  open_files().erase(fd);
  return __real_close(fd);
}

ssize_t __wrap_write(int fd, const void* bytes, size_t size) {
  const ssize_t written = __real_write(fd, bytes, size);
  const auto it = open_files().find(fd);
  if (it != open_files().end() && written > 0) {
    NoteWrite(fd, it->second.position, bytes, written);
    it->second.position += static_cast<std::uint64_t>(written);
  }
  return written;
}

ssize_t __wrap_pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  const ssize_t written = __real_pwrite(fd, bytes, size, offset);
  NoteWrite(fd, static_cast<std::uint64_t>(offset), bytes, written);
  return written;
}

int __wrap_fsync(int fd) {
  const int result = __real_fsync(fd);
  const auto it = open_files().find(fd);
  if (it == open_files().end() || result != 0) return result;
  struct stat found {};
  const bool is_directory = ::fstat(fd, &found) == 0 && S_ISDIR(found.st_mode);
  Note(is_directory ? Kind::kSyncDirectory : Kind::kSyncFile, it->second.path);
  return result;
}

int __wrap_mkdir(const char* path, mode_t mode) {
  const int result = __real_mkdir(path, mode);
  if (result == 0) Note(Kind::kMakeDirectory, path);
  return result;
}

int __wrap_unlink(const char* path) {
  const int result = __real_unlink(path);
  if (result == 0) Note(Kind::kRemove, path);
  return result;
}

int __wrap_rmdir(const char* path) {
  const int result = __real_rmdir(path);
  if (result == 0) Note(Kind::kRemove, path);
  return result;
}

int __wrap_rename(const char* from, const char* to) {
  const int result = __real_rename(from, to);
  if (result == 0 && PowerCutRecorder::current() != nullptr) {
    PowerCutRecorder::current()->NoteRename(from, to);
  }
  return result;
}

int __wrap_renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  const int result = __real_renameat2(from_dir, from, to_dir, to, flags);
  if (result == 0 && PowerCutRecorder::current() != nullptr) {
    PowerCutRecorder::current()->NoteRename(from, to);
  }
  return result;
}

}  // extern "C"
#pragma GCC diagnostic pop
// NOLINTEND(bugprone-reserved-identifier)
