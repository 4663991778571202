// What the chaos tests measure of a process. A process that is gone has nothing: 0.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "tests/chaos/processes.h"

namespace haul::chaos {

// A line of /proc/PID/status in KiB, as bytes: VmRSS, VmHWM (the peak).
inline std::uint64_t MemoryBytes(pid_t pid, const std::string& field) {
  const std::string status = ReadFile("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find(field + ":");
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + field.size() + 1, nullptr, 10) * 1024;
}

inline std::size_t OpenFiles(pid_t pid) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
    count += entry.path().empty() ? 0 : 1;
  }
  return count;
}

// Of all files below a directory, which may change meanwhile.
inline std::uint64_t DiskBytes(const std::string& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end; it != end;
       it.increment(error)) {
    std::error_code gone;
    const std::uint64_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

// What is started from now on gives freed memory back at once. A sanitizer keeps 256 MiB of it,
// which is no use to one who measures.
inline void KeepNoFreedMemory() {
  const char* before = std::getenv("ASAN_OPTIONS");
  const std::string options = before == nullptr ? "" : std::string(before) + ":";
  ::setenv("ASAN_OPTIONS", (options + "quarantine_size_mb=1").c_str(), 1);
}

inline void TellBytes(const std::string& what, std::uint64_t bytes) {
  std::cout << "[   FIGURE ] " << what << ": " << static_cast<double>(bytes >> 10) / 1024 << " MiB"
            << std::endl;
}

}  // namespace haul::chaos
