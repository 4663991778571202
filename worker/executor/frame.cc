#include "worker/executor/frame.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace haul::executor {
namespace {

constexpr std::size_t kLengthBytes = 4;

absl::Status ReadAll(int fd, char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t count = ::recv(fd, data, size, 0);
    if (count == 0) return absl::OutOfRangeError("the stream has ended");
    if (count < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "reading");
    }
    data += count;
    size -= static_cast<std::size_t>(count);
  }
  return absl::OkStatus();
}

// InvalidArgument: over the limit.
absl::StatusOr<std::uint32_t> DecodeLength(const char* bytes) {
  std::uint32_t size = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    size |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  if (size <= kFrameLimit) return size;
  return absl::InvalidArgumentError(
      absl::StrCat("a frame of ", size, " bytes; the limit is ", kFrameLimit));
}

absl::Status ParseMessage(std::string_view bytes, google::protobuf::MessageLite* message) {
  if (message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return absl::OkStatus();
  return absl::InvalidArgumentError("a frame holds no message");
}

}  // namespace

std::string EncodeFrame(const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  HAUL_CHECK(size <= kFrameLimit);
  std::string frame;
  frame.resize(kLengthBytes + size);
  for (std::size_t i = 0; i < kLengthBytes; ++i) frame[i] = static_cast<char>(size >> (8 * i));
  HAUL_CHECK(message.SerializeToArray(frame.data() + kLengthBytes, static_cast<int>(size)));
  return frame;
}

absl::Status WriteFrame(int fd, const google::protobuf::MessageLite& message) {
  const std::string frame = EncodeFrame(message);
  std::size_t written = 0;
  while (written < frame.size()) {
    const ssize_t count = ::send(fd, frame.data() + written, frame.size() - written, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "writing");
    }
    written += static_cast<std::size_t>(count);
  }
  return absl::OkStatus();
}

absl::Status ReadFrame(int fd, google::protobuf::MessageLite* message) {
  std::array<char, kLengthBytes> length{};
  absl::Status status = ReadAll(fd, length.data(), length.size());
  if (!status.ok()) return status;
  const absl::StatusOr<std::uint32_t> size = DecodeLength(length.data());
  if (!size.ok()) return size.status();
  std::string bytes;
  bytes.resize(*size);
  status = ReadAll(fd, bytes.data(), bytes.size());
  if (!status.ok()) return status;
  return ParseMessage(bytes, message);
}

absl::StatusOr<bool> TakeFrame(std::string_view* bytes, google::protobuf::MessageLite* message) {
  if (bytes->size() < kLengthBytes) return false;
  const absl::StatusOr<std::uint32_t> size = DecodeLength(bytes->data());
  if (!size.ok()) return size.status();
  if (bytes->size() - kLengthBytes < *size) return false;
  if (absl::Status parsed = ParseMessage(bytes->substr(kLengthBytes, *size), message); !parsed.ok())
    return parsed;
  bytes->remove_prefix(kLengthBytes + *size);
  return true;
}

}  // namespace haul::executor
