// Frames between a worker and its executor: a little-endian fixed32 length, then that many bytes of
// a message. The blocking side, which is the executor's; the worker's is in worker/exec. Any
// thread, one at a time for each direction of a descriptor.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"

namespace haul::executor {

constexpr std::uint32_t kFrameLimit = 64u << 20;

// The frame of a message, which must not be larger than kFrameLimit.
std::string EncodeFrame(const google::protobuf::MessageLite& message);

// Fails if the other side has closed.
absl::Status WriteFrame(int fd, const google::protobuf::MessageLite& message);
// OUT_OF_RANGE at the end of the stream; INVALID_ARGUMENT for what is no frame.
absl::Status ReadFrame(int fd, google::protobuf::MessageLite* message);

}  // namespace haul::executor
