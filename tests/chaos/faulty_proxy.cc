#include "tests/chaos/faulty_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/chaos/processes.h"

namespace haul::chaos {
namespace {

constexpr std::size_t kMostBufferedBytes = std::size_t{1} << 20;
constexpr std::size_t kReadBytes = std::size_t{64} << 10;

Failure SystemFailure(const std::string& what) { return Failure(what + ": " + strerror(errno)); }

sockaddr_in Ipv4(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    throw Failure("'" + host + "' is no IPv4 address");
  }
  return address;
}

const sockaddr* Generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void SendAtOnce(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

void CloseSocket(int& socket) {
  if (socket >= 0) close(socket);
  socket = -1;
}

// The peer is told by RST, and what it has not read yet is lost.
void ResetSocket(int& socket) {
  if (socket < 0) return;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  CloseSocket(socket);
}

}  // namespace

FaultyProxy::FaultyProxy(const std::string& target) {
  const std::size_t colon = target.rfind(':');
  if (colon == std::string::npos) throw Failure("'" + target + "' is not HOST:PORT");
  target_host_ = target.substr(0, colon);
  target_port_ = static_cast<std::uint16_t>(std::stoul(target.substr(colon + 1)));
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (listener_ < 0 || wake_ < 0) throw SystemFailure("proxy");
  sockaddr_in address = Ipv4("127.0.0.1", 0);
  constexpr int kBacklog = 1024;
  if (bind(listener_, Generic(address), sizeof address) != 0 || listen(listener_, kBacklog) != 0) {
    throw SystemFailure("proxy");
  }
  socklen_t size = sizeof address;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  thread_ = std::thread([this] { Run(); });
}

FaultyProxy::~FaultyProxy() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
  for (const auto& connection : connections_) Reset(*connection);
  close(listener_);
  close(wake_);
}

void FaultyProxy::Wake() { eventfd_write(wake_, 1); }

void FaultyProxy::SetFlow(Direction direction, Flow flow) {
  {
    const std::lock_guard lock(mutex_);
    flow_[direction] = flow;
  }
  Wake();
}

void FaultyProxy::SetFlow(Flow flow) {
  SetFlow(kForth, flow);
  SetFlow(kBack, flow);
}

void FaultyProxy::SetDelay(std::chrono::milliseconds delay) {
  const std::lock_guard lock(mutex_);
  delay_ = delay;
}

void FaultyProxy::SetPace(std::size_t bytes_per_ms) {
  const std::lock_guard lock(mutex_);
  bytes_per_ms_ = bytes_per_ms;
}

void FaultyProxy::SetRefusing(bool refusing) {
  const std::lock_guard lock(mutex_);
  refusing_ = refusing;
}

void FaultyProxy::ForgetConnections() {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) connection->forgotten = true;
  }
  Wake();
}

void FaultyProxy::ResetConnections() {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) {
      if (!connection->forgotten) Reset(*connection);
    }
  }
  Wake();
}

void FaultyProxy::ResetAfter(Direction direction, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  reset_after_[direction] = passed_[direction] + bytes;
}

std::uint64_t FaultyProxy::accepted() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

std::uint64_t FaultyProxy::resets() const {
  const std::lock_guard lock(mutex_);
  return resets_;
}

std::size_t FaultyProxy::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      connections_.begin(), connections_.end(),
      [](const auto& connection) { return !connection->forgotten && !connection->over; }));
}

std::uint64_t FaultyProxy::passed_bytes(Direction direction) const {
  const std::lock_guard lock(mutex_);
  return passed_[direction];
}

void FaultyProxy::Run() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      Accept();
      const Clock::time_point now = Clock::now();
      for (const auto& connection : connections_) Serve(*connection, now);
      std::erase_if(connections_, [](const auto& connection) { return connection->over; });
    }
    Poll();
  }
}

void FaultyProxy::Accept() {
  for (;;) {
    int incoming = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (incoming < 0) return;
    ++accepted_;
    if (refusing_) {
      ResetSocket(incoming);
      continue;
    }
    int outgoing = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in target = Ipv4(target_host_, target_port_);
    // On this machine it is answered at once, be it by a refusal, which is passed on as one.
    if (outgoing < 0 || connect(outgoing, Generic(target), sizeof target) != 0) {
      CloseSocket(outgoing);
      ResetSocket(incoming);
      continue;
    }
    fcntl(outgoing, F_SETFL, O_NONBLOCK);
    SendAtOnce(incoming);
    SendAtOnce(outgoing);
    auto connection = std::make_unique<Connection>();
    connection->sockets = {incoming, outgoing};
    connections_.push_back(std::move(connection));
  }
}

