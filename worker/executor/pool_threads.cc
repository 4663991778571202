// The threads' side of the pool: taking work, and coming and going.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>

#include "common/check.h"
#include "worker/executor/crash_marks.h"
#include "worker/executor/pool.h"

namespace haul::executor {
namespace {

// A chunk grows while it is shorter than the first, and shrinks to the second where it is longer.
constexpr std::uint64_t kShortChunkNs = 500'000;
constexpr std::uint64_t kLongChunkNs = 1'000'000;
// At most so much at once, since tasks differ.
constexpr std::uint64_t kChunkGrowth = 16;
// What is not worth being divided: about what it costs to tell of a chunk.
constexpr std::uint64_t kLeastShareNs = 20'000;
constexpr std::uint64_t kChunkLimit = 1u << 16;

constexpr std::uint64_t kAllThreads = ~std::uint64_t{0};

std::uint64_t NextChunkTasks(std::uint64_t chunk_tasks, TaskRunner::Ran ran) {
  if (ran.elapsed_ns > kLongChunkNs) {
    return std::max<std::uint64_t>(1, kLongChunkNs * ran.tasks / ran.elapsed_ns);
  }
  // A chunk that was cut short says nothing about a longer one.
  if (ran.elapsed_ns < kShortChunkNs && ran.tasks >= chunk_tasks) {
    const std::uint64_t times = kShortChunkNs / std::max<std::uint64_t>(1, ran.elapsed_ns);
    return std::min(chunk_tasks * std::clamp<std::uint64_t>(times, 2, kChunkGrowth), kChunkLimit);
  }
  return chunk_tasks;
}

std::uint64_t LeastShare(const Assignment& assignment) {
  if (assignment.task_ns == 0) return 1;
  return std::max<std::uint64_t>(1, kLeastShareNs / assignment.task_ns);
}

}  // namespace

Pool::~Pool() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    closing_ = true;
    work_.SignalAll();
    for (PoolThread& thread : threads_) threads.push_back(std::move(thread.thread));
  }
  for (std::thread& thread : threads) {
    if (thread.joinable()) thread.join();
  }
}

// As many threads as there are free seats with work, or as many as may be.
std::uint64_t Pool::StartThreads(std::uint64_t stealing) {
  std::uint64_t wanted = stealing;
  for (const ClaimKey& key : claimable_) {
    const Assignment& assignment = *key.assignment;
    wanted +=
        std::min<std::uint64_t>(assignment.width - assignment.seats, assignment.pending_count);
    if (wanted >= options_.thread_limit) break;
  }
  const std::uint64_t waiting = idle_threads_;
  while (wanted > idle_threads_ && running_threads_ < options_.thread_limit) {
    if (!StartThread()) break;
  }
  return wanted >= waiting ? kAllThreads : wanted;
}

void Pool::Wake(std::uint64_t threads) {
  if (threads == kAllThreads) return work_.SignalAll();
  for (std::uint64_t i = 0; i < threads; ++i) work_.Signal();
}

bool Pool::StartThread() {
  std::uint32_t index = 0;
  if (free_threads_.empty()) {
    index = static_cast<std::uint32_t>(threads_.size());
    PoolThread& made = threads_.emplace_back();
    made.runner = std::make_unique<TaskRunner>(&slots_.at(index), &outbox_, &calls_,
                                               options_.results, std::to_string(index));
    slots_.SetUsed(index + 1);
  } else {
    index = free_threads_.back();
    free_threads_.pop_back();
  }
  PoolThread& thread = threads_[index];
  // The one before it has said that it ends. What users destroy with a thread may take its time, so
  // it is waited for there and not under the lock.
  const auto before = std::make_shared<std::thread>(std::move(thread.thread));
  try {
    thread.thread = std::thread([this, index, before] {
      if (before->joinable()) before->join();
      ThreadMain(index);
    });
  } catch (const std::system_error& error) {
    thread.thread = std::move(*before);
    free_threads_.push_back(index);
    std::fprintf(stderr, "haul-executor: cannot start a thread, %u run: %s\n", running_threads_,
                 error.what());
    // With none at all nothing would ever run; the worker starts another executor.
    HAUL_CHECK(running_threads_ > 0);
    return false;
  }
  ++running_threads_;
  ++idle_threads_;
  return true;
}

void Pool::ThreadMain(std::uint32_t index) {
  const CrashMarksOfThread marks(&slots_.at(index));
  TaskRunner* runner = nullptr;
  TaskRunner::Ran ran;
  while (true) {
    const std::optional<Chunk> chunk = NextChunk(index, ran, &runner);
    if (!chunk.has_value()) return;
    ran = runner->Run(*chunk);
  }
}

