#include "coordinator/loop/store_thread.h"

#include <iterator>
#include <utility>

namespace haul::coordinator {
namespace {

std::size_t TotalBytes(const std::vector<Write>& writes) {
  std::size_t bytes = 0;
  for (const Write& write : writes) bytes += ByteCount(write);
  return bytes;
}

}  // namespace

StoreThread::StoreThread(Store& store, std::function<void()> wake)
    : store_(store), wake_(std::move(wake)), thread_([this] { Main(); }) {}

StoreThread::~StoreThread() {
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.Signal();
  }
  thread_.join();
}

void StoreThread::Commit(std::vector<Write> writes, RecordSequence through) {
  waiting_bytes_.fetch_add(TotalBytes(writes), std::memory_order_relaxed);
  {
    MutexLock lock(&mutex_);
    if (writes_.empty()) {
      writes_ = std::move(writes);
    } else {
      writes_.insert(writes_.end(), std::make_move_iterator(writes.begin()),
                     std::make_move_iterator(writes.end()));
    }
    through_ = through;
  }
  changed_.Signal();  // unlocked, or the thread would wake to wait for the lock
}

std::vector<StoreThread::StoredOutcome> StoreThread::TakeFollowed() {
  MutexLock lock(&mutex_);
  return std::exchange(followed_, {});
}

void StoreThread::KeepFollowed(std::vector<Write>& writes) {
  std::size_t position = 0;
  std::vector<StoredOutcome> followed;
  for (Write& write : writes) {
    auto* added = std::get_if<AddOutcome>(&write);
    if (added == nullptr) continue;
    const std::uint64_t sequence = store_.outcome_sequences()[position++];
    if (added->is_followed) followed.push_back({added->job, {sequence, std::move(added->outcome)}});
  }
  if (followed.empty()) return;
  MutexLock lock(&mutex_);
  followed_.insert(followed_.end(), std::make_move_iterator(followed.begin()),
                   std::make_move_iterator(followed.end()));
}

absl::Status StoreThread::failure() const {
  MutexLock lock(&mutex_);
  return failure_;
}

void StoreThread::Main() {
  for (;;) {
    std::vector<Write> writes;
    RecordSequence through = 0;
    {
      MutexLock lock(&mutex_);
      while (!closed_ && writes_.empty()) changed_.Wait(&mutex_);
      if (writes_.empty() || !failure_.ok()) return;
      writes.swap(writes_);
      through = through_;
    }
    const absl::Status status = store_.Commit(writes);
    waiting_bytes_.fetch_sub(TotalBytes(writes), std::memory_order_relaxed);
    if (status.ok()) {
      KeepFollowed(writes);
      committed_.store(through, std::memory_order_release);
    } else {
      MutexLock lock(&mutex_);
      failure_ = status;
    }
    wake_();
    if (!status.ok()) return;
  }
}

}  // namespace haul::coordinator
