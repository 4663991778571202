// What the machine allows a system of Haul's shape, measured by the least code that does the same
// work: the floors of `haul bench run`. No scheduling, no leases, no retries; everything that a
// floor starts has ended when it returns.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "haul/client.h"

namespace haul::cli {

// Tasks a second through a bare pool: messages of 1,024 tasks (an id of 8 bytes and an input each)
// go over a socket pair to `threads` threads, which take them 64 at a time; what they return comes
// back likewise and is kept in SQLite as a chunk, with group commit. With results these are read
// back in the end.
client::Result<double> BarePool(std::uint64_t tasks, std::size_t input_bytes,
                                std::size_t result_bytes, int threads);

// Commands a second: `at_once` threads, each with vfork, a pipe for stdout and one for stderr.
client::Result<double> BareCommands(const std::vector<std::string>& arguments, std::uint64_t count,
                                    int at_once);

// Sleeps a second: `threads` threads that do nothing else, `count` of them.
client::Result<double> BareSleeps(std::uint64_t count, std::chrono::milliseconds each, int threads);

// The microseconds that each of `calls` takes, one after the other, over three sockets to the
// thread that answers and back, with every thread asleep while it has nothing. Durable: the first
// thread on the way commits before it hands on, in both directions, as a coordinator does.
client::Result<std::vector<double>> BareCalls(std::uint64_t calls, bool durable);

// Commits a second of one row each, one by one.
client::Result<double> BareCommits(std::uint64_t count);

}  // namespace haul::cli
