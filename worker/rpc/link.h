// The wire to the coordinator: one Attach stream at a time and a few uploads, run by a pump thread
// of its own, which polls the gRPC completion queue and hands over whole messages (ADR 0001).
//
// Methods are called on the loop thread; `wake` is called on the pump thread when Take() would give
// something. Bounds: one message of each direction under way, one behind the write, and
// kInwardMessages or kInwardBytes not yet taken (then the next read waits). No gRPC type is in this
// header.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "haul/v1/session.pb.h"
#include "worker/loop/session_port.h"

namespace haul::worker {

class Link {
 public:
  static constexpr std::size_t kInwardMessages = 64;
  static constexpr std::size_t kInwardBytes = 32u << 20;
  static constexpr int kReceiveLimitBytes = 16 << 20;

  struct UploadEnd {
    std::uint64_t id = 0;
    absl::Status status;
    std::string file;
  };
  // What happened since the last Take(), in this order.
  struct News {
    std::vector<v1::CoordinatorMessage> messages;
    bool writable = false;               // after Send was refused
    std::optional<absl::Status> closed;  // the stream is over
    std::vector<UploadEnd> uploads;
  };

  Link(const std::string& address, std::string token, std::function<void()> wake);
  // Ends everything under way and the thread.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Opens a stream whose first message is `hello`. The one before must be over.
  void Open(const v1::WorkerMessage& hello);
  // False while a message waits behind the one being written, or when there is no stream; News then
  // says when it is worth another try.
  bool CanSend();
  void Send(v1::WorkerMessage message);
  // With the message that waits, or alone.
  void SendHeartbeat();
  // Nothing more is sent; the coordinator ends the stream when it has read everything.
  void FinishSending();
  void Cancel();
  // Cancels the stream and the uploads, and leaves their connection for another one: it may be dead
  // without either end having been told, and the next stream would be put on it again.
  void Abandon();

  void StartUpload(const UploadJob& job);
  void CancelUpload(std::uint64_t id);

  News Take();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace haul::worker
