// What commands write: read from their pipes into their captures, up to the limit, until they end.
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/time.h"
#include "worker/exec/command/command_runner.h"

namespace haul::exec {
namespace {

// Of one stream in one turn, so that a task that writes much does not keep the others waiting.
constexpr std::size_t kMostBytesPerTurn = std::size_t{1} << 20;
// What ends sooner is read once, at its end: its pipes need no watching, which would be half of all
// that is done for it. What writes more than a pipe holds waits as long, once.
constexpr std::int64_t kUnwatchedUs = 5'000;

}  // namespace

void CommandRunner::WatchLater(Command* command) {
  unwatched_.push_back({command->key, command->started.monotonic_us + kUnwatchedUs});
  ScheduleWatching();
}

void CommandRunner::ScheduleWatching() {
  if (watch_timer_.number != 0) return;
  while (!unwatched_.empty() && !commands_.contains(unwatched_.front().key)) unwatched_.pop_front();
  if (unwatched_.empty()) return;
  watch_timer_ = reactor_.AddTimer(unwatched_.front().due_us, [this] {
    watch_timer_ = {};
    WatchStreams();
    ScheduleWatching();
  });
}

void CommandRunner::WatchStreams() {
  const std::int64_t now_us = ReadClocks().monotonic_us;
  for (; !unwatched_.empty() && unwatched_.front().due_us <= now_us; unwatched_.pop_front()) {
    const auto it = commands_.find(unwatched_.front().key);
    if (it == commands_.end()) continue;
    Command* command = it->second.get();
    command->streams_watched = true;
    for (const Stream stream : {Stream::kOutput, Stream::kError}) {
      const bool watched = reactor_.Watch(
          command->fds[stream], EPOLLIN,
          [this, command, stream](std::uint32_t) { ReadSome(command, stream, kMostBytesPerTurn); });
      HAUL_CHECK(watched);
    }
  }
}

void CommandRunner::ReadSome(Command* command, Stream stream, std::size_t most_bytes) {
  while (most_bytes > 0) {
    const ssize_t n =
        ::read(command->fds[stream], read_buffer_.data(), std::min(most_bytes, kReadBytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return CloseStream(command, stream);
    const auto size = static_cast<std::size_t>(n);
    most_bytes -= size;
    if (command->discards_output) continue;  // read all the same, so that it can end
    if (const int error = command->captures[stream].Append({read_buffer_.data(), size})) {
      DiscardOutputs(command, error,
                     std::string("the worker cannot keep the output: ") + std::strerror(error));
    } else if (command->captures[Stream::kOutput].byte_count() +
                   command->captures[Stream::kError].byte_count() >
               options_.output_limit_bytes) {
      DiscardOutputs(command, 0,
                     "the output was over the limit of " +
                         std::to_string(options_.output_limit_bytes) + " bytes and is discarded");
    }
    if (size < kReadBytes) return;  // that was all there is; if not, epoll says so
  }
}

void CommandRunner::CloseStream(Command* command, Stream stream) {
  const int fd = std::exchange(command->fds[stream], -1);
  if (fd < 0) return;
  if (command->streams_watched) reactor_.Unwatch(fd);
  ::close(fd);
}

// Reads what the pipes hold now, and no more: a leftover may hold them open, or go on writing.
void CommandRunner::FinishStreams(Command* command) {
  for (const Stream stream : {Stream::kOutput, Stream::kError}) {
    if (command->fds[stream] < 0) continue;
    int left = 0;
    ::ioctl(command->fds[stream], FIONREAD, &left);
    while (left > 0 && command->fds[stream] >= 0) {
      const int most = std::min(left, static_cast<int>(kReadBytes));
      ReadSome(command, stream, static_cast<std::size_t>(most));
      left -= most;
    }
    CloseStream(command, stream);
  }
  for (executor::OutputCapture& capture : command->captures) {
    if (const int error = capture.Finish()) {
      DiscardOutputs(command, error,
                     std::string("the worker cannot keep the output: ") + std::strerror(error));
    }
  }
}

// Nothing of it is kept: a part could be taken for the whole.
void CommandRunner::DiscardOutputs(Command* command, std::int32_t code,
                                   const std::string& message) {
  command->discards_output = true;
  for (executor::OutputCapture& capture : command->captures) capture.Discard();
  if (command->stop) {
    command->stop->message += "; " + message;
  } else {
    RequestStop(command, Cause::kOutputLimit, code, message);
  }
}

}  // namespace haul::exec
