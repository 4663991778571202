// Helper processes of `haul`: where their programs are, and how they are started. Main thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace haul::cli {

// The path of this very program.
std::string OwnProgram();
// haul-guardian and haul-executor: next to this program, or in ../libexec/haul. NotFound names both
// places.
absl::StatusOr<std::string> HelperProgram(const std::string& name);

struct Child {
  pid_t pid = -1;
  int pidfd = -1;   // can be read once it has ended
  int output = -1;  // reads its stdout, if asked for
};

// Starts `arguments` (a path first) in a process group of its own, so that the terminal's Ctrl-C
// reaches this program alone, with no signal blocked. It is killed when this thread ends, however
// that happens.
absl::StatusOr<Child> StartChild(const std::vector<std::string>& arguments, bool read_output);
// Waits for its end and closes its descriptors; its exit status, or 128 and the signal.
int WaitForChild(Child& child);

}  // namespace haul::cli
