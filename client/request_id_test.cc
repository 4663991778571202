#include "client/request_id.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace haul::client {
namespace {

// What a child that is forked just now would take next.
std::string IdOfAChild() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string id = NewRequestId();
    ::_exit(::write(ends[1], id.data(), id.size()) == static_cast<ssize_t>(id.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::array<char, 256> id{};
  const ssize_t size = ::read(ends[0], id.data(), id.size());
  ::close(ends[0]);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  return {id.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

TEST(RequestIdTest, AChildHasIdsOfItsOwn) {
  NewRequestId();
  const std::string one = IdOfAChild();
  const std::string other = IdOfAChild();
  const std::string own = NewRequestId();
  EXPECT_EQ(one.size(), own.size());
  EXPECT_NE(one, own);
  EXPECT_NE(other, own);
  EXPECT_NE(one, other);
}

}  // namespace
}  // namespace haul::client
