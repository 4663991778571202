// Removes directory trees that tasks made, whatever they made of them.
#pragma once

#include <string>

namespace haul::exec {

// Removes `path` and everything below it, also where directories have no write permission; symbolic
// links are removed, not followed. False where something is left. Any thread; takes as long as it
// takes.
bool RemoveTree(const std::string& path);

}  // namespace haul::exec
