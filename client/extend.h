// What an open job gets, over as many connections as it takes. Included by this room's .cc files
// alone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "client/call_queue.h"
#include "client/impl.h"
#include "common/packed_bytes.h"

namespace haul::client {

// Where the tasks of an open job come from. Called by any thread, one at a time.
class TaskFeed {
 public:
  virtual ~TaskFeed() = default;
  // Moves what there is to the end of `inputs`, some hundred KiB at a time. Whether that was the
  // last there will be.
  virtual bool Take(std::vector<std::string>* inputs) = 0;
  // So many tasks are durable.
  virtual void OnDurable(std::uint64_t task_count) = 0;
};

// One at a time for a job, from its submit on: a job of which nothing is heard for a minute is
// closed.
class Extender {
 public:
  // What is named outlives it.
  Extender(const Client::Impl& client, CallQueue& calls, JobId job, TaskFeed& feed,
           std::stop_token stop);

  // Until the last task is durable. kFailed: somebody closed or cancelled the job. kStopped: it
  // stays open.
  Status Run();
  // There is something to take, or that was all. Any thread: where the stream is free, this very
  // one sends it.
  void Poke();

 private:
  using Stream = grpc::ClientAsyncReaderWriter<v1::ExtendRequest, v1::ExtendReply>;
  struct Batch {
    std::uint64_t first = 0;
    PackedBytes values;
    bool close = false;
  };

  // One connection, to its end.
  grpc::Status RunConnection();
  bool finished() const;
  // The caller holds the mutex in what follows.
  void Pump();
  std::optional<Batch> NextBatch();
  void Write(const v1::ExtendRequest& request);
  void ReadNext();
  void OnStarted(bool ok);
  void OnWritten(bool ok);
  void OnRead(bool ok);
  void TakeAnswer();
  void EndStream();

  const Client::Impl& client_;
  CallQueue& calls_;
  const JobId job_;
  TaskFeed& feed_;
  const std::stop_token stop_;
  std::atomic<int> pokes_ = 0;  // since whoever pumps began; 0: nobody does

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Of the job.
  std::uint64_t sent_ = 0;
  bool last_said_ = false;
  std::deque<Batch> unanswered_;  // was sent, and perhaps did not arrive
  std::size_t unanswered_bytes_ = 0;
  // Of the connection.
  std::unique_ptr<Stream> stream_;
  v1::ExtendReply reply_;
  bool agreed_ = false;     // it is known how many tasks the job has
  std::size_t resent_ = 0;  // of `unanswered_`: these are on this connection
  bool writing_ = false;
  bool writes_done_ = false;
  bool over_ = false;
  bool heard_ = false;     // since its beginning
  bool was_busy_ = false;  // something was written since the last look
  int in_flight_ = 0;      // operations
  CallTag started_{[this](bool ok) { OnStarted(ok); }};
  CallTag written_{[this](bool ok) { OnWritten(ok); }};
  CallTag read_{[this](bool ok) { OnRead(ok); }};
};

}  // namespace haul::client
