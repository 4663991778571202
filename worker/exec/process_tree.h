// The processes below this one: finding them, ending them. This process is a subreaper, so whatever
// of its descendants loses its parent becomes its child.
//
// Any thread. Needs neither Abseil nor gRPC, so that the guardian can use it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
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

// Kills the first thread's children except those that `spare` names, and what becomes its child by
// that, until none is left. False when something was left after `limit` (it cannot be killed, or
// the kernel holds it). It waits for children that others may be waiting for.
bool KillChildren(const std::function<bool(pid_t)>& spare, std::chrono::milliseconds limit);

}  // namespace haul::exec
