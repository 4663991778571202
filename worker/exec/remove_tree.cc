#include "worker/exec/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

namespace haul::exec {
namespace {

// The names in the directory `fd`, which it takes over.
std::vector<std::string> Names(int fd) {
  std::vector<std::string> names;
  DIR* directory = ::fdopendir(fd);
  if (directory == nullptr) {
    ::close(fd);
    return names;
  }
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(directory);
  return names;
}

// Opens a directory, giving ourselves the rights that its owner took away. The rights are set on
// what was opened as a directory (O_PATH, by its name in /proc), never through a link that has
// taken its place.
int OpenDirectory(int parent, const std::string& name) {
  const int path_fd = ::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (path_fd < 0) return -1;
  const std::string self = "/proc/self/fd/" + std::to_string(path_fd);
  struct stat status {};
  if (::fstat(path_fd, &status) == 0 && (status.st_mode & 0700) != 0700) {
    ::chmod(self.c_str(), 0700);
  }
  const int fd = ::open(self.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ::close(path_fd);
  return fd;
}

// A directory on the way down to what is being removed.
struct Level {
  std::string name;                // in the level above
  std::vector<std::string> names;  // that are left
  struct stat identity {};
};

// Removes what is in the directory `fd`, which it takes over. One descriptor however deep, and no
// recursion: a task may nest deeper than a stack.
class Removal {
 public:
  explicit Removal(int fd) { Enter(fd, ""); }
  ~Removal() { ::close(fd_); }
  Removal(const Removal&) = delete;
  Removal& operator=(const Removal&) = delete;

  // Whether nothing is left.
  bool Run() {
    while (true) {
      if (!levels_.back().names.empty()) {
        RemoveNext();
      } else if (levels_.size() == 1) {
        return complete_;
      } else if (!Leave()) {
        return false;
      }
    }
  }

 private:
  void RemoveNext() {
    const std::string name = std::move(levels_.back().names.back());
    levels_.back().names.pop_back();
    if (::unlinkat(fd_, name.c_str(), 0) == 0 || errno == ENOENT) return;
    if (const int fd = OpenDirectory(fd_, name); fd >= 0) {
      Enter(fd, name);
    } else {
      complete_ = false;
    }
  }

  void Enter(int fd, const std::string& name) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
    Level& level = levels_.emplace_back();
    level.name = name;
    level.names = Names(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    ::fstat(fd, &level.identity);
  }

  // Back to the level above, unless something has moved the directory meanwhile.
  bool Leave() {
    const int above = ::openat(fd_, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0) return false;
    ::close(std::exchange(fd_, above));
    const std::string name = std::move(levels_.back().name);
    levels_.pop_back();
    struct stat status {};
    const struct stat& expected = levels_.back().identity;
    if (::fstat(above, &status) != 0 || status.st_dev != expected.st_dev ||
        status.st_ino != expected.st_ino) {
      return false;
    }
    if (::unlinkat(fd_, name.c_str(), AT_REMOVEDIR) != 0) complete_ = false;
    return true;
  }

  int fd_ = -1;  // of the last level
  std::vector<Level> levels_;
  bool complete_ = true;
};

}  // namespace

bool RemoveTree(const std::string& path) {
  const int root = OpenDirectory(AT_FDCWD, path);
  if (root < 0) return errno == ENOENT || ::unlink(path.c_str()) == 0;
  const bool complete = Removal(root).Run();
  return ::rmdir(path.c_str()) == 0 && complete;
}

}  // namespace haul::exec
