#include "cli/bench/cluster.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/format.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Status;

// The first line that the child prints; empty when it ends instead.
std::string ReadLine(int descriptor) {
  std::string line;
  char byte = 0;
  while (true) {
    const ssize_t count = read(descriptor, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count != 1) return "";
    if (byte == '\n') return line;
    line += byte;
  }
}

}  // namespace

client::Result<std::unique_ptr<BenchCluster>> BenchCluster::Start(
    int workers, int threads, const std::vector<std::string>& functions) {
  std::vector<std::string> arguments = {OwnProgram(), "--output",
                                        "json",       "--log-level",
                                        "warn",       "up",
                                        "--workers",  std::to_string(workers),
                                        "--threads",  std::to_string(threads),
                                        "--private"};
  for (const std::string& library : functions) {
    arguments.insert(arguments.end(), {"--functions", library});
  }
  std::unique_ptr<BenchCluster> cluster(new BenchCluster);
  absl::StatusOr<Child> up = StartChild(arguments, /*read_output=*/true);
  if (!up.ok()) return ToClientStatus(up.status());
  cluster->up_ = *up;
  const Json ready = Json::parse(ReadLine(up->output), nullptr, /*allow_exceptions=*/false);
  if (!ready.is_object() || !ready.contains("data_directory")) {
    return Status(ErrorKind::kFailed, "the cluster to measure did not start");
  }
  cluster->address_ = ready["address"].get<std::string>();
  cluster->data_directory_ = ready["data_directory"].get<std::string>();
  client::ConnectOptions options;
  options.coordinator = cluster->address_;
  options.token_file = cluster->token_file();
  auto client = Client::Connect(options);
  if (!client.ok()) return client.status();
  cluster->client_ = *std::move(client);
  return cluster;
}

std::vector<std::string> ExampleFunctions() {
  const std::filesystem::path own = std::filesystem::path(OwnProgram()).parent_path();
  for (const char* place : {"../lib/libexamples.so", "../lib/haul/libexamples.so"}) {
    const std::filesystem::path library = (own / place).lexically_normal();
    std::error_code error;
    if (std::filesystem::exists(library, error)) return {library.string()};
  }
  return {};
}

BenchCluster::~BenchCluster() {
  if (up_.pid <= 0) return;
  client_.reset();
  kill(up_.pid, SIGTERM);
  WaitForChild(up_);
}

}  // namespace haul::cli
