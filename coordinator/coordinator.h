// A whole coordinator: the store, the loop and its thread, the gRPC server. Construction and
// shutdown.
//
// Threads: Start, Wait and the destructor on one thread (the main thread); Stop on any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul {

struct CoordinatorOptions {
  std::string data_dir;
  std::string listen = "127.0.0.1:7070";  // HOST:PORT; port 0 for any free one
  std::int64_t lease_ms = 15'000;         // how long a silent worker keeps what it runs
  bool insecure = false;                  // allow an address other than loopback, unencrypted
  std::uint64_t max_tasks_per_job = 100'000'000;
  // For volatile jobs with their inputs and outcomes; twice that before jobs are ended for it.
  std::uint64_t volatile_bytes = 1ull << 30;
  std::uint64_t output_limit_bytes = 1ull << 30;  // of one large output
};

class Coordinator {
 public:
  // Serves when it returns. Writes `token` (mode 0600, kept over restarts) and `address` into the
  // data directory. INVALID_ARGUMENT for an address that is not loopback without `insecure`;
  // FAILED_PRECONDITION when another coordinator has the directory.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const CoordinatorOptions& options);
  ~Coordinator();  // stops

  const std::string& address() const { return address_; }
  const std::string& token() const { return token_; }

  void Stop();          // any thread, any number of times
  absl::Status Wait();  // until stopped, by Stop, by a client, or by an error, which it then tells

 private:
  class Rooms;
  Coordinator();

  std::string address_;
  std::string token_;
  std::unique_ptr<Rooms> rooms_;
};

}  // namespace haul
