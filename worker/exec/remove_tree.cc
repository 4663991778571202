#include "worker/exec/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
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

// One level of descent. Not by recursion: a task may nest deeper than a stack.
struct Level {
  int fd = -1;
  std::string name;  // in the level above
  std::vector<std::string> names;
};

bool RemoveContents(int root) {
  constexpr std::size_t kMostLevels = 512;  // as many descriptors are open
  std::vector<Level> levels;
  levels.push_back({root, "", Names(::fcntl(root, F_DUPFD_CLOEXEC, 0))});
  bool complete = true;
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.names.empty()) {
      const Level done = std::move(level);
      levels.pop_back();
      if (levels.empty()) break;
      ::close(done.fd);
      if (::unlinkat(levels.back().fd, done.name.c_str(), AT_REMOVEDIR) != 0) complete = false;
      continue;
    }
    const std::string name = std::move(level.names.back());
    level.names.pop_back();
    if (::unlinkat(level.fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    const int fd = levels.size() < kMostLevels ? OpenDirectory(level.fd, name) : -1;
    if (fd < 0) {
      complete = false;
      continue;
    }
    std::vector<std::string> names = Names(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    levels.push_back({fd, name, std::move(names)});
  }
  return complete;
}

}  // namespace

bool RemoveTree(const std::string& path) {
  const int root = OpenDirectory(AT_FDCWD, path);
  if (root < 0) return errno == ENOENT || ::unlink(path.c_str()) == 0;
  const bool complete = RemoveContents(root);
  ::close(root);
  return ::rmdir(path.c_str()) == 0 && complete;
}

}  // namespace haul::exec
