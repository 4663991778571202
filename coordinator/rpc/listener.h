// Accepts connections and hands them to the gRPC server. gRPC's own listener stops for good when
// the process has no descriptor left for a connection; this one turns away what it has none for,
// and keeps some for the database and for files.
//
// A thread of its own accepts. Open and the destructor: any one thread.
#pragma once

#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace haul::coordinator {

class Listener {
 public:
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  // Listens on every address that HOST stands for in "HOST:PORT"; port 0: any, the same for all.
  // Raises the process's limit of open files to what it may have.
  // Unavailable: there is none that it can listen on.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int port() const { return port_; }
  // From now on connections come to `acceptor`, whose server has started.
  void Start(std::unique_ptr<Acceptor> acceptor);

 private:
  Listener() = default;

  void Run();
  // False: there was no descriptor for it.
  bool AcceptAll(int listening_fd);

  std::vector<int> fds_;
  int port_ = 0;
  int stop_fd_ = -1;
  std::unique_ptr<Acceptor> acceptor_;
  std::thread thread_;
};

}  // namespace haul::coordinator
