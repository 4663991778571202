#include "coordinator/coordinator.h"

#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/time.h"
#include "coordinator/access.h"
#include "coordinator/loop/loop.h"
#include "coordinator/rpc/server.h"
#include "coordinator/store/memory_store.h"
#include "coordinator/store/output_files.h"
#include "coordinator/store/sqlite_store.h"

namespace haul {

// Everything a coordinator consists of, in the order in which it is built; it ends in reverse.
class Coordinator::Rooms {
 public:
  ~Rooms() { End(); }

  // Opening the store holds the directory against a second coordinator; gives the token that is in
  // it.
  absl::StatusOr<std::string> OpenStore(const std::string& data_dir);
  absl::Status Build(const CoordinatorOptions& options, const std::string& token);
  void Run() {
    loop_thread_ = std::thread([this] {
      const absl::Status status = loop_->Run();
      absl::MutexLock lock(&mutex_);
      result_ = status;
      ended_ = true;
    });
  }
  void Stop() { loop_->Stop(); }
  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&ended_));
    return result_;
  }
  const std::string& address() const { return server_->address(); }

 private:
  absl::Status CollectGarbage();
  void End() {
    if (loop_ != nullptr) loop_->Stop();
    if (loop_thread_.joinable()) loop_thread_.join();
    // Calls end before what they call; what the loop decided is committed when it goes.
    if (server_ != nullptr) server_->Shutdown();
    loop_.reset();
    server_.reset();
  }

  std::unique_ptr<coordinator::SqliteStore> store_;
  std::unique_ptr<coordinator::MemoryStore> memory_;
  std::unique_ptr<coordinator::OutputFiles> files_;
  coordinator::ServerPoller poller_;
  std::unique_ptr<coordinator::Loop> loop_;
  std::unique_ptr<coordinator::Server> server_;
  std::thread loop_thread_;

  absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status result_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::string> Coordinator::Rooms::OpenStore(const std::string& data_dir) {
  auto store = coordinator::SqliteStore::Open(data_dir);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  return LoadOrMakeToken(data_dir);
}

// Large outputs that no outcome speaks of and none will: their worker died before it was recorded.
// While the task goes on, whoever handed the output over may be adopted and owe the outcome; it has
// no other copy. What then is left over goes at a later start.
absl::Status Coordinator::Rooms::CollectGarbage() {
  absl::StatusOr<std::unique_ptr<coordinator::StoreReader>> reader = store_->NewReader();
  if (!reader.ok()) return reader.status();
  const coordinator::State& state = loop_->core().state();
  const auto garbage =
      files_->CollectGarbage([&](const coordinator::OutputName& name) -> absl::StatusOr<bool> {
        const coordinator::Job* job = state.FindJob(name.job);
        const bool goes_on =
            job != nullptr && !job->is_ended() && !job->facts.done.Contains(name.task);
        if (goes_on) return true;
        return coordinator::RefersTo(**reader, name);
      });
  return garbage.status();
}

absl::Status Coordinator::Rooms::Build(const CoordinatorOptions& options,
                                       const std::string& token) {
  const std::int64_t started_unix_us = ReadClocks().unix_us;
  memory_ = std::make_unique<coordinator::MemoryStore>();
  auto files = coordinator::OutputFiles::Open(options.data_dir, options.output_limit_bytes);
  if (!files.ok()) return files.status();
  files_ = *std::move(files);

  coordinator::LoopOptions loop_options;
  loop_options.core.lease_ms = options.lease_ms;
  loop_options.core.max_tasks_per_job = options.max_tasks_per_job;
  loop_options.volatile_bytes = options.volatile_bytes;
  loop_options.volatile_bytes_used = [this] { return memory_->bytes(); };
  auto loop = coordinator::Loop::Create(loop_options, *store_, *memory_, poller_);
  if (!loop.ok()) return loop.status();
  loop_ = *std::move(loop);
  if (absl::Status status = CollectGarbage(); !status.ok()) return status;
  loop_->set_on_forgotten([this](JobId job) {
    // What could not be removed is garbage for the next start.
    loop_->files().TryRun([this, job]() -> coordinator::SideThread::Continuation {
      (void)files_->RemoveJob(job);
      return nullptr;
    });
  });

  auto server = coordinator::Server::Start({.listen = options.listen,
                                            .token = token,
                                            .data_directory = options.data_dir,
                                            .started_unix_us = started_unix_us},
                                           *loop_, *files_, poller_, [this] { loop_->Stop(); });
  if (!server.ok()) return server.status();
  server_ = *std::move(server);
  return absl::OkStatus();
}

Coordinator::Coordinator() = default;
Coordinator::~Coordinator() = default;

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const CoordinatorOptions& options) {
  if (absl::Status status = CheckListenAddress(options.listen, options.insecure); !status.ok()) {
    return status;
  }
  if (options.lease_ms < 100) {
    return absl::InvalidArgumentError(
        absl::StrCat("lease: ", options.lease_ms, " ms, must be at least 100 ms"));
  }
  std::unique_ptr<Coordinator> coordinator(new Coordinator);
  coordinator->rooms_ = std::make_unique<Rooms>();
  absl::StatusOr<std::string> token = coordinator->rooms_->OpenStore(options.data_dir);
  if (!token.ok()) return token.status();
  coordinator->token_ = *token;
  if (absl::Status status = coordinator->rooms_->Build(options, *token); !status.ok())
    return status;
  coordinator->address_ = coordinator->rooms_->address();
  if (absl::Status status =
          WriteFileAtomically(options.data_dir + "/address", coordinator->address_ + "\n", 0600);
      !status.ok()) {
    return status;
  }
  coordinator->rooms_->Run();
  return coordinator;
}

void Coordinator::Stop() { rooms_->Stop(); }

absl::Status Coordinator::Wait() { return rooms_->Wait(); }

}  // namespace haul
