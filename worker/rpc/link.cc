#include "worker/rpc/link.h"

#include <fcntl.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/check.h"
#include "common/rpc/completion_queue_loop.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/status.h"
#include "common/rpc/token.h"
#include "haul/v1/session.grpc.pb.h"

namespace haul::worker {
namespace {

constexpr std::size_t kUploadPieceBytes = 256u << 10;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(Link::kReceiveLimitBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The session has its own backoff; the channel's must not outlast it.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// A completion that calls a member function of its owner.
template <typename Owner>
class MemberTag final : public rpc::Tag {
 public:
  MemberTag(Owner* owner, void (Owner::*done)(bool)) : owner_(owner), done_(done) {}
  void Done(bool ok) override { (owner_->*done_)(ok); }

 private:
  Owner* const owner_;
  void (Owner::*const done_)(bool);
};

// What is shared between the threads and by all calls.
struct Shared {
  Shared(std::string the_address, std::string the_token, std::function<void()> the_wake)
      : address(std::move(the_address)), token(std::move(the_token)), wake(std::move(the_wake)) {
    ChangeConnection();
  }

  // What is called from now on has another connection. What was called before keeps its own.
  void ChangeConnection() { stub = v1::WorkerSession::NewStub(MakeChannel(address)); }

  const std::string address;
  std::unique_ptr<v1::WorkerSession::Stub> stub;  // of the loop thread
  const std::string token;
  const std::function<void()> wake;
  grpc::CompletionQueue queue;

  absl::Mutex mutex;
  // Once set no operation may start: the queue is shut down.
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  Link::News news ABSL_GUARDED_BY(mutex);
  std::size_t inward_bytes ABSL_GUARDED_BY(mutex) = 0;
};

// One Attach stream. Its completions come on the pump thread, everything else on the loop thread;
// operations start under the lock, by either.
class AttachStream {
 public:
  AttachStream(Shared& shared, const v1::WorkerMessage& hello) : shared_(shared) {
    absl::MutexLock lock(&shared_.mutex);
    rpc::AddToken(shared_.token, context_);
    stream_ = shared_.stub->PrepareAsyncAttach(&context_, &shared_.queue);
    waiting_ = hello;
    writing_ = true;  // until it has started
    stream_->StartCall(&started_tag_);
  }

  bool CanSend() {
    absl::MutexLock lock(&shared_.mutex);
    const bool can = !waiting_ && !finish_sending_ && !broken_;
    if (!can) wants_slot_ = true;
    return can;
  }

  void Send(v1::WorkerMessage message) {
    absl::MutexLock lock(&shared_.mutex);
    HAUL_CHECK(!waiting_);
    waiting_ = std::move(message);
    StartWrite();
  }

  void SendHeartbeat() {
    absl::MutexLock lock(&shared_.mutex);
    if (finish_sending_ || broken_) return;
    if (!waiting_) waiting_.emplace();
    waiting_->set_heartbeat(true);
    StartWrite();
  }

  void FinishSending() {
    absl::MutexLock lock(&shared_.mutex);
    finish_sending_ = true;
    StartWrite();
  }

  void Cancel() { context_.TryCancel(); }

  void ResumeReading() {
    absl::MutexLock lock(&shared_.mutex);
    if (!reading_paused_ || shared_.stopping) return;
    reading_paused_ = false;
    stream_->Read(&incoming_, &read_tag_);
  }

 private:
  void OnStarted(bool ok) {
    absl::MutexLock lock(&shared_.mutex);
    writing_ = false;
    if (shared_.stopping) return;
    if (!ok) {
      broken_ = true;
      finishing_ = true;
      return stream_->Finish(&status_, &finished_tag_);
    }
    stream_->Read(&incoming_, &read_tag_);
    StartWrite();
  }

  void OnRead(bool ok) {
    {
      absl::MutexLock lock(&shared_.mutex);
      if (shared_.stopping) return;
      if (!ok) {
        broken_ = true;
        read_over_ = true;
        return FinishIfOver();
      }
      shared_.inward_bytes += incoming_.ByteSizeLong();
      shared_.news.messages.push_back(std::exchange(incoming_, {}));
    }
    // First, since the next read writes: gRPC tells the sender at once that there is room again.
    shared_.wake();
    absl::MutexLock lock(&shared_.mutex);
    if (shared_.stopping) return;
    if (shared_.news.messages.size() >= Link::kInwardMessages ||
        shared_.inward_bytes >= Link::kInwardBytes) {
      reading_paused_ = true;
    } else {
      stream_->Read(&incoming_, &read_tag_);
    }
  }

  void OnWritten(bool ok) {
    bool wake = false;
    {
      absl::MutexLock lock(&shared_.mutex);
      writing_ = false;
      if (shared_.stopping) return;
      if (!ok) broken_ = true;
      StartWrite();
      FinishIfOver();
      if (wants_slot_ && !waiting_ && !broken_) {
        wants_slot_ = false;
        shared_.news.writable = true;
        wake = true;
      }
    }
    if (wake) shared_.wake();
  }

  void OnFinished(bool) {
    Shared& shared = shared_;  // the loop may delete this as soon as it can see the end
    {
      absl::MutexLock lock(&shared.mutex);
      if (shared.stopping) return;
      shared.news.closed = rpc::FromGrpc(status_);
    }
    shared.wake();
  }

  void StartWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared_.mutex) {
    if (writing_ || broken_ || shared_.stopping) return;
    if (waiting_) {
      writing_ = true;
      stream_->Write(*waiting_, &written_tag_);
      waiting_.reset();
    } else if (finish_sending_ && !finish_sent_) {
      writing_ = true;
      finish_sent_ = true;
      stream_->WritesDone(&written_tag_);
    }
  }

  void FinishIfOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared_.mutex) {
    if (!read_over_ || writing_ || finishing_) return;
    finishing_ = true;
    stream_->Finish(&status_, &finished_tag_);
  }

