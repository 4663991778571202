#include "worker/exec/launch/launcher.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
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

// Of requests_fd_; keys of requests are from 1 on.
constexpr std::uint64_t kRequestsEvent = 0;

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
    : settings_(settings),
      wake_(std::move(wake)),
      events_fd_(::epoll_create1(EPOLL_CLOEXEC)),
      requests_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  HAUL_CHECK(events_fd_ >= 0 && requests_fd_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // each signal wakes one thread, and is never read
  event.data.u64 = kRequestsEvent;
  HAUL_CHECK(::epoll_ctl(events_fd_, EPOLL_CTL_ADD, requests_fd_, &event) == 0);
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Run(); });
}

Launcher::~Launcher() {
  Close();
  ::close(requests_fd_);
  ::close(events_fd_);
}

void Launcher::Signal() const {
  const std::uint64_t one = 1;
  HAUL_CHECK(::write(requests_fd_, &one, sizeof one) == sizeof one);
}

bool Launcher::TryLaunch(LaunchRequest&& request) {
  {
    MutexLock lock(&mutex_);
    if (closed_ || requests_.size() + news_.started.size() >= kCapacity) return false;
    looked_for_ = true;
    requests_.push_back(std::move(request));
  }
  Signal();  // unlocked, or a thread would wake to wait for the lock
  return true;
}

void Launcher::LaunchAfter(LaunchRequest request) {
  std::optional<LaunchRequest> now;
  {
    MutexLock lock(&mutex_);
    looked_for_ = true;
    worker::Places<LaunchRequest>& places = places_[request.task.assignment];
    now = places.Add(std::move(request));
  }
  LaunchNow(std::move(now));
}

void Launcher::Advance(AssignmentId assignment) {
  std::optional<LaunchRequest> now;
  {
    MutexLock lock(&mutex_);
    const auto places = places_.find(assignment);
    if (places != places_.end()) now = places->second.Advance();
  }
  LaunchNow(std::move(now));
}

void Launcher::EndedWithoutProcess(AssignmentId assignment) {
  std::optional<LaunchRequest> now;
  {
    MutexLock lock(&mutex_);
    now = places_[assignment].OnEnd();
  }
  LaunchNow(std::move(now));
}

void Launcher::LaunchNow(std::optional<LaunchRequest> request) {
  if (!request) return;
  {
    MutexLock lock(&mutex_);
    if (closed_) return;
    requests_.push_back(*std::move(request));
  }
  Signal();
}

std::vector<std::uint64_t> Launcher::Withdraw(AssignmentId assignment) {
  std::vector<std::uint64_t> keys;
  {
    MutexLock lock(&mutex_);
    const auto places = places_.find(assignment);
    if (places == places_.end()) return {};
    for (const LaunchRequest& request : places->second.Withdraw()) keys.push_back(request.key);
    if (places->second.empty()) places_.erase(places);
  }
  LookAtLateEnds();
  return keys;
}

void Launcher::FollowUntil(std::int64_t monotonic_us) {
  {
    MutexLock lock(&mutex_);
    follow_until_us_ = monotonic_us;
  }
  LookAtLateEnds();
}

bool Launcher::IsTooLate(const LaunchEnd& end) const {
  if (end.at.monotonic_us <= follow_until_us_) return false;
  const auto places = places_.find(running_.at(end.key));
  return places != places_.end() && places->second.somebody_waits();
}

void Launcher::LookAtLateEnds() {
  std::vector<LaunchEnd> ends;
  {
    MutexLock lock(&mutex_);
    ends.swap(late_ends_);
  }
  for (const LaunchEnd& end : ends) LaunchNow(OnEnd(end));
}

void Launcher::OnEndTold(AssignmentId assignment) {
  MutexLock lock(&mutex_);
  const auto places = places_.find(assignment);
  HAUL_CHECK(places != places_.end());
  places->second.OnEndTold();
  if (places->second.empty()) places_.erase(places);
}

void Launcher::Remove(RemoveRequest request) {
  {
    MutexLock lock(&mutex_);
    if (closed_) return;
    removals_.push_back(std::move(request));
  }
  Signal();
}

LaunchNews Launcher::Take(bool looks_again) {
  MutexLock lock(&mutex_);
  looked_for_ = looks_again || !news_.started.empty() || !news_.ended.empty();
  return std::exchange(news_, {});
}

void Launcher::Close() {
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    requests_.clear();
    removals_.clear();
    places_.clear();
  }
  Signal();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Launcher::Run() {
  for (;;) {
    epoll_event event{};
    const int count = ::epoll_wait(events_fd_, &event, 1, -1);
    HAUL_CHECK(count >= 0 || errno == EINTR);
    if (count <= 0) continue;
    Work work;
    if (!NextWork(event.data.u64, &work)) return;
    if (const auto* launch = std::get_if<LaunchRequest>(&work)) {
      Deliver(launch->task.assignment, Launch(*launch));
    } else if (const auto* removal = std::get_if<RemoveRequest>(&work)) {
      RemoveTree(removal->path);
    }
  }
}

bool Launcher::NextWork(std::uint64_t event, Work* work) {
  if (event != kRequestsEvent) {
    if (auto next = OnEnd({.key = event, .at = ReadClocks()})) *work = *std::move(next);
    return true;
  }
  bool closed = false;
  bool more = false;
  {
    MutexLock lock(&mutex_);
    closed = closed_;
    *work = TakeRequest();
    more = closed || !requests_.empty() || !removals_.empty();
  }
  if (more) Signal();  // several signals may have been one event: the next thread's turn
  return !closed;
}

Launcher::Work Launcher::TakeRequest() {
  Work work;
  if (!requests_.empty()) {
    work = std::move(requests_.front());
    requests_.pop_front();
  } else if (!removals_.empty()) {
    work = std::move(removals_.front());
    removals_.pop_front();
  }
  return work;
}

// A process has ended: what is launched in its place.
std::optional<LaunchRequest> Launcher::OnEnd(LaunchEnd end) {
  std::optional<LaunchRequest> next;
  bool wakes = false;
  {
    MutexLock lock(&mutex_);
    if (IsTooLate(end)) {
      late_ends_.push_back(end);
      return std::nullopt;
    }
    const auto ended = running_.find(end.key);
    next = places_[ended->second].OnEnd();
    running_.erase(ended);
    news_.ended.push_back(end);
    wakes = !looked_for_ || !next;
  }
  if (wakes) wake_();
  return next;
}

void Launcher::LookForEnds() {
  std::array<epoll_event, kCapacity> events{};
  int count = 0;
  do {
    count = ::epoll_wait(events_fd_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t event = events[static_cast<std::size_t>(i)].data.u64;
      if (event == kRequestsEvent) {
        Signal();  // it was a thread's
      } else {
        LaunchNow(OnEnd({.key = event, .at = ReadClocks()}));
      }
    }
  } while (count == static_cast<int>(events.size()));
}

void Launcher::Deliver(AssignmentId assignment, LaunchResult result) {
  const std::uint64_t key = result.key;
  const int pidfd = result.spawned.pidfd;
  const bool runs = result.spawned.ok();
  bool wakes = false;
  {
    MutexLock lock(&mutex_);
    if (runs) running_.emplace(key, assignment);
    news_.started.push_back(std::move(result));
    wakes = !looked_for_ || !runs;
  }
  if (wakes) wake_();
  if (!runs) return;
  // Once: the event stays until the process is waited for, and it is told of just once.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = key;
  HAUL_CHECK(::epoll_ctl(events_fd_, EPOLL_CTL_ADD, pidfd, &event) == 0);
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
