// A cluster of the real programs, for tests that hurt it: `haul coordinator start` and `haul worker
// start` from HAUL_TEST_BIN_DIR, in a directory of the cluster's own, on a loopback address of its
// own with a port that the system chose.
//
// Everything that the cluster starts, and whatever that starts in turn, has the variable marker()
// in its environment: that is how processes are found that nobody should have left behind, and no
// process without it is ever signalled.
//
// Use it from one thread, which must live as long as it. Throws Failure where something does not
// happen that must.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "haul/client.h"
#include "tests/chaos/processes.h"

namespace haul::chaos {

using Json = nlohmann::json;

struct ClusterOptions {
  std::string lease = "15s";
  // Where the coordinator listens; empty: an address of 127.0.0.0/8 of its own. Of its own, because
  // a port that is free while the coordinator is dead must be free for it alone: on 127.0.0.1 a
  // worker that tries to reconnect could be given just that port for its own end.
  std::string host;
  std::vector<std::string> coordinator_arguments;  // further ones
};

struct WorkerOptions {
  std::string name;
  int threads = 1;
  int processes = 1;
  std::vector<std::string> functions;    // files of libraries
  std::string coordinator;               // empty: the cluster's; otherwise a proxy's, say
  std::vector<std::string> prefix;       // what runs `haul worker start`: nsenter, prlimit …
  std::vector<std::string> arguments;    // further ones of `haul worker start`
  std::vector<std::string> environment;  // further "NAME=value"
};

struct CommandResult {
  int exit_status = 0;  // 128 and the signal where one ended it
  std::string output;
  std::string error;
};

// A task's own word that it started: what RecordStart() writes.
struct TaskStart {
  std::uint64_t job = 0;
  std::uint64_t task = 0;
  std::uint32_t attempt = 0;
  std::uint64_t fencing_token = 0;
  pid_t pid = 0;
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});
  // Ends all, as End(), and removes the directory.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  const std::string& directory() const { return directory_; }
  std::string File(const std::string& name) const { return directory_ + "/" + name; }
  const std::string& marker() const { return marker_; }

  // ---- the coordinator ----

  // Returns when it serves. Said again after its end, the same data directory and address serve
  // again.
  void StartCoordinator();
  // The same without waiting; AwaitServing() then waits.
  void LaunchCoordinator();
  void AwaitServing();
  // Sends it `signal` and waits for its end; gives its wait status.
  int EndCoordinator(int signal = SIGKILL);
  pid_t coordinator_pid() const;
  const std::string& address() const { return address_; }  // once it has served
  std::string data_dir() const { return File("data"); }

  // ---- workers ----

  // Returns when the coordinator knows it as connected.
  void StartWorker(const WorkerOptions& options);
  // The same without waiting.
  void LaunchWorker(const WorkerOptions& options);
  // Its guardian, which is the process that was started (through `prefix` too, if that execs).
  Program& Guardian(const std::string& worker);
  pid_t WorkerPid(const std::string& worker);  // the worker proper
  std::vector<pid_t> ExecutorPids(const std::string& worker);
  // The worker proper's other children: the processes of commands.
  std::vector<pid_t> CommandPids(const std::string& worker);
  // The guardian and all below it, as long as that hangs together, the topmost first.
  std::vector<pid_t> AllPids(const std::string& worker);
  // How the coordinator sees it; absent: it does not know one of that name, or does not answer.
  std::optional<client::WorkerState> WorkerState(const std::string& worker);
  void AwaitWorkerState(const std::string& worker, client::WorkerState state);

  // Signals a process of this cluster; throws Failure for any other. False: it has ended.
  bool Signal(pid_t pid, int signal);
  // Stops all of `pids`, and sees them stopped.
  void Freeze(const std::vector<pid_t>& pids);

  // ---- clients ----

  // Runs `haul ARGUMENTS…` to its end, with HAUL_DATA_DIR set to the cluster's.
  CommandResult Haul(const std::vector<std::string>& arguments);
  // Likewise another program.
  CommandResult Run(const std::string& path, const std::vector<std::string>& arguments);
  // The objects that `haul --output json ARGUMENTS…` prints; its status must be 0.
  std::vector<Json> HaulJson(const std::vector<std::string>& arguments);
  // `haul submit ARGUMENTS…`, or `haul call --submit …` where the first argument is "call"; the
  // job.
  std::uint64_t Submit(const std::vector<std::string>& arguments);
  // Until the job has ended; throws Failure when that takes too long.
  client::JobStatus AwaitJob(std::uint64_t job);
  // How every task of it ended, in their order; the job has ended.
  std::vector<client::Outcome> Outcomes(std::uint64_t job);
  // For questions that are cheaper asked from here; connects again after a restart by itself.
  // Throws Failure while nobody answers.
  Client& client();
  // Whether the coordinator answers a fresh connection.
  bool Serves();

  // The program `haul`, and the environment that the cluster's processes get.
  const std::string& haul() const { return haul_; }
  std::vector<std::string> Environment(const std::vector<std::string>& further = {}) const;

  // ---- the end ----

  // Asks all to end, ends what does not, and tells what was wrong: what had to be killed, what was
  // left behind, a coordinator that did not end cleanly, what sanitizers and failed checks wrote.
  // Empty: all was well. What it found is gone afterwards.
  std::vector<std::string> End();
  // The ends of the logs, for people.
  std::string Logs() const;

 private:
  std::string LogOf(const std::string& who) const { return File(who + ".log"); }
  void EndWorkers(std::vector<std::string>& problems);
  void EndCoordinatorCleanly(std::vector<std::string>& problems);
  void EndLeftBehind(std::vector<std::string>& problems);
  void ReadLogs(std::vector<std::string>& problems) const;
  void ReapStrays();

  const ClusterOptions options_;
  std::string haul_;
  std::string directory_;
  std::string marker_;
  std::string address_;
  std::unique_ptr<Program> coordinator_;
  std::map<std::string, std::unique_ptr<Program>> guardians_;
  std::unique_ptr<Client> client_;
  int calls_ = 0;
};

// The shell command by which a task appends its start to `file`.
std::string RecordStart(const std::string& file);
std::vector<TaskStart> ReadStarts(const std::string& file);
// Tasks that started more than once, each as "job 1 task 2"; empty: none did.
std::vector<std::string> StartedAgain(const std::vector<TaskStart>& starts);
// The numbers that `file` holds, one a line: pids, say.
std::vector<pid_t> ReadNumbers(const std::string& file);
// A command whose processes are hard to get rid of: all ignore SIGTERM, one has a session of its
// own, two have lost their parent, and one its environment too. It appends kStubbornProcesses pids
// to `file`, its own first, and then sleeps.
std::vector<std::string> StubbornCommand(const std::string& file);
inline constexpr std::size_t kStubbornProcesses = 5;

// A built library of functions.
std::string FunctionLibrary(const std::string& name);

// Whether HAUL_TEST_LONG=1 asks for the long tests.
bool LongTests();

}  // namespace haul::chaos
