// How tasks end. The C++ twin of haul.v1.Outcome for the rooms that know no protobuf; the field
// comments stand there (proto/haul/v1/common.proto).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/ids.h"
#include "common/packed_bytes.h"

namespace haul {

// The numbers are those of the wire and of the store.
enum class TaskStatus : std::uint8_t {
  kSucceeded = 1,
  kFailed = 2,
  kCancelled = 3,
  kLost = 4,
  kCrashed = 5,  // not final; see the .proto
};

enum class Cause : std::uint8_t {
  kNone = 0,
  kExitCode = 1,
  kSignal = 2,
  kTimeout = 3,
  kMemoryLimit = 4,
  kOutputLimit = 5,
  kWorkerLost = 6,
  kCancelled = 7,
  kFunctionError = 8,
  kStartFailed = 9,
  kExecutorExit = 10,
  kProcessLimit = 11,
};

std::string_view TaskStatusName(TaskStatus status);  // "succeeded", …
std::string_view CauseName(Cause cause);             // "exit_code", …; "" for kNone

// Consecutive tasks of one job that ended alike.
struct Outcome {
  TaskRange tasks;
  TaskStatus status = TaskStatus::kSucceeded;
  Cause cause = Cause::kNone;
  std::int32_t code = 0;
  std::string message;
  PackedBytes results;  // tasks.count values, or none when every one is empty
  std::string error_output;
  std::string output_file;
  std::uint64_t output_bytes = 0;
  std::string error_file;
  std::uint64_t error_bytes = 0;
  std::int64_t started_unix_us = 0;
  std::int64_t finished_unix_us = 0;
  std::uint64_t busy_ns = 0;
  std::uint32_t pid = 0;
  std::uint64_t user_cpu_us = 0;
  std::uint64_t system_cpu_us = 0;
  std::uint64_t peak_memory_bytes = 0;
  std::uint32_t attempt = 1;
  AssignmentId assignment;
  WorkerId worker;
  bool culprit = false;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Roughly what it takes in memory, for the bounds of queues.
std::size_t ByteCount(const Outcome& outcome);

}  // namespace haul
