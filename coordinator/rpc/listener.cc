#include "coordinator/rpc/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "spdlog/spdlog.h"

namespace haul::coordinator {
namespace {

// For the database, its journal, and files of outputs that come and go.
constexpr int kReservedDescriptors = 64;
// Without one that could be accepted and turned away, it waits for one.
constexpr int kRetryMs = 100;

// What the other side does not acknowledge for so long ends the connection: gRPC's own listener
// takes that from its keepalive.
constexpr int kUnacknowledgedLimitMs = 10'000;

void RaiseOpenFiles() {
  rlimit limit{};
  HAUL_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int DescriptorsForConnections() {
  rlimit limit{};
  HAUL_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const auto all = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 30));
  return all - std::min(kReservedDescriptors, all / 4);
}

// -1 where that address cannot be listened on; errno says why.
int ListenOn(const addrinfo& address) {
  const int fd =
      ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // An address of the older protocol has a socket of its own.
  if (address.ai_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd, address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0) {
    return fd;
  }
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

void SetPort(addrinfo& address, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (address.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address.ai_addr)->sin6_port = number;
  } else {
    reinterpret_cast<sockaddr_in*>(address.ai_addr)->sin_port = number;
  }
}

int PortOf(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  HAUL_CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& address) {
  RaiseOpenFiles();
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::UnavailableError(absl::StrCat("listen: ", address, ": ", ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, ::freeaddrinfo);
  std::unique_ptr<Listener> listener(new Listener());
  int why = 0;
  for (addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    if (listener->port_ != 0) SetPort(*one, listener->port_);
    const int fd = ListenOn(*one);
    if (fd < 0) {
      why = errno;
      continue;
    }
    listener->fds_.push_back(fd);
    listener->port_ = PortOf(fd);
  }
  if (listener->fds_.empty()) {
    return absl::UnavailableError(absl::StrCat("listen: cannot listen on ", address, ": ",
                                               std::strerror(why),
                                               "; is another coordinator running there?"));
  }
  listener->stop_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (listener->stop_fd_ < 0) return absl::UnavailableError("listen: no descriptor is left");
  return listener;
}

Listener::~Listener() {
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    while (::write(stop_fd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  for (const int fd : fds_) ::close(fd);
  if (stop_fd_ >= 0) ::close(stop_fd_);
}

void Listener::Start(std::unique_ptr<Acceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Run() {
  std::vector<pollfd> polled = {{.fd = stop_fd_, .events = POLLIN, .revents = 0}};
  for (const int fd : fds_) polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  bool has_descriptors = true;
  for (;;) {
    // Without a descriptor only the stop is listened for, or this would spin.
    const nfds_t count = has_descriptors ? polled.size() : 1;
    const int ready = ::poll(polled.data(), count, has_descriptors ? -1 : kRetryMs);
    if (ready < 0 && errno != EINTR) HAUL_CHECK(false);
    if (ready > 0 && polled[0].revents != 0) return;
    has_descriptors = true;
    for (const int fd : fds_) has_descriptors = AcceptAll(fd) && has_descriptors;
  }
}

bool Listener::AcceptAll(int listening_fd) {
  for (;;) {
    const int fd = ::accept4(listening_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return errno == EAGAIN;
    // The kernel gives the least number that is free.
    if (fd >= DescriptorsForConnections()) {
      ::close(fd);
      spdlog::warn("a connection is turned away: no descriptors are left for more (ulimit -n)");
      return false;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedLimitMs,
                 sizeof kUnacknowledgedLimitMs);
    Acceptor::NewConnectionParameters connection;
    connection.listener_fd = listening_fd;
    connection.fd = fd;
    acceptor_->HandleNewConnection(&connection);
  }
}

}  // namespace haul::coordinator
