// The processes below this one: finding them, ending them. This process is a subreaper, so whatever
// of its descendants loses its parent becomes its child.
//
// Any thread. Needs neither Abseil nor gRPC, so that the guardian can use it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace haul::exec {

// From now on orphaned descendants become this process's children. It may be said twice.
void BecomeSubreaper();

// The children that this process's first thread has: those that it started itself, and all that
// lost their parent, which the kernel gives to it. What other threads started is not among them.
std::vector<pid_t> FirstThreadsChildren();

// The contents of a file of /proc; empty where it cannot be read. Not more than `most_bytes`.
std::string ReadProcFile(const std::string& path, std::size_t most_bytes);

// The children of a process, whichever of its threads has them; none where it is gone.
std::vector<pid_t> ChildrenOf(pid_t pid);

// `roots` and all their descendants, each once, as far as they can be seen without stopping them.
std::vector<pid_t> TreeOf(const std::vector<pid_t>& roots);

// Kills `roots` and all their descendants, whatever they fork meanwhile: first stops what it finds,
// until it finds no more. `roots` are children of this process that nobody waits for meanwhile, or
// they could be others by now.
void KillTrees(const std::vector<pid_t>& roots);

// Memory that a process holds: what it has in its pages; or its share of them, where pages that
// processes share count once among them all, which takes longer to find out. 0 where it is gone.
std::uint64_t ResidentBytes(pid_t pid);
std::uint64_t ProportionalBytes(pid_t pid);

// The threads of all processes of this machine: never fewer than there are processes. Nothing
// where that is not told.
std::optional<std::uint64_t> ThreadsOfMachine();

// Whether the kernel tells of a process's children (CONFIG_PROC_CHILDREN): without, nothing is
// found of what lost its parent.
bool ChildrenAreTold();

// Kills the first thread's children except those that `spare` names, and what becomes its child by
// that, until none is left. Without `spare` it is the kernel that says so, of all threads. False
// when something was left after `limit` (it cannot be killed or found, or the kernel holds it). It
// waits for children that others may be waiting for.
bool KillChildren(const std::function<bool(pid_t)>& spare, std::chrono::milliseconds limit);

}  // namespace haul::exec
