#include "tests/executor/library/hostile.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace hostile {
namespace {

using std::chrono::milliseconds;

HAUL_SERVE(kMisbehave, [](haul::Context&, const std::string& how) -> std::string {
  if (how == "close") {
    for (int fd = 0; fd < 1024; ++fd) ::close(fd);
  } else if (how == "thread") {
    std::thread([] {
      while (true) std::this_thread::sleep_for(milliseconds(1));
    }).detach();
  } else if (how == "exit") {
    std::thread([] { std::_Exit(7); }).join();
  } else if (how == "kill") {
    ::kill(::getpid(), SIGKILL);
    while (true) ::pause();
  } else {
    throw std::invalid_argument(how);
  }
  return how;
});

HAUL_SERVE(kMeet, [](haul::Context& context, const std::string& directory, std::uint32_t n) {
  const std::filesystem::path own = directory + "/" + std::to_string(context.job_id()) + "-" +
                                    std::to_string(context.task_index());
  std::ofstream(own) << "here";
  const auto count = [&] {
    return static_cast<std::uint32_t>(std::distance(std::filesystem::directory_iterator(directory),
                                                    std::filesystem::directory_iterator()));
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (count() < n) {
    if (context.stop_requested() || std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("only " + std::to_string(count()) + " came");
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  return static_cast<std::int32_t>(::getpid());
});

HAUL_SERVE(kHalt, [](haul::Context& context, const std::string& path) {
  context.Progress(0.25);
  while (!std::filesystem::exists(path)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
});

HAUL_SERVE(kCallSleep, [](haul::Context& context, std::uint64_t ms) {
  context.Submit(haul::Function<void(std::uint64_t)>("sleep.v1"), ms).Get();
});

HAUL_SERVE(kGarbage, [](haul::Context&) { return ThreeBytes{}; });

}  // namespace
}  // namespace hostile
