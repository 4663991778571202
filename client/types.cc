// What of the public header needs neither protobuf nor gRPC.
#include <algorithm>
#include <charconv>

#include "common/outcome.h"
#include "haul/client.h"

namespace haul::client {

JobRef JobRef::Parse(std::string_view text) {
  if (text == "last") return Last();
  std::uint64_t id = 0;
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, id);
  if (result.ec == std::errc() && result.ptr == end) return JobId{id};
  return Named(std::string(text));
}

std::string_view Name(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "queued";
    case JobState::kRunning:
      return "running";
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view Name(TaskState state) { return TaskStatusName(static_cast<TaskStatus>(state)); }

std::string_view Name(FailureCause cause) { return CauseName(static_cast<Cause>(cause)); }

std::string_view Name(WorkerState state) {
  switch (state) {
    case WorkerState::kConnected:
      return "connected";
    case WorkerState::kAway:
      return "away";
    case WorkerState::kDraining:
      return "draining";
    case WorkerState::kLeft:
      return "left";
  }
  return "unknown";
}

bool Values::FromParts(std::uint64_t count, std::uint32_t uniform_size,
                       std::vector<std::uint32_t> end_offsets, std::string data, Values* out) {
  if (!end_offsets.empty()) {
    if (uniform_size != 0 || end_offsets.size() != count || end_offsets.back() != data.size() ||
        !std::is_sorted(end_offsets.begin(), end_offsets.end())) {
      return false;
    }
  } else if (uniform_size == 0
                 ? !data.empty()
                 : data.size() % uniform_size != 0 || data.size() / uniform_size != count) {
    return false;
  }
  out->uniform_size_ = uniform_size;
  out->end_offsets_ = std::move(end_offsets);
  out->data_ = std::move(data);
  return true;
}

std::string_view Values::operator[](std::uint64_t i) const {
  const std::string_view data = data_;
  if (end_offsets_.empty()) return data.substr(i * uniform_size_, uniform_size_);
  const std::uint32_t begin = i == 0 ? 0 : end_offsets_[i - 1];
  return data.substr(begin, end_offsets_[i] - begin);
}

}  // namespace haul::client
