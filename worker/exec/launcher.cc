#include "worker/exec/launcher.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "worker/exec/remove_tree.h"

namespace haul::exec {
namespace {

// A pipe whose reading end does not block; the writing end, the task's, does.
class OutputPipe {
 public:
  OutputPipe() = default;
  ~OutputPipe() {
    if (reader_ >= 0) ::close(reader_);
    if (writer_ >= 0) ::close(writer_);
  }
  OutputPipe(const OutputPipe&) = delete;
  OutputPipe& operator=(const OutputPipe&) = delete;

  bool Open() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return false;
    reader_ = fds[0];
    writer_ = fds[1];
    return ::fcntl(reader_, F_SETFL, O_NONBLOCK) == 0;
  }
  int writer() const { return writer_; }
  int ReleaseReader() { return std::exchange(reader_, -1); }

 private:
  int reader_ = -1;
  int writer_ = -1;
};

void Fail(LaunchResult* result, SpawnStep step, int error, std::string failure) {
  result->spawned = SpawnResult{.failed_step = step, .error = error};
  result->failure = std::move(failure);
}

std::uint64_t OwnPeakMemoryBytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

Launcher::Launcher(const TaskSettings& settings, std::function<void()> wake)
    : settings_(settings), wake_(std::move(wake)), ends_fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  HAUL_CHECK(ends_fd_ >= 0);
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
}

Launcher::~Launcher() {
  Close();
  ::close(ends_fd_);
}

bool Launcher::TryLaunch(LaunchRequest&& request) {
  {
    MutexLock lock(&mutex_);
    if (closed_ || requests_.size() + results_.size() >= kCapacity) return false;
    requests_.emplace_back(std::move(request));
  }
  changed_.Signal();  // unlocked, or a thread would wake to wait for the lock
  return true;
}

void Launcher::Remove(RemoveRequest request) {
  {
    MutexLock lock(&mutex_);
    if (closed_) return;
    requests_.emplace_back(std::move(request));
  }
  changed_.Signal();
}

std::vector<LaunchResult> Launcher::TakeResults() {
  MutexLock lock(&mutex_);
  return std::exchange(results_, {});
}

void Launcher::Close() {
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    requests_.clear();
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Launcher::Run() {
  for (;;) {
    Request request;
    {
      MutexLock lock(&mutex_);
      while (!closed_ && requests_.empty()) changed_.Wait(&mutex_);
      if (closed_) return;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    if (const auto* launch = std::get_if<LaunchRequest>(&request)) {
      Deliver(Launch(*launch));
    } else {
      RemoveTree(std::get<RemoveRequest>(request).path);
    }
  }
}

void Launcher::Deliver(LaunchResult result) {
  const std::uint64_t key = result.key;
  const int pidfd = result.spawned.pidfd;
  const bool runs = result.spawned.ok();
  {
    MutexLock lock(&mutex_);
    results_.push_back(std::move(result));
  }
  runs ? WatchEnd(key, pidfd) : wake_();
}

// Once: the event stays until the process is waited for, and it is told of just once.
void Launcher::WatchEnd(std::uint64_t key, int pidfd) const {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = key;
  HAUL_CHECK(::epoll_ctl(ends_fd_, EPOLL_CTL_ADD, pidfd, &event) == 0);
}

std::vector<std::uint64_t> Launcher::TakeEnded() {
  std::array<epoll_event, kCapacity> events{};
  const int count = ::epoll_wait(ends_fd_, events.data(), static_cast<int>(events.size()), 0);
  HAUL_CHECK(count >= 0 || errno == EINTR);
  std::vector<std::uint64_t> keys;
  for (int i = 0; i < count; ++i) keys.push_back(events[static_cast<std::size_t>(i)].data.u64);
  return keys;
}

LaunchResult Launcher::Launch(const LaunchRequest& request) const {
  LaunchResult result;
  result.key = request.key;
  absl::StatusOr<SpawnRequest> spawn =
      PrepareSpawn(request.task, settings_, request.temporary_directory);
  if (!spawn.ok()) {
    const bool too_big = absl::IsResourceExhausted(spawn.status());
    Fail(&result, SpawnStep::kExec, too_big ? E2BIG : EINVAL,
         std::string(spawn.status().message()));
    return result;
  }
  const std::string& directory = request.temporary_directory;
  // That it exists is no error: an earlier try that found no room for a process has made it.
  if (!directory.empty() && ::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    const int error = errno;
    Fail(&result, SpawnStep::kSetup, error,
         "cannot make the temporary directory '" + directory + "': " + std::strerror(error));
    return result;
  }
  OutputPipe output;
  OutputPipe error_output;
  if (!output.Open() || !error_output.Open()) {
    Fail(&result, SpawnStep::kProcess, errno,
         std::string("cannot make a pipe: ") + std::strerror(errno));
    return result;
  }
  spawn->descriptors = {-1, output.writer(), error_output.writer()};
  result.started = ReadClocks();
  result.spawned = Spawn(*spawn);
  if (!result.spawned.ok()) {
    result.failure = DescribeFailure(*spawn, result.spawned);
    return result;
  }
  result.output_fd = output.ReleaseReader();
  result.error_fd = error_output.ReleaseReader();
  result.own_peak_memory_bytes = OwnPeakMemoryBytes();
  return result;
}

}  // namespace haul::exec
