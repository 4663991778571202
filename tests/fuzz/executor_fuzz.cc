// An executor's two sides of its socket: the frames that a worker reads, however they are cut, and
// what a pool does with what it is told: every task that it was given ends once or comes back once.
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/mutex.h"
#include "common/utf8.h"
#include "haul/v1/executor.pb.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"
#include "worker/executor/frame.h"
#include "worker/executor/library.h"
#include "worker/executor/outbox.h"
#include "worker/executor/pool.h"
#include "worker/executor/slots.h"

namespace haul::fuzz {
namespace {

// --- frames ---

// The messages of the frames, and whether the stream is at fault in the end.
struct Frames {
  std::vector<std::string> messages;
  bool malformed = false;
  friend bool operator==(const Frames&, const Frames&) = default;
};

// As a worker reads: whatever is there, as it comes.
Frames ReadInParts(const std::string& stream, const std::vector<std::uint32_t>& parts) {
  Frames frames;
  std::string incoming;
  std::size_t taken = 0;
  for (std::size_t part = 0; taken < stream.size() && !frames.malformed; ++part) {
    const std::size_t wanted = part < parts.size() ? parts[part] : stream.size();
    const std::size_t size = std::min<std::size_t>(wanted, stream.size() - taken);
    incoming.append(stream, taken, size);
    taken += size;
    std::string_view rest = incoming;
    while (true) {
      v1::FromExecutor message;
      const absl::StatusOr<bool> is_whole = executor::TakeFrame(&rest, &message);
      frames.malformed = !is_whole.ok();
      if (!is_whole.ok() || !*is_whole) break;
      frames.messages.push_back(message.SerializeAsString());
    }
    incoming.erase(0, incoming.size() - rest.size());
  }
  return frames;
}

// As an executor reads: it waits for the rest.
Frames ReadFromSocket(const std::string& stream) {
  std::array<int, 2> sockets{};
  HAUL_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) == 0);
  HAUL_CHECK(::send(sockets[0], stream.data(), stream.size(), 0) ==
             static_cast<ssize_t>(stream.size()));
  ::shutdown(sockets[0], SHUT_WR);
  Frames frames;
  while (true) {
    v1::FromExecutor message;
    const absl::Status status = executor::ReadFrame(sockets[1], &message);
    frames.malformed = absl::IsInvalidArgument(status);
    if (!status.ok()) break;
    frames.messages.push_back(message.SerializeAsString());
  }
  for (const int socket : sockets) ::close(socket);
  return frames;
}

void CheckFrames(const ExecutorInput& input) {
  std::vector<std::uint32_t> parts(input.parts().begin(), input.parts().end());
  std::erase(parts, 0u);
  const Frames whole = ReadInParts(input.stream(), {});
  HAUL_CHECK(whole == ReadInParts(input.stream(), parts));
  HAUL_CHECK(whole == ReadFromSocket(input.stream()));
  for (const std::string& bytes : whole.messages) {
    v1::FromExecutor message;
    HAUL_CHECK(message.ParseFromString(bytes));
    const std::string frame = executor::EncodeFrame(message);
    std::string_view rest = frame;
    v1::FromExecutor again;
    const absl::StatusOr<bool> is_whole = executor::TakeFrame(&rest, &again);
    HAUL_CHECK(is_whole.ok() && *is_whole && rest.empty());
    HAUL_CHECK(again.SerializeAsString() == bytes);
  }
}

// --- the pool ---

std::int32_t Echo(const void*, const haul_call* call) {
  call->host->append_result(call->task, call->arguments, call->argument_bytes);
  return 0;
}
std::int32_t Fail(const void*, const haul_call* call) {
  call->host->set_error(call->task, "\xff no", 4);
  return 1;
}