  Shared& shared_;
  MemberTag<AttachStream> started_tag_{this, &AttachStream::OnStarted};
  MemberTag<AttachStream> read_tag_{this, &AttachStream::OnRead};
  MemberTag<AttachStream> written_tag_{this, &AttachStream::OnWritten};
  MemberTag<AttachStream> finished_tag_{this, &AttachStream::OnFinished};

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  v1::CoordinatorMessage incoming_;  // of the read under way
  grpc::Status status_;
  std::optional<v1::WorkerMessage> waiting_ ABSL_GUARDED_BY(shared_.mutex);
  bool writing_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool wants_slot_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool reading_paused_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool read_over_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool broken_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool finish_sending_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool finish_sent_ ABSL_GUARDED_BY(shared_.mutex) = false;
  bool finishing_ ABSL_GUARDED_BY(shared_.mutex) = false;
};

// One upload: the next piece is read from the file when the one before is written.
class UploadCall {
 public:
  UploadCall(Shared& shared, const UploadJob& job) : shared_(shared), job_(job) {
    fd_ = open(job_.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) read_error_ = OpenError(errno);
    absl::MutexLock lock(&shared_.mutex);
    rpc::AddToken(shared_.token, context_);
    writer_ = shared_.stub->PrepareAsyncUpload(&context_, &reply_, &shared_.queue);
    writer_->StartCall(&started_tag_);
  }
  ~UploadCall() {
    if (fd_ >= 0) close(fd_);
  }
  UploadCall(const UploadCall&) = delete;
  UploadCall& operator=(const UploadCall&) = delete;

  void Cancel() { context_.TryCancel(); }

 private:
  // That no descriptor is free now says nothing about the file.
  absl::Status OpenError(int error) const {
    const absl::Status status = absl::ErrnoToStatus(error, absl::StrCat("cannot open ", job_.path));
    return absl::IsResourceExhausted(status) ? status : absl::DataLossError(status.message());
  }

  void OnStarted(bool ok) { Next(ok); }
  void OnWritten(bool ok) { Next(ok); }

  void Next(bool ok) {
    v1::UploadRequest request;
    const bool readable = ok && ReadPiece(request);
    absl::MutexLock lock(&shared_.mutex);
    if (shared_.stopping) return;
    if (!ok) return writer_->Finish(&status_, &finished_tag_);
    if (!readable) {
      context_.TryCancel();
      return writer_->Finish(&status_, &finished_tag_);
    }
    if (first_ || !request.data().empty()) {
      first_ = false;
      return writer_->Write(request, &written_tag_);
    }
    writer_->WritesDone(&sent_tag_);
  }

  void OnSent(bool) {
    absl::MutexLock lock(&shared_.mutex);
    if (!shared_.stopping) writer_->Finish(&status_, &finished_tag_);
  }

  void OnFinished(bool) {
    Shared& shared = shared_;  // as above
    {
      absl::MutexLock lock(&shared.mutex);
      if (shared.stopping) return;
      absl::Status status = read_error_.ok() ? rpc::FromGrpc(status_) : read_error_;
      shared.news.uploads.push_back({job_.id, std::move(status), reply_.file()});
    }
    shared.wake();
  }

