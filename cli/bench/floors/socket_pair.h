// Two connected sockets, and whole messages over them. Any thread.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>

#include "cli/bench/floors/floor_database.h"

namespace haul::cli {

class SocketPair {
 public:
  SocketPair() {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) != 0) {
      throw FloorError("no socket pair");
    }
  }
  ~SocketPair() {
    for (const int end : ends_) close(end);
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  int left() const { return ends_[0]; }
  int right() const { return ends_[1]; }
  // Whoever reads or writes at either end fails from now on.
  void ShutDown() const { shutdown(ends_[0], SHUT_RDWR); }

 private:
  std::array<int, 2> ends_{};
};

inline bool WriteAll(int descriptor, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t wrote = send(descriptor, at, size, MSG_NOSIGNAL);
    if (wrote <= 0) return false;
    at += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
  return true;
}
inline bool ReadAll(int descriptor, void* data, std::size_t size) {
  return recv(descriptor, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

}  // namespace haul::cli