std::unique_ptr<executor::FunctionTable> MakeTable() {
  static constexpr std::array<haul_function, 3> kFunctions = {
      haul_function{"echo", "str(str)", nullptr, &Echo},
      haul_function{"index", "void(u8)", nullptr, &Echo},
      haul_function{"fail", "void()", nullptr, &Fail}};
  const haul_library library{HAUL_INTERFACE_VERSION, sizeof(haul_function), kFunctions.size(),
                             kFunctions.data()};
  auto table = std::make_unique<executor::FunctionTable>();
  HAUL_CHECK(table->Add(&library, "fuzz").ok());
  return table;
}

executor::Slots MakeSlots() {
  const absl::StatusOr<int> fd = executor::Slots::MakeFile();
  HAUL_CHECK(fd.ok());
  absl::StatusOr<executor::Slots> slots = executor::Slots::Map(*fd);
  ::close(*fd);
  HAUL_CHECK(slots.ok());
  return *std::move(slots);
}

// How many tasks of each assignment ended or came back.
class Answers {
 public:
  void Take(const v1::FromExecutor& frame) {
    MutexLock lock(&mutex_);
    for (const v1::ExecutorOutcomes& group : frame.outcomes()) {
      for (const v1::Outcome& outcome : group.outcomes()) {
        HAUL_CHECK(outcome.count() > 0 && IsUtf8(outcome.message()));
        counts_[group.assignment_id()] += outcome.count();
      }
    }
    for (const v1::Reclaimed& reclaimed : frame.reclaimed()) {
      counts_[reclaimed.assignment_id()] += reclaimed.count();
    }
  }
  std::uint64_t Of(std::uint64_t assignment) {
    MutexLock lock(&mutex_);
    return counts_[assignment];
  }

 private:
  Mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> counts_ ABSL_GUARDED_BY(mutex_);
};

void Tell(executor::Pool& pool, const v1::ToExecutor& message) {
  for (const v1::Run& run : message.runs()) pool.Run(run);
  for (const v1::Reclaim& reclaim : message.reclaims()) {
    pool.Reclaim(AssignmentId(reclaim.assignment_id()), reclaim.count());
  }
  for (const v1::StopTasks& stop : message.stops()) {
    const AssignmentId assignment(stop.assignment_id());
    if (stop.count() > 0) {
      pool.StopSome(
          assignment, {stop.first(), stop.count()},
          stop.timed_out() ? executor::StopReason::kTimedOut : executor::StopReason::kCancelled);
    } else {
      pool.StopTasks(assignment);
    }
  }
  for (const v1::ChildAnswer& answer : message.answers()) pool.calls().OnAnswer(answer);
  for (const v1::TaskRef& task : message.resumed()) {
    pool.calls().OnResumed(AssignmentId(task.assignment_id()), task.task());
  }
}

void CheckPool(const ExecutorInput& input) {
  static const std::unique_ptr<executor::FunctionTable> table = MakeTable();
  static executor::Slots slots = MakeSlots();
  Answers answers;
  executor::Outbox outbox([&](const v1::FromExecutor& frame) { answers.Take(frame); });
  std::map<std::uint64_t, std::uint64_t> given;
  {
    executor::Pool pool({.threads = 1, .thread_limit = 3}, table.get(), &slots, &outbox);
    for (const v1::ToExecutor& message : input.told()) {
      for (const v1::Run& run : message.runs()) given[run.assignment_id()] += run.count();
      Tell(pool, message);
      pool.Tick();
    }
    // Some of it may have more tasks than anyone could run.
    for (const auto& [assignment, count] : given) pool.StopTasks(AssignmentId(assignment));
    while (!pool.IsIdle()) ::sched_yield();
    outbox.WaitUntilWritten();
  }
  for (const auto& [assignment, count] : given) HAUL_CHECK(answers.Of(assignment) == count);
}

void Run(ExecutorInput input) {
  CheckFrames(input);
  if (input.told_size() > 0) CheckPool(input);
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::ExecutorInput, haul::fuzz::Run)
