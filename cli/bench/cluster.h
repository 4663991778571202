// A cluster for measuring: `haul up` as a child, with a temporary data directory, as a user would
// start it. Main thread; ended with the object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/child.h"
#include "haul/client.h"

namespace haul::cli {

class BenchCluster {
 public:
  // Ready when it returns; the coordinator and its workers run in processes of their own.
  static client::Result<std::unique_ptr<BenchCluster>> Start(
      int workers, int threads, const std::vector<std::string>& functions);
  ~BenchCluster();
  BenchCluster(const BenchCluster&) = delete;
  BenchCluster& operator=(const BenchCluster&) = delete;

  Client& client() { return *client_; }
  const std::string& address() const { return address_; }
  // Of the coordinator; it ends with the cluster.
  const std::string& data_directory() const { return data_directory_; }
  std::string token_file() const { return data_directory_ + "/token"; }

 private:
  BenchCluster() = default;

  Child up_;
  std::string address_;
  std::string data_directory_;
  std::unique_ptr<Client> client_;
};

// The library that is built and installed with the examples; none where it is missing.
std::vector<std::string> ExampleFunctions();

}  // namespace haul::cli