  // Empty data: there is no more. Runs on the pump thread: the file was just written, so it is in
  // memory.
  bool ReadPiece(v1::UploadRequest& request) {
    if (!read_error_.ok()) return false;
    if (first_) {
      request.set_job_id(job_.job_id);
      request.set_assignment_id(job_.assignment_id);
      request.set_task(job_.task);
      request.set_error_output(job_.error_output);
      request.set_total_bytes(job_.total_bytes);
    }
    const std::size_t size = static_cast<std::size_t>(
        std::min<std::uint64_t>(kUploadPieceBytes, job_.total_bytes - sent_bytes_));
    if (size == 0) return true;
    std::string& data = *request.mutable_data();
    data.resize(size);
    const ssize_t got = pread(fd_, data.data(), size, static_cast<off_t>(sent_bytes_));
    if (got <= 0) {
      const std::string why = got < 0 ? std::generic_category().message(errno) : "it is too short";
      read_error_ = absl::DataLossError(
          absl::StrCat("cannot read ", job_.path, " at byte ", sent_bytes_, ": ", why));
      return false;
    }
    data.resize(static_cast<std::size_t>(got));
    sent_bytes_ += request.data().size();
    return true;
  }

  Shared& shared_;
  const UploadJob job_;
  MemberTag<UploadCall> started_tag_{this, &UploadCall::OnStarted};
  MemberTag<UploadCall> written_tag_{this, &UploadCall::OnWritten};
  MemberTag<UploadCall> sent_tag_{this, &UploadCall::OnSent};
  MemberTag<UploadCall> finished_tag_{this, &UploadCall::OnFinished};
  int fd_ = -1;
  // Of the pump thread.
  bool first_ = true;
  std::uint64_t sent_bytes_ = 0;
  absl::Status read_error_;
  grpc::ClientContext context_;
  v1::UploadReply reply_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncWriter<v1::UploadRequest>> writer_;
};

}  // namespace

// Calls live until their last completion was taken: a finished stream until the next one opens, an
// upload until Take() has given its end.
class Link::Impl {
 public:
  Impl(const std::string& address, std::string token, std::function<void()> wake)
      : shared(address, std::move(token), std::move(wake)), pump_([this] { Pump(); }) {}

  ~Impl() {
    {
      absl::MutexLock lock(&shared.mutex);
      shared.stopping = true;
    }
    if (stream != nullptr) stream->Cancel();
    for (const auto& [id, upload] : uploads) upload->Cancel();
    shared.queue.Shutdown();
    pump_.join();
  }

  Shared shared;
  std::unique_ptr<AttachStream> stream;
  absl::btree_map<std::uint64_t, std::unique_ptr<UploadCall>> uploads;

 private:
  void Pump() {
    void* tag = nullptr;
    bool ok = false;
    while (shared.queue.Next(&tag, &ok)) static_cast<rpc::Tag*>(tag)->Done(ok);
  }

  std::thread pump_;
};

Link::Link(const std::string& address, std::string token, std::function<void()> wake) {
  rpc::RouteGrpcLog();
  impl_ = std::make_unique<Impl>(address, std::move(token), std::move(wake));
}

Link::~Link() = default;

void Link::Open(const v1::WorkerMessage& hello) {
  HAUL_CHECK(impl_->stream == nullptr);
  impl_->stream = std::make_unique<AttachStream>(impl_->shared, hello);
}

bool Link::CanSend() { return impl_->stream != nullptr && impl_->stream->CanSend(); }

void Link::Send(v1::WorkerMessage message) { impl_->stream->Send(std::move(message)); }

void Link::SendHeartbeat() {
  if (impl_->stream != nullptr) impl_->stream->SendHeartbeat();
}

void Link::FinishSending() {
  if (impl_->stream != nullptr) impl_->stream->FinishSending();
}

void Link::Cancel() {
  if (impl_->stream != nullptr) impl_->stream->Cancel();
}

void Link::Abandon() {
  Cancel();
  for (const auto& [id, upload] : impl_->uploads) upload->Cancel();
  impl_->shared.ChangeConnection();
}

void Link::StartUpload(const UploadJob& job) {
  impl_->uploads.emplace(job.id, std::make_unique<UploadCall>(impl_->shared, job));
}

void Link::CancelUpload(std::uint64_t id) {
  if (const auto it = impl_->uploads.find(id); it != impl_->uploads.end()) it->second->Cancel();
}

Link::News Link::Take() {
  News news;
  {
    absl::MutexLock lock(&impl_->shared.mutex);
    news = std::exchange(impl_->shared.news, {});
    impl_->shared.inward_bytes = 0;
  }
  if (news.closed) impl_->stream = nullptr;
  if (impl_->stream != nullptr) impl_->stream->ResumeReading();
  for (const UploadEnd& end : news.uploads) impl_->uploads.erase(end.id);
  return news;
}

}  // namespace haul::worker
