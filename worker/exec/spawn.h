// Starts a program without copying the caller's address space (clone with CLONE_VM | CLONE_VFORK;
// never fork).
//
// Any thread; the calling thread waits until the program is executing or has failed to. Needs
// neither Abseil nor gRPC, so that the guardian can use it.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace haul::exec {

// Signal n is bit n - 1.
using SignalSet = std::uint64_t;

enum class ProcessGroup {
  // What the caller is in.
  kInherited,
  // Its own group in the caller's session: the terminal's signals reach the caller alone.
  kOwnGroup,
  // Its own session, hence its own group, and no controlling terminal: it cannot be stopped for
  // reading the
  // terminal that the worker was started from, nor take it over.
  kOwnSession,
};

struct SpawnRequest {
  std::vector<std::string> arguments;    // the program first; not empty; no zero bytes
  std::vector<std::string> environment;  // "NAME=value", each name once; its PATH finds the program
  std::string directory;                 // empty: the caller's
  // Becomes descriptor 0, opened within `directory`; empty: descriptors[0] does.
  std::string stdin_file;
  // The caller's descriptor i of the list becomes the program's descriptor i, -1 is /dev/null; it
  // has no others. At most kMostDescriptors.
  std::vector<int> descriptors = {-1, -1, -1};
  ProcessGroup group = ProcessGroup::kOwnSession;
  // What the program gets when the *thread* that spawned it ends; 0: nothing.
  int death_signal = SIGKILL;
  // The soft limit of open files that the program starts with; absent: the caller's.
  std::optional<rlim_t> open_files_soft_limit;
  // What gets its default action in the program, of what SignalsToReset() told this process: a
  // system call each. Absent: every signal.
  std::optional<SignalSet> signals_to_reset;

  static constexpr std::size_t kMostDescriptors = 8;
};

// The signals that this process ignores or handles. Good as long as it changes none of its actions.
SignalSet SignalsToReset();

enum class SpawnStep { kNone, kProcess, kSetup, kDirectory, kStdin, kExec };

struct SpawnResult {
  pid_t pid = -1;  // > 0: it runs, and is the caller's to wait for
  int pidfd = -1;  // with pid; the caller closes it
  SpawnStep failed_step = SpawnStep::kNone;
  int error = 0;  // errno of failed_step; nothing is left behind then

  bool ok() const { return failed_step == SpawnStep::kNone; }
};

SpawnResult Spawn(const SpawnRequest& request);

// Where `program` is looked for: itself if it holds a slash, otherwise in the directories of
// `path`.
std::vector<std::string> ProgramCandidates(std::string_view program, std::string_view path);

// For people: what failed, which file, and why.
std::string DescribeFailure(const SpawnRequest& request, const SpawnResult& result);

// The value of `name` in a list of "NAME=value"; nullopt where it is absent.
std::optional<std::string_view> FindVariable(const std::vector<std::string>& environment,
                                             std::string_view name);

}  // namespace haul::exec
