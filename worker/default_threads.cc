#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "worker/worker.h"

namespace haul::worker {
namespace {

// How far up the cgroup tree to look: a limit binds wherever it stands.
constexpr int kDepthLimit = 64;

constexpr std::uint32_t kDefaultTaskProcesses = 4096;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::int64_t NumberIn(const std::string& path) {
  std::int64_t number = 0;
  std::istringstream(FirstLine(path)) >> number;
  return number;
}

// The tightest limit from `group` up to the root of its hierarchy; 0: none.
template <typename LimitOf>
std::uint32_t TightestLimit(std::string group, LimitOf limit_of) {
  std::uint32_t tightest = 0;
  for (int depth = 0; depth < kDepthLimit; ++depth) {
    const std::uint32_t limit = limit_of(group);
    if (limit > 0) tightest = tightest == 0 ? limit : std::min(tightest, limit);
    if (group.empty() || group == "/") break;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  return tightest;
}

// The tightest limit of a controller's in either version of cgroups, of which a group's directory
// gives one; 0: none.
template <typename LimitOfV2, typename LimitOfV1>
std::uint32_t CgroupLimit(const std::string& controller, LimitOfV2 limit_of_v2,
                          LimitOfV1 limit_of_v1) {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  std::uint32_t tightest = 0;
  while (std::getline(groups, line)) {  // ID:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    std::uint32_t limit = 0;
    if (controllers == ",,") {
      limit = TightestLimit(
          path, [&](const std::string& group) { return limit_of_v2("/sys/fs/cgroup" + group); });
    } else if (controllers.find("," + controller + ",") != std::string::npos) {
      limit = TightestLimit(path, [&](const std::string& group) {
        return limit_of_v1(std::string("/sys/fs/cgroup/").append(controller).append(group));
      });
    }
    if (limit > 0) tightest = tightest == 0 ? limit : std::min(tightest, limit);
  }
  return tightest;
}

std::uint32_t CgroupCpus() {
  return CgroupLimit(
      "cpu",
      [](const std::string& directory) { return CpusOfCpuMax(FirstLine(directory + "/cpu.max")); },
      [](const std::string& directory) {
        return CpusOfQuota(NumberIn(directory + "/cpu.cfs_quota_us"),
                           NumberIn(directory + "/cpu.cfs_period_us"));
      });
}

// Of this process's cgroup; 0: none.
std::uint32_t CgroupProcesses() {
  const auto limit_of = [](const std::string& directory) {
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(NumberIn(directory + "/pids.max"), 0, 1 << 30));  // "max" is 0
  };
  return CgroupLimit("pids", limit_of, limit_of);
}

std::uint32_t AffinityCpus() {
  // Larger sets exist than cpu_set_t holds; the kernel then says EINVAL.
  for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cpus));
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    const int result = sched_getaffinity(0, size, set);
    const int count = result == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (result == 0) return static_cast<std::uint32_t>(std::max(count, 1));
  }
  return 1;
}

}  // namespace

std::uint32_t CpusOfQuota(std::int64_t quota_us, std::int64_t period_us) {
  if (quota_us <= 0 || period_us <= 0) return 0;
  return static_cast<std::uint32_t>(
      std::min<std::int64_t>((quota_us - 1) / period_us + 1, 1 << 20));
}

std::uint32_t CpusOfCpuMax(const std::string& cpu_max) {
  std::istringstream words(cpu_max);
  std::int64_t quota_us = 0;
  std::int64_t period_us = 0;
  if (!(words >> quota_us >> period_us)) return 0;  // "max 100000"
  return CpusOfQuota(quota_us, period_us);
}

std::uint32_t DefaultTaskProcesses() {
  std::uint32_t most = 2 * kDefaultTaskProcesses;
  if (const std::uint32_t of_group = CgroupProcesses(); of_group > 0) {
    most = std::min(most, of_group);
  }
  rlimit of_user{};
  if (::getrlimit(RLIMIT_NPROC, &of_user) == 0 && of_user.rlim_cur != RLIM_INFINITY) {
    most = static_cast<std::uint32_t>(std::min<rlim_t>(most, of_user.rlim_cur));
  }
  return std::max<std::uint32_t>(most / 2, 1);
}

std::uint32_t DefaultThreads(bool serves_functions) {
  const std::uint32_t affinity = AffinityCpus();
  const std::uint32_t quota = CgroupCpus();
  const std::uint32_t cpus = quota == 0 ? affinity : std::min(affinity, quota);
  return serves_functions ? std::min(cpus, kMostExecutorThreads) : cpus;
}

}  // namespace haul::worker
