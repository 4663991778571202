// The floor of functions: a pool behind a socket pair.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cli/bench/floors/floor_database.h"
#include "cli/bench/floors/floors.h"
#include "cli/bench/floors/socket_pair.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Status;
using SteadyClock = std::chrono::steady_clock;

constexpr std::uint64_t kMessageTasks = 1024;
constexpr std::uint64_t kPieceTasks = 64;
constexpr std::size_t kMessagesOnTheWay = 32;

// A queue between two threads; Take waits, and gives nothing once it is closed and empty.
template <typename T>
class Queue {
 public:
  void Put(T value) {
    {
      const std::lock_guard lock(mutex_);
      values_.push_back(std::move(value));
    }
    changed_.notify_one();
  }
  // Everything there is.
  std::deque<T> Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !values_.empty(); });
    return std::exchange(values_, {});
  }
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
  bool closed_ = false;
};

struct Shape {
  std::size_t input_bytes;
  std::size_t result_bytes;
  std::size_t sent_bytes() const { return kMessageTasks * (sizeof(std::uint64_t) + input_bytes); }
  std::size_t back_bytes() const { return kMessageTasks * (sizeof(std::uint64_t) + result_bytes); }
};

// What a task does: its result's bytes are of its input. Called by pointer, as a library's.
using TaskBody = void (*)(const char* input, std::size_t input_bytes, char* result,
                          std::size_t result_bytes);
void Answer(const char* input, std::size_t input_bytes, char* result, std::size_t result_bytes) {
  if (result_bytes > 0) std::memcpy(result, input, std::min(input_bytes, result_bytes));
}
volatile TaskBody task_body = Answer;

// The worker's side: a thread that reads messages, and those that run their tasks.
class Pool {
 public:
  Pool(int descriptor, Shape shape, int threads) : descriptor_(descriptor), shape_(shape) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
    reader_ = std::thread([this] { Read(); });
  }
  ~Pool() {  // after the socket was shut down
    reader_.join();
    for (std::thread& thread : threads_) thread.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  struct Message {
    std::vector<char> in;
    std::vector<char> back;
    std::uint64_t next = 0;  // task to be taken
    std::uint64_t done = 0;
  };

  void Read() {
    while (true) {
      auto message = std::make_shared<Message>();
      message->in.resize(shape_.sent_bytes());
      message->back.resize(shape_.back_bytes());
      const bool is_whole = ReadAll(descriptor_, message->in.data(), message->in.size());
      {
        const std::lock_guard lock(mutex_);
        if (is_whole) {
          messages_.push_back(std::move(message));
        } else {
          closed_ = true;
        }
      }
      changed_.notify_all();
      if (!is_whole) return;
    }
  }

  void Run() {
    const TaskBody body = task_body;
    const std::size_t in_stride = sizeof(std::uint64_t) + shape_.input_bytes;
    const std::size_t back_stride = sizeof(std::uint64_t) + shape_.result_bytes;
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return closed_ || !messages_.empty(); });
      if (messages_.empty()) return;
      const std::shared_ptr<Message> message = messages_.front();
      const std::uint64_t first = message->next;
      message->next += kPieceTasks;
      if (message->next == kMessageTasks) messages_.pop_front();
      lock.unlock();
      for (std::uint64_t task = first; task < first + kPieceTasks; ++task) {
        const char* in = message->in.data() + task * in_stride;
        char* back = message->back.data() + task * back_stride;
        std::memcpy(back, in, sizeof(std::uint64_t));
        body(in + sizeof(std::uint64_t), shape_.input_bytes, back + sizeof(std::uint64_t),
             shape_.result_bytes);
      }
      lock.lock();
      message->done += kPieceTasks;
      if (message->done < kMessageTasks) continue;
      lock.unlock();
      {
        const std::lock_guard writing(write_mutex_);
        WriteAll(descriptor_, message->back.data(), message->back.size());
      }
      lock.lock();
    }
  }

  const int descriptor_;
  const Shape shape_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Message>> messages_;
  bool closed_ = false;
  std::mutex write_mutex_;
  std::vector<std::thread> threads_;
  std::thread reader_;
};

// The coordinator's side: sends messages while fewer than so many are on their way, keeps what
// comes back.
std::uint64_t RunThrough(const SocketPair& sockets, FloorDatabase& database, Shape shape,
                         std::uint64_t messages) {
  Queue<std::string> to_keep;
  Queue<char> room;
  for (std::size_t i = 0; i < kMessagesOnTheWay; ++i) room.Put(0);
  std::thread sender([&] {
    std::vector<char> bytes(shape.sent_bytes());
    std::size_t may_send = 0;
    for (std::uint64_t message = 0; message < messages; ++message) {
      if (may_send == 0) may_send = room.Take().size();
      --may_send;
      for (std::uint64_t task = 0; task < kMessageTasks; ++task) {
        const std::uint64_t id = message * kMessageTasks + task;
        std::memcpy(&bytes[task * (sizeof id + shape.input_bytes)], &id, sizeof id);
      }
      if (!WriteAll(sockets.left(), bytes.data(), bytes.size())) return;
    }
  });
  std::thread receiver([&] {
    for (std::uint64_t message = 0; message < messages; ++message) {
      std::string chunk(shape.back_bytes(), '\0');
      if (!ReadAll(sockets.left(), chunk.data(), chunk.size())) break;
      room.Put(0);
      to_keep.Put(std::move(chunk));
    }
    to_keep.Close();
  });
  std::exception_ptr failure;
  try {
    for (auto chunks = to_keep.Take(); !chunks.empty(); chunks = to_keep.Take()) {
      database.Begin();
      for (const std::string& chunk : chunks) database.Insert(chunk);
      database.Commit();
    }
  } catch (...) {
    failure = std::current_exception();
    sockets.ShutDown();
    for (std::size_t i = 0; i < messages; ++i) room.Put(0);
  }
  sender.join();
  receiver.join();
  if (failure) std::rethrow_exception(failure);
  return shape.result_bytes > 0 ? database.ReadBack() : messages * shape.back_bytes();
}

}  // namespace

client::Result<double> BarePool(std::uint64_t tasks, std::size_t input_bytes,
                                std::size_t result_bytes, int threads) {
  const Shape shape{input_bytes, result_bytes};
  const std::uint64_t messages = (tasks + kMessageTasks - 1) / kMessageTasks;
  const auto start = SteadyClock::now();
  try {
    const SocketPair sockets;
    FloorDatabase database;
    std::uint64_t bytes = 0;
    {
      const Pool pool(sockets.right(), shape, threads);
      bytes = RunThrough(sockets, database, shape, messages);
      sockets.ShutDown();
    }
    if (bytes != messages * shape.back_bytes()) throw FloorError("chunks are missing");
  } catch (const std::exception& error) {
    return Status(ErrorKind::kFailed, std::string("the bare pool: ") + error.what());
  }
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  return static_cast<double>(messages * kMessageTasks) / seconds;
}

}  // namespace haul::cli
