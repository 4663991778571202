// The floor of commands: threads that start one, capture it and reap it.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "cli/bench/floors/floors.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Status;

// In the child of vfork, which shares its parent's memory until it is another program.
[[noreturn]] void Become(char* const* arguments, int output, int errors) {
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

void ReadToEnd(std::array<int, 2> descriptors) {
  std::array<pollfd, 2> open = {pollfd{descriptors[0], POLLIN, 0},
                                pollfd{descriptors[1], POLLIN, 0}};
  std::array<char, 4096> bytes{};
  for (int left = 2; left > 0;) {
    poll(open.data(), open.size(), -1);
    for (pollfd& one : open) {
      if (one.revents == 0 || read(one.fd, bytes.data(), bytes.size()) > 0) continue;
      close(one.fd);
      one.fd = -1;
      one.revents = 0;
      --left;
    }
  }
}

bool RunCommand(char* const* arguments) {
  std::array<int, 2> output{};
  std::array<int, 2> errors{};
  if (pipe2(output.data(), O_CLOEXEC) != 0) return false;
  if (pipe2(errors.data(), O_CLOEXEC) != 0) {
    close(output[0]);
    close(output[1]);
    return false;
  }
  // The floor of what a worker does with clone(CLONE_VFORK); posix_spawn takes longer.
  const pid_t child = vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  // NOLINTNEXTLINE(clang-analyzer-unix.Vfork): it calls nothing but what is allowed there.
  if (child == 0) Become(arguments, output[1], errors[1]);
  close(output[1]);
  close(errors[1]);
  ReadToEnd({output[0], errors[0]});
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace

client::Result<double> BareCommands(const std::vector<std::string>& arguments, std::uint64_t count,
                                    int at_once) {
  std::vector<std::string> words = arguments;
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::atomic<std::uint64_t> next = 0;
  std::atomic<bool> failed = false;
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < at_once; ++i) {
    threads.emplace_back([&] {
      while (!failed && next.fetch_add(1) < count) {
        if (!RunCommand(pointers.data())) failed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed) return Status(ErrorKind::kFailed, "the bare commands: one failed");
  return static_cast<double>(count) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace haul::cli
