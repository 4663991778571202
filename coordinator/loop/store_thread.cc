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
  MutexLock lock(&mutex_);
  if (writes_.empty()) {
    writes_ = std::move(writes);
  } else {
    writes_.insert(writes_.end(), std::make_move_iterator(writes.begin()),
                   std::make_move_iterator(writes.end()));
  }
  through_ = through;
  changed_.Signal();
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
