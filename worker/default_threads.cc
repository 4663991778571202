#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "worker/worker.h"

namespace haul::worker {
namespace {

// How far up the cgroup tree to look: a limit binds wherever it stands.
constexpr int kDepthLimit = 64;

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

std::uint32_t CgroupCpus() {
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
      limit = TightestLimit(path, [](const std::string& group) {
        return CpusOfCpuMax(FirstLine("/sys/fs/cgroup" + group + "/cpu.max"));
      });
    } else if (controllers.find(",cpu,") != std::string::npos) {
      limit = TightestLimit(path, [](const std::string& group) {
        const std::string directory = "/sys/fs/cgroup/cpu" + group;
        return CpusOfQuota(NumberIn(directory + "/cpu.cfs_quota_us"),
                           NumberIn(directory + "/cpu.cfs_period_us"));
      });
    }
    if (limit > 0) tightest = tightest == 0 ? limit : std::min(tightest, limit);
  }
  return tightest;
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

std::uint32_t DefaultThreads() {
  const std::uint32_t affinity = AffinityCpus();
  const std::uint32_t quota = CgroupCpus();
  return quota == 0 ? affinity : std::min(affinity, quota);
}

}  // namespace haul::worker