// Waits for something to do; while chunks wait for their time, at most a millisecond.
void FaultyProxy::Poll() {
  std::vector<pollfd> waits = {{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
  bool chunks_wait = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : connections_) {
      for (const Direction direction : {kForth, kBack}) {
        const Pipe& pipe = connection->pipes[direction];
        const int source = connection->sockets[direction];
        const bool takes = connection->forgotten || (flow_[direction] != Flow::kHold &&
                                                     pipe.buffered_bytes < kMostBufferedBytes);
        if (takes && !pipe.ended && source >= 0) waits.push_back({source, POLLIN, 0});
        chunks_wait = chunks_wait || !pipe.chunks.empty();
      }
    }
  }
  constexpr int kIdleMs = 1000;
  poll(waits.data(), waits.size(), chunks_wait ? 1 : kIdleMs);
  eventfd_t ignored = 0;
  eventfd_read(wake_, &ignored);
}

void FaultyProxy::Serve(Connection& connection, Clock::time_point now) {
  for (const Direction direction : {kForth, kBack}) {
    if (!connection.over) Take(connection, direction, now);
    if (!connection.over) Pass(connection, direction, now);
  }
  const bool both_told = connection.pipes[kForth].end_told && connection.pipes[kBack].end_told;
  const bool both_gone = connection.sockets[kForth] < 0 && connection.sockets[kBack] < 0;
  if (!connection.over && (both_told || both_gone)) {
    for (int& socket : connection.sockets) CloseSocket(socket);
    connection.over = true;
  }
}

void FaultyProxy::Take(Connection& connection, Direction direction, Clock::time_point now) {
  Pipe& pipe = connection.pipes[direction];
  const int source = connection.sockets[direction];
  if (source < 0 || pipe.ended) return;
  if (flow_[direction] == Flow::kHold && !connection.forgotten) return;
  while (pipe.buffered_bytes < kMostBufferedBytes) {
    std::string bytes(kReadBytes, '\0');
    const ssize_t got = recv(source, bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0 && !connection.forgotten) return Reset(connection);
    if (got <= 0) return OnEnd(connection, direction);
    // A stream with a hole in it can never be whole again.
    if (flow_[direction] == Flow::kSwallow) connection.forgotten = true;
    if (connection.forgotten) continue;
    bytes.resize(static_cast<std::size_t>(got));
    pipe.buffered_bytes += bytes.size();
    pipe.chunks.push_back({now + delay_, std::move(bytes)});
  }
}

// The source has closed or is gone. Of a half-open connection the other end does not hear.
void FaultyProxy::OnEnd(Connection& connection, Direction direction) {
  connection.pipes[direction].ended = true;
  if (connection.forgotten || flow_[direction] == Flow::kSwallow) {
    connection.forgotten = true;
    CloseSocket(connection.sockets[direction]);
  }
}

void FaultyProxy::Pass(Connection& connection, Direction direction, Clock::time_point now) {
  Pipe& pipe = connection.pipes[direction];
  const int sink = connection.sockets[direction == kForth ? kBack : kForth];
  if (connection.forgotten || sink < 0) {
    pipe.chunks.clear();
    pipe.buffered_bytes = 0;
    return;
  }
  if (flow_[direction] == Flow::kHold) return;
  while (!pipe.chunks.empty() && pipe.chunks.front().due <= now) {
    if (bytes_per_ms_ > 0 && now < pipe.paced) return;
    std::string& bytes = pipe.chunks.front().bytes;
    const std::size_t most = std::min(bytes.size(), MayPass(direction));
    const ssize_t sent = send(sink, bytes.data(), most, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return Reset(connection);
    const auto count = static_cast<std::size_t>(sent);
    pipe.buffered_bytes -= count;
    bytes.erase(0, count);
    if (bytes.empty()) pipe.chunks.pop_front();
    if (bytes_per_ms_ > 0) pipe.paced = now + std::chrono::milliseconds(1);
    CountPassed(connection, direction, count);
    if (connection.over) return;
  }
  if (pipe.ended && pipe.chunks.empty() && !pipe.end_told) {
    pipe.end_told = true;
    shutdown(sink, SHUT_WR);
  }
}

// How many bytes at once: a reset shall come in the midst of a message.
std::size_t FaultyProxy::MayPass(Direction direction) const {
  std::size_t most = bytes_per_ms_ > 0 ? bytes_per_ms_ : kMostBufferedBytes;
  if (reset_after_[direction] > 0) {
    most = std::min<std::size_t>(most, reset_after_[direction] - passed_[direction]);
  }
  return most;
}

void FaultyProxy::CountPassed(Connection& connection, Direction direction, std::size_t bytes) {
  passed_[direction] += bytes;
  if (reset_after_[direction] == 0 || passed_[direction] < reset_after_[direction]) return;
  reset_after_[direction] = 0;
  ++resets_;
  Reset(connection);
}

void FaultyProxy::Reset(Connection& connection) {
  for (int& socket : connection.sockets) ResetSocket(socket);
  connection.over = true;
}

}  // namespace haul::chaos
