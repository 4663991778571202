// What the worker's loop needs of its coordinator: a session that connects, and connects again, by
// itself.
//
// Everything is called on the loop thread, the listener's methods from within the reactor's turn
// and never from within a method of the port. The listener outlives the port's last call of it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "haul/v1/session.pb.h"

namespace haul::worker {

// A large output on its way.
struct UploadJob {
  std::uint64_t id = 0;  // of the loop's choice, never used twice
  std::uint64_t job_id = 0;
  std::uint64_t assignment_id = 0;
  std::uint64_t task = 0;
  bool error_output = false;
  std::uint64_t total_bytes = 0;
  std::string path;  // of the file that holds it; it stays until the upload is over
};

class SessionListener {
 public:
  virtual ~SessionListener() = default;
  // A stream begins: what this worker is and holds now. What changes after this call is said after
  // Welcome.
  virtual void OnConnecting(v1::Hello* hello) = 0;
  // In order; the first of a stream holds Welcome.
  virtual void OnMessage(v1::CoordinatorMessage message) = 0;
  virtual void OnDisconnected() = 0;
  // After Writable() was false.
  virtual void OnWritable() = 0;
  // The reference of the file with the coordinator. An error: it is refused for good. A lost
  // connection is neither: the upload starts again when there is one.
  virtual void OnUploaded(std::uint64_t id, absl::StatusOr<std::string> file) = 0;
  // The coordinator does not want this worker: there will be no connection any more.
  virtual void OnRefused(absl::Status status) = 0;
  // After Close().
  virtual void OnClosed() = 0;
};

class SessionPort {
 public:
  virtual ~SessionPort() = default;
  virtual void Start(SessionListener* listener) = 0;
  // Whether Send may be called: the stream is welcome and no message waits behind the one being
  // written.
  virtual bool Writable() = 0;
  virtual void Send(v1::WorkerMessage message) = 0;
  // Any number; a few are under way at once.
  virtual void Upload(UploadJob job) = 0;
  // Of one that is over: no effect. OnUploaded is not called any more.
  virtual void CancelUpload(std::uint64_t id) = 0;
  // Delivers what was sent, and ends. At once where there is no connection.
  virtual void Close() = 0;
};

}  // namespace haul::worker
