// The listener by itself: what it hands over, and what it turns away.
#include "coordinator/rpc/listener.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"

namespace haul::coordinator {
namespace {

// Keeps what it is given until the end.
struct Accepted {
  absl::Mutex mutex;
  std::vector<int> fds ABSL_GUARDED_BY(mutex);

  ~Accepted() {
    for (const int fd : fds) ::close(fd);
  }
  void AwaitCount(std::size_t count) {
    absl::MutexLock lock(&mutex);
    const auto are_there = [&]()
                               ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return fds.size() >= count; };
    mutex.Await(absl::Condition(&are_there));
  }
};

class KeepingAcceptor : public Listener::Acceptor {
 public:
  explicit KeepingAcceptor(Accepted& accepted) : accepted_(accepted) {}
  void HandleNewConnection(NewConnectionParameters* connection) override {
    absl::MutexLock lock(&accepted_.mutex);
    accepted_.fds.push_back(connection->fd);
  }

 private:
  Accepted& accepted_;
};

int ConnectTo(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

TEST(ListenerTest, OfOneAddressThereIsOneListener) {
  const auto first = Listener::Open("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = Listener::Open(address);
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_TRUE(absl::StrContains(second.status().message(), "another coordinator"));
  EXPECT_TRUE(absl::IsUnavailable(Listener::Open("192.0.2.1:1").status())) << "not ours";
}

TEST(ListenerTest, ItIsFreeAgainAtTheEnd) {
  auto first = Listener::Open("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  Accepted accepted;
  (*first)->Start(std::make_unique<KeepingAcceptor>(accepted));
  first->reset();
  EXPECT_TRUE(Listener::Open(address).ok());
}

TEST(ListenerTest, WithoutDescriptorsItTurnsAwayAndAcceptsAgainWhenThereAreSome) {
  const auto listener = Listener::Open("localhost:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  Accepted accepted;
  (*listener)->Start(std::make_unique<KeepingAcceptor>(accepted));
  const int first = ConnectTo((*listener)->port());
  accepted.AwaitCount(1);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // A few are left, but less than what the listener keeps for others.
  std::vector<int> taken;
  do taken.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  while (taken.back() < 40);
  const rlimit few{.rlim_cur = static_cast<rlim_t>(taken.back()) + 8, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const int refused = ConnectTo((*listener)->port());
  // It is closed, not left to wait.
  pollfd closed{.fd = refused, .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&closed, 1, 60'000), 1);
  char byte = 0;
  EXPECT_LE(::read(refused, &byte, 1), 0);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  const int second = ConnectTo((*listener)->port());
  accepted.AwaitCount(2);
  taken.insert(taken.end(), {first, refused, second});
  for (const int fd : taken) ::close(fd);
}

}  // namespace
}  // namespace haul::coordinator
