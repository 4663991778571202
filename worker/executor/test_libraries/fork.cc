// A function by the C interface alone whose child processes come to grief.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "haul/library.h"

namespace {

void ForkAndWait(void (*child)()) {
  const pid_t pid = fork();
  if (pid == 0) child();
  waitpid(pid, nullptr, 0);
}

// Says when its children are gone, and then runs until it is killed.
std::int32_t Fork(const void*, const haul_call* call) {
  ForkAndWait([] { std::abort(); });
  ForkAndWait([] { std::exit(127); });
  call->host->progress(call->task, 1);
  while (true) pause();
}

const haul_function kFunctions[] = {{"fork.v1", "void()", nullptr, &Fork}};
const haul_library kLibrary = {HAUL_INTERFACE_VERSION, sizeof(haul_function), 1, kFunctions};

}  // namespace

extern "C" [[gnu::visibility("default")]] const haul_library* haul_library_v1();
extern "C" const haul_library* haul_library_v1() { return &kLibrary; }
