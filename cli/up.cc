// `haul up`: a whole cluster on this machine, in the foreground.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/foreground.h"
#include "cli/format.h"
#include "cli/globals.h"
#include "cli/local_cluster.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

// Until all workers have joined, for some seconds; false when one has ended instead, or a signal
// came.
bool WaitUntilJoined(Foreground& foreground, LocalCluster& cluster, std::size_t workers) {
  client::ConnectOptions options;
  options.coordinator = cluster.address();
  options.token_file = cluster.data_dir() + "/token";
  const auto client = Client::Connect(options);
  if (!client.ok()) return Fail(client.status()) == kExitSuccess;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < deadline) {
    const auto info = (*client)->Info();
    if (info.ok() && info->workers_connected >= workers) return true;
    constexpr int kPauseMs = 3;
    if (foreground.Wait(cluster.descriptors(), kPauseMs).event != Foreground::Event::kTimeout) {
      return false;
    }
  }
  spdlog::warn("not all of the {} workers have joined yet", workers);
  return true;
}

void SayReady(const Globals& globals, const LocalCluster& cluster, bool is_noted) {
  if (globals.json()) {
    PrintJson({{"object", "ready"},
               {"address", cluster.address()},
               {"data_directory", cluster.data_dir()},
               {"pid", getpid()},
               {"workers", cluster.worker_count()},
               {"threads", cluster.threads()}});
  } else {
    std::printf(
        "haul is up: %s, workers: %zu with %u threads each; Ctrl-C ends it\n"
        "Other shells of yours find it by%s: export HAUL_DATA_DIR=%s\n",
        cluster.address().c_str(), cluster.worker_count(), cluster.threads(),
        is_noted ? " themselves, or by" : "", cluster.data_dir().c_str());
  }
  std::fflush(stdout);
}

// Until a signal comes or the coordinator has ended.
void Serve(Foreground& foreground, LocalCluster& cluster) {
  while (true) {
    const Foreground::Woken woken = foreground.Wait(cluster.descriptors());
    if (woken.event == Foreground::Event::kSignal) return;
    if (cluster.coordinator_ended(woken.descriptor)) return;
    const int status = cluster.TakeEndedWorker(woken.descriptor);
    spdlog::warn("a worker has ended with status {}; {} are left", status, cluster.worker_count());
  }
}

int Up(const Globals& globals, LocalClusterOptions options, bool is_private) {
  if (!globals.config.data_dir.empty()) {
    options.data_dir = std::filesystem::absolute(globals.config.data_dir);
  }
  options.log_level = globals.log_level;
  options.log_format = globals.log_format;
  Foreground foreground;
  const auto cluster = LocalCluster::Start(options);
  if (!cluster.ok()) return Fail(cluster.status());
  const std::string data_dir = (*cluster)->data_dir();
  bool is_noted = false;
  if (!is_private) {
    const absl::Status noted = NoteRunningUp(data_dir, getpid());
    is_noted = noted.ok();
    if (!is_noted) spdlog::warn("{}", std::string(noted.message()));
  }
  const bool joined = WaitUntilJoined(foreground, **cluster, options.workers);
  if (joined) {
    SayReady(globals, **cluster, is_noted);
    Serve(foreground, **cluster);
  }
  ForgetRunningUp(getpid());
  const absl::Status stopped = (*cluster)->Stop();
  if (!stopped.ok()) return Fail(stopped);
  return joined ? kExitSuccess : kExitTaskFailed;
}

}  // namespace

void AddUp(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<LocalClusterOptions>();
  const auto is_private = std::make_shared<bool>(false);
  CLI::App* up = app.add_subcommand(
      "up", "A whole cluster here, in the foreground; without --data-dir it leaves nothing behind");
  up->add_option("--workers", options->workers, "How many workers, 0 to 256 (default 1)")
      ->check(CLI::Range(0, 256));
  up->add_option("--threads", options->threads,
                 "Threads, hence cpus, of each worker (default: what there is, shared)")
      ->check(CLI::Range(1, 1024));
  up->add_option("--functions", options->functions, "A library of functions to serve")
      ->expected(1)
      ->take_all();
  up->add_option("--listen", options->listen, "HOST:PORT (default 127.0.0.1, any port)");
  up->add_flag("--private", *is_private, "Other shells find it by HAUL_DATA_DIR alone");
  up->callback([=, &globals] {
    globals.action = [=, &globals] { return Up(globals, *options, *is_private); };
  });
}

}  // namespace haul::cli
