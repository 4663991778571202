// Frames between a worker and its executor: a little-endian fixed32 length, then that many bytes of
// a message. The blocking side is the executor's; the worker takes frames off what has come. Any
// thread, one at a time for each direction of a descriptor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"

namespace haul::executor {

constexpr std::uint32_t kFrameLimit = 64u << 20;

// The frame of a message, which must not be larger than kFrameLimit.
std::string EncodeFrame(const google::protobuf::MessageLite& message);

// Fails if the other side has closed.
absl::Status WriteFrame(int fd, const google::protobuf::MessageLite& message);
// OUT_OF_RANGE at the end of the stream; INVALID_ARGUMENT for what is no frame.
absl::Status ReadFrame(int fd, google::protobuf::MessageLite* message);

// Takes the first frame off `bytes` and parses it; false where not all of it is there yet.
// INVALID_ARGUMENT for what is no frame.
absl::StatusOr<bool> TakeFrame(std::string_view* bytes, google::protobuf::MessageLite* message);

}  // namespace haul::executor
