// The worker proper: `haul worker run`, which a guardian starts. One call, on the process's first
// thread; that thread becomes the loop's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace haul::worker {

// Most threads of an executor.
constexpr std::uint32_t kMostExecutorThreads = 1024;

struct WorkerOptions {
  std::string coordinator;  // HOST:PORT
  std::string token;
  std::string name;             // empty: HOST-PID
  std::uint32_t processes = 1;  // executors, where functions are served
  // Of each, hence cpus: at most kMostExecutorThreads where functions are served. 0:
  // DefaultThreads().
  std::uint32_t threads = 0;
  std::vector<std::string> libraries;  // of functions
  std::string directory;               // of this worker alone; made where it does not exist
  std::string executor_program;        // the path of haul-executor
  std::string incarnation;  // empty: HAUL_INCARNATION, as the guardian gives it, or a new one
  // Most of one command; then all of them are killed. 0: DefaultTaskProcesses().
  std::uint32_t task_processes = 0;
  std::uint64_t output_limit_bytes = std::uint64_t{1} << 30;  // of one command
  std::uint64_t drain_deadline_ms = 0;  // after a signal to drain it stops; 0: none
  std::int64_t stop_grace_ms = 5000;    // of commands and functions that are asked to stop
};

// Until the worker has left. SIGTERM and SIGINT let it drain, a second one stops it. The exit
// status of the process: 0 it left; 1 it could not start, or its guardian died; 2 a library could
// not be loaded; 4 the coordinator refused it. Why is logged.
int RunWorker(const WorkerOptions& options);

// The cpus that affinity and the cgroup's quota (v1 or v2) leave to this process, rounded up; at
// least 1. Where it serves functions, what its executors can have of these.
std::uint32_t DefaultThreads(bool serves_functions);

// 4096, or half of what the user or the cgroup may have where that is less: so a command that forks
// without end reaches its limit before nobody can start a process any more.
std::uint32_t DefaultTaskProcesses();

// For tests: the quota that a cgroup's files give in cpus, rounded up; 0: none. `cpu_max` as cgroup
// v2 has it ("200000 100000"), or a quota and a period of v1.
std::uint32_t CpusOfCpuMax(const std::string& cpu_max);
std::uint32_t CpusOfQuota(std::int64_t quota_us, std::int64_t period_us);

}  // namespace haul::worker