// Gives up the seat of the chunk before and takes another; waits for it. Nothing: the thread ends.
std::optional<Chunk> Pool::NextChunk(std::uint32_t index, TaskRunner::Ran ran,
                                     TaskRunner** runner) {
  MutexLock lock(&mutex_);
  if (threads_[index].chunk.assignment != nullptr) GiveUpSeat(threads_[index], ran);
  std::optional<std::chrono::steady_clock::time_point> idle_deadline;
  bool late = false;
  while (!closing_) {
    std::optional<Chunk> chunk = Claim();
    if (!chunk.has_value()) chunk = Steal();
    if (chunk.has_value()) {
      --idle_threads_;
      PoolThread& thread = threads_[index];
      thread.chunk = *chunk;
      thread.runner->Load(*chunk);
      *runner = thread.runner.get();
      return chunk;
    }
    if (running_threads_ <= options_.threads) {
      work_.Wait(&mutex_);
      continue;
    }
    // Having looked again: work may have come in the same moment, counting on this thread.
    if (late) break;
    if (!idle_deadline.has_value()) {
      idle_deadline =
          std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.idle_limit_ms);
    }
    late = work_.WaitUntil(&mutex_, *idle_deadline);
  }
  --idle_threads_;
  --running_threads_;
  free_threads_.push_back(index);
  return std::nullopt;
}

void Pool::GiveUpSeat(PoolThread& thread, TaskRunner::Ran ran) {
  const std::shared_ptr<Assignment> assignment = std::move(thread.chunk.assignment);
  thread.chunk = Chunk();
  ++idle_threads_;
  Unlist(*assignment);
  --assignment->seats;
  --live_;
  if (ran.tasks > 0) {
    assignment->task_ns = ran.elapsed_ns / ran.tasks;
    assignment->chunk_tasks = NextChunkTasks(assignment->chunk_tasks, ran);
  }
  List(*assignment);
  NoteIfDrained(*assignment);
}

std::optional<Chunk> Pool::Claim() {
  if (claimable_.empty()) return std::nullopt;
  Assignment& assignment = *claimable_.begin()->assignment;
  Segment& segment = assignment.pending.front();
  std::uint64_t count = std::min(assignment.chunk_tasks, segment.tasks.count);
  if (assignment.width > 1) {
    // Toward the end the chunks get shorter, so that all threads end together.
    const std::uint64_t share = assignment.pending_count / (2 * std::uint64_t{assignment.width});
    count = std::min(count, std::max(share, LeastShare(assignment)));
  }
  std::uint32_t attempt = 1;
  const auto charged = assignment.attempts.lower_bound(segment.tasks.first);
  if (charged != assignment.attempts.end()) {
    if (charged->first == segment.tasks.first) {
      attempt = charged->second;
      count = 1;
      assignment.attempts.erase(charged);
    } else {
      count = std::min(count, charged->first - segment.tasks.first);
    }
  }
  Chunk chunk = MakeChunk(assignment, {segment.tasks.first, count}, segment.inputs, attempt);
  Unlist(assignment);
  segment.tasks = {segment.tasks.first + count, segment.tasks.count - count};
  if (segment.tasks.count == 0) assignment.pending.pop_front();
  assignment.pending_count -= count;
  live_ -= count;
  ++assignment.seats;
  ++live_;
  List(assignment);
  return chunk;
}

// How many more threads, beyond those for what is pending, could run what others took and have not
// started.
std::uint64_t Pool::Stealable(const Assignment& assignment) const {
  const std::uint64_t seats = assignment.seats + assignment.pending_count;
  if (assignment.seats == 0 || seats >= assignment.width) return 0;
  std::uint64_t not_started = 0;
  for (const PoolThread& thread : threads_) {
    if (thread.chunk.assignment.get() == &assignment) {
      not_started += thread.runner->NotStartedCount();
    }
  }
  return std::min(assignment.width - seats, not_started);
}

// Half of what another thread took and has not started, of an assignment that has a seat free.
std::optional<Chunk> Pool::Steal() {
  for (PoolThread& victim : threads_) {
    Assignment* assignment = victim.chunk.assignment.get();
    if (assignment == nullptr || victim.chunk.tasks.count == 1) continue;
    if (assignment->seats >= assignment->width) continue;
    const TaskRange taken = victim.runner->TakeTail(TaskRunner::kHalf);
    if (taken.count == 0) continue;
    ++assignment->seats;
    ++live_;
    return MakeChunk(*assignment, taken, victim.chunk.inputs, victim.chunk.style.attempt);
  }
  return std::nullopt;
}

Chunk Pool::MakeChunk(const Assignment& assignment, TaskRange tasks,
                      std::shared_ptr<const Inputs> inputs, std::uint32_t attempt) const {
  Chunk chunk;
  chunk.assignment = Find(assignment.id);
  chunk.tasks = tasks;
  chunk.inputs = std::move(inputs);
  chunk.style.has_results = assignment.function->signature.result.kind != FunctionType::Kind::kVoid;
  chunk.style.detail = assignment.detail;
  chunk.style.attempt = attempt;
  chunk.style.pid = pid_;
  chunk.timeout_us = assignment.timeout_us;
  return chunk;
}

}  // namespace haul::executor
