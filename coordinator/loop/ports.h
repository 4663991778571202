// What the loop needs from outside and is given by the wiring: somebody who waits for events, and
// the sessions of workers. All of it is called on the loop thread, except Poller::Wake.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/packed_bytes.h"
#include "coordinator/core/effects.h"

namespace haul::coordinator {

// Waits for what comes from outside and runs its handlers, which call the loop.
class Poller {
 public:
  virtual ~Poller() = default;
  // Returns after at least one handler ran, after a wake, or at the deadline; runs what is there,
  // but not without end.
  virtual void Poll(std::int64_t deadline_monotonic_us) = 0;
  virtual void Wake() = 0;  // any thread
};

// A worker's stream, as the loop sees it. What it is told gathers until Send, and further behind a
// write in flight.
class SessionPort {
 public:
  virtual ~SessionPort() = default;
  virtual void Welcome(const SendWelcome& welcome) = 0;
  // `job_template` is null when the worker has it already; `inputs` is empty for an array.
  virtual void Assign(const SendAssignment& assignment, const std::string* job_template,
                      const PackedBytes& inputs) = 0;
  virtual void Revoke(const SendRevoke& revoke) = 0;
  virtual void Cancel(const SendCancel& cancel) = 0;
  virtual void Durable(std::uint64_t through) = 0;
  virtual void Drain(std::uint64_t deadline_ms) = 0;  // 0: none
  virtual void Stop() = 0;
  virtual void Depart() = 0;
  virtual void Send() = 0;
  // The last call; the port may be gone when it returns.
  virtual void Close(const absl::Status& status) = 0;
};

}  // namespace haul::coordinator
