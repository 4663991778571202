#include "client/request_id.h"

#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <random>

#include "absl/strings/str_cat.h"

namespace haul::client {
namespace {

std::string RandomDigits() {
  std::random_device random;
  std::string digits;
  for (int word = 0; word < 4; ++word) {
    absl::StrAppend(&digits, absl::Hex(random(), absl::kZeroPad8));
  }
  return digits;
}

}  // namespace

// Asking the machine for random bits each time would cost more than the rest of a small submit: on
// virtual machines that traps. A child has what its parent had, and its pid may have been another
// child's.
std::string NewRequestId() {
  static std::mutex mutex;
  static pid_t made_in = 0;
  static std::string of_this_process;
  static std::uint64_t last = 0;
  const std::lock_guard lock(mutex);
  if (const pid_t pid = ::getpid(); pid != made_in) {
    of_this_process = RandomDigits();
    made_in = pid;
  }
  return absl::StrCat(of_this_process, "-", ++last);
}

}  // namespace haul::client
