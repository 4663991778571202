// haul_recovery: how long recovery takes. Repeats the faults that the chaos tests make one by one
// and prints medians and 99th percentiles; for docs/reliability.md.
//
//   HAUL_TEST_BIN_DIR=build/release/bin HAUL_TEST_LIB_DIR=build/release/lib
//   build/release/tests/haul_recovery [RUNS]
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "tests/chaos/cluster.h"

namespace haul::chaos {
namespace {

constexpr int kDefaultRuns = 20;
constexpr int kMostRuns = 10'000;
constexpr const char* kLease = "2s";

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Nearest rank; `percent` above 0.
double Percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto rank =
      static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values.at(std::max<std::size_t>(rank, 1) - 1);
}

void Print(const std::string& what, const std::vector<double>& values) {
  std::printf("%-62s %4zu %8.0f %8.0f %8.0f\n", what.c_str(), values.size(), Percentile(values, 50),
              Percentile(values, 99), Percentile(values, 100));
  std::fflush(stdout);
}

void ExpectCleanEnd(Cluster& cluster) {
  for (const std::string& problem : cluster.End()) throw Failure(problem);
}

void MeasureCoordinator(int runs) {
  Cluster cluster;
  cluster.StartCoordinator();
  for (const char* name : {"a", "b"}) cluster.StartWorker({.name = name, .threads = 4});
  const std::string ran = cluster.File("ran");
  constexpr std::size_t kTasks = 8;
  cluster.Submit({"--array", "0-7", "--", "sh", "-c", RecordStart(ran) + "; exec sleep 100000"});
  Await("the tasks run", [&] { return ReadStarts(ran).size() == kTasks; });
  std::vector<double> serves;
  std::vector<double> back;
  for (int i = 0; i < runs; ++i) {
    cluster.EndCoordinator(SIGKILL);
    const auto started = Clock::now();
    cluster.StartCoordinator();
    serves.push_back(MillisecondsSince(started));
    Await("the workers are back", [&] {
      const auto info = cluster.client().Info();
      return info.ok() && info->workers_connected == 2 && !info->adopting;
    });
    back.push_back(MillisecondsSince(started));
  }
  if (ReadStarts(ran).size() != kTasks) throw Failure("a running task was started again");
  ExpectCleanEnd(cluster);
  Print("coordinator killed: its start until it serves", serves);
  Print("coordinator killed: its start until 2 workers are back", back);
}

// Each run: a task runs on the only worker, another worker joins, the first is hurt by `hurt`; how
// long until the task starts on the other. `after` is called with the hurt worker's name.
template <typename Hurt, typename After>
std::vector<double> MeasureWorkers(int runs, const std::string& lease, Hurt hurt, After after) {
  Cluster cluster({.lease = lease});
  cluster.StartCoordinator();
  cluster.StartWorker({.name = "w0"});
  std::vector<double> elsewhere;
  for (int i = 0; i < runs; ++i) {
    const std::string number = std::to_string(i);
    const std::string ran = cluster.File("ran" + number);
    const std::uint64_t job = cluster.Submit(
        {"--", "sh", "-c",
         RecordStart(ran) + "; mkdir '" + ran + ".first' 2>/dev/null && exec sleep 100000; true"});
    Await("the task runs", [&] { return ReadStarts(ran).size() == 1; });
    cluster.StartWorker({.name = "w" + std::to_string(i + 1)});
    const auto hurt_at = Clock::now();
    hurt(cluster, "w" + number);
    Await("the task runs elsewhere", [&] { return ReadStarts(ran).size() == 2; });
    elsewhere.push_back(MillisecondsSince(hurt_at));
    if (cluster.AwaitJob(job).succeeded != 1) throw Failure("the task did not succeed");
    after(cluster, "w" + number);
  }
  ExpectCleanEnd(cluster);
  return elsewhere;
}

void MeasureKilledWorkers(int runs) {
  const auto nothing = [](Cluster&, const std::string&) {};
  Print("worker proper killed until its task runs elsewhere",
        MeasureWorkers(
            runs, "10m",
            [](Cluster& cluster, const std::string& worker) {
              cluster.Signal(cluster.WorkerPid(worker), SIGKILL);
            },
            nothing));
  Print("guardian killed until its worker's task runs elsewhere",
        MeasureWorkers(
            runs, "10m",
            [](Cluster& cluster, const std::string& worker) {
              cluster.Signal(cluster.Guardian(worker).pid(), SIGKILL);
            },
            nothing));
  Print(std::string("both killed at once until the task runs elsewhere, lease ") + kLease,
        MeasureWorkers(
            runs, kLease,
            [](Cluster& cluster, const std::string& worker) {
              const pid_t proper = cluster.WorkerPid(worker);
              const pid_t guardian = cluster.Guardian(worker).pid();
              cluster.Freeze({guardian, proper});
              cluster.Signal(proper, SIGKILL);
              cluster.Signal(guardian, SIGKILL);
            },
            nothing));
}

void MeasureFrozenWorkers(int runs) {
  std::vector<double> back;
  const auto wake = [&back](Cluster& cluster, const std::string& worker) {
    const auto woken = Clock::now();
    for (const pid_t pid : cluster.AllPids(worker)) cluster.Signal(pid, SIGCONT);
    cluster.AwaitWorkerState(worker, client::WorkerState::kConnected);
    back.push_back(MillisecondsSince(woken));
    cluster.Guardian(worker).Signal(SIGTERM);
    cluster.Guardian(worker).Wait();
  };
  Print(std::string("worker frozen until its task runs elsewhere, lease ") + kLease,
        MeasureWorkers(
            runs, kLease,
            [](Cluster& cluster, const std::string& worker) {
              cluster.Freeze(cluster.AllPids(worker));
            },
            wake));
  Print("worker woken after its lease until it is back", back);
}

void MeasureExecutors(int runs) {
  Cluster cluster({.lease = "10m"});
  cluster.StartCoordinator();
  cluster.StartWorker({.name = "a", .functions = {FunctionLibrary("chaos_functions")}});
  std::vector<double> again;
  for (int i = 0; i < runs; ++i) {
    const std::string ran = cluster.File("ran" + std::to_string(i));
    const std::uint64_t job =
        cluster.Submit({"call", "record_start_with_child.v1", ":::", ran + ",true"});
    Await("the task runs", [&] { return ReadStarts(ran).size() == 1; });
    const auto killed = Clock::now();
    cluster.Signal(ReadStarts(ran)[0].pid, SIGKILL);
    Await("the task runs again", [&] { return ReadStarts(ran).size() == 2; });
    again.push_back(MillisecondsSince(killed));
    if (cluster.AwaitJob(job).succeeded != 1) throw Failure("the task did not succeed");
  }
  ExpectCleanEnd(cluster);
  Print("executor killed until its task runs again", again);
}

int Main(int argc, char** argv) {
  int runs = kDefaultRuns;
  if (argc > 1) {
    const char* end = argv[1] + std::strlen(argv[1]);
    const auto [read_to, error] = std::from_chars(argv[1], end, runs);
    if (argc > 2 || error != std::errc() || read_to != end || runs < 1 || runs > kMostRuns) {
      std::fprintf(stderr, "usage: haul_recovery [RUNS]: 1 to %d, default %d\n", kMostRuns,
                   kDefaultRuns);
      return 2;
    }
  }
  std::printf("%-62s %4s %8s %8s %8s\n", "milliseconds", "runs", "p50", "p99", "most");
  MeasureCoordinator(runs);
  MeasureKilledWorkers(runs);
  MeasureExecutors(runs);
  MeasureFrozenWorkers(runs);
  return 0;
}

}  // namespace
}  // namespace haul::chaos

int main(int argc, char** argv) {
  try {
    return haul::chaos::Main(argc, argv);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "haul_recovery: %s\n", failure.what());
    return 1;
  }
}
