#include "coordinator/rpc/session_service.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "coordinator/rpc/attached_worker.h"

namespace haul::coordinator {
namespace {

// One large output on its way into its file. The file is touched on the files thread alone, one
// piece at a time: the next is read when the one before is written.
class Upload : public std::enable_shared_from_this<Upload> {
 public:
  using Call =
      rpc::ClientStreamCall<v1::WorkerSession::AsyncService, v1::UploadRequest, v1::UploadReply>;

  Upload(Loop& loop, OutputFiles& files, Call::Pointer call)
      : loop_(loop), files_(files), call_(std::move(call)) {}

  void ReadNext() {
    call_->Read(
        [self = shared_from_this()](v1::UploadRequest* message) { self->OnMessage(message); });
  }

 private:
  void OnMessage(v1::UploadRequest* message) {
    if (message == nullptr) {
      if (absl::Status error = call_->read_error(); !error.ok()) return Fail(error);
      if (!begun_ || received_bytes_ != total_bytes_) {
        return Fail(absl::InvalidArgumentError(
            absl::StrCat("total_bytes: ", total_bytes_, ", but ", received_bytes_, " came")));
      }
      return OnFilesThread([this] { return Complete(); });
    }
    if (!begun_) {
      begun_ = true;
      if (const absl::Status status = CheckHeld(*message); !status.ok()) {
        // That its worker was given up may not be on the disk yet. Were this coordinator to die
        // now, the next would adopt the assignment, and with it an outcome that failed for this
        // refusal.
        return loop_.WhenDurable([self = shared_from_this(), status] { self->Fail(status); });
      }
      total_bytes_ = message->total_bytes();
      // Not RESOURCE_EXHAUSTED, as a full disk is: to try again would not help.
      if (total_bytes_ > files_.file_limit_bytes()) {
        return Fail(absl::InvalidArgumentError(absl::StrCat(
            "total_bytes: ", total_bytes_, " is over the limit of ", files_.file_limit_bytes())));
      }
      name_ = {.job = JobId(message->job_id()),
               .assignment = AssignmentId(message->assignment_id()),
               .task = message->task(),
               .stream = message->error_output() ? OutputStream::kError : OutputStream::kOutput};
    }
    received_bytes_ += message->data().size();
    if (received_bytes_ > total_bytes_) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("data: more than total_bytes, which is ", total_bytes_)));
    }
    OnFilesThread([this, data = std::move(*message->mutable_data())] { return Append(data); });
  }

  // What nobody holds can have no outcome that would refer to it.
  absl::Status CheckHeld(const v1::UploadRequest& first) const {
    const State& state = loop_.core().state();
    const Assignment* assignment = state.FindAssignment(AssignmentId(first.assignment_id()));
    if (assignment == nullptr || assignment->job.value() != first.job_id()) {
      const std::string text = absl::StrCat("assignment_id: ", first.assignment_id(), " of job ",
                                            first.job_id(), " is not live");
      // After a restart it may be, once its worker has said hello.
      return state.adopting() ? absl::UnavailableError(text) : absl::NotFoundError(text);
    }
    if (!assignment->tasks.ContainsAll({first.task(), 1})) {
      return absl::NotFoundError(absl::StrCat("task: ", first.task(), " is not one of assignment ",
                                              first.assignment_id()));
    }
    return absl::OkStatus();
  }

  // On the files thread.
  absl::Status Append(const std::string& data) {
    if (writer_ == nullptr) {
      absl::StatusOr<std::unique_ptr<OutputFiles::Writer>> writer = files_.NewWriter(name_);
      if (!writer.ok()) return writer.status();
      writer_ = *std::move(writer);
    }
    return writer_->Append(data);
  }
  absl::Status Complete() {
    if (writer_ == nullptr) {
      if (absl::Status status = Append(""); !status.ok()) return status;
    }
    absl::StatusOr<std::string> reference = writer_->Finish();
    if (!reference.ok()) return reference.status();
    reference_ = *std::move(reference);
    return absl::OkStatus();
  }

  void OnFilesThread(std::function<absl::Status()> work) {
    const bool taken = loop_.files().TryRun(
        [self = shared_from_this(), work = std::move(work)]() -> SideThread::Continuation {
          return [self, status = work()] { self->OnWritten(status); };
        });
    if (!taken)
      Fail(absl::ResourceExhaustedError(
          absl::StrCat("uploads: ", SideThread::kCapacity,
                       " pieces wait for the disk, which is the limit; try again later")));
  }

  void OnWritten(const absl::Status& status) {
    if (!status.ok()) return Fail(status);
    if (reference_.empty()) return ReadNext();
    v1::UploadReply reply;
    reply.set_file(reference_);
    call_->Finish(reply);
    DropWriter();
  }

  void Fail(const absl::Status& status) {
    call_->Finish(status);
    DropWriter();
  }

  // A writer that is not finished removes its file, on the thread that owns files.
  void DropWriter() {
    loop_.files().TryRun([self = shared_from_this()]() -> SideThread::Continuation {
      self->writer_ = nullptr;
      return nullptr;
    });
  }

  Loop& loop_;
  OutputFiles& files_;
  const Call::Pointer call_;
  OutputName name_;
  bool begun_ = false;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t received_bytes_ = 0;
  std::unique_ptr<OutputFiles::Writer> writer_;
  std::string reference_;
};

}  // namespace

void SessionService::Serve(const rpc::ServerQueue& server) {
  AttachedWorker::Call::Serve(server, service_, &Service::RequestAttach, [this](auto call) {
    AttachedWorker::Start(loop_, limits_, std::move(call));
  });
  UploadCall::Serve(server, service_, &Service::RequestUpload, [this](auto call) {
    std::make_shared<Upload>(loop_, files_, std::move(call))->ReadNext();
  });
  DeathCall::Serve(server, service_, &Service::RequestReportDeath, [this](auto call) {
    const v1::DeathCertificate& certificate = call->request();
    loop_.Handle(WorkerDeathReported{
        certificate.incarnation(), std::string(CutUtf8(certificate.cause(), limits_.name_bytes))});
    loop_.WhenDurable([call] { call->Finish(v1::DeathReceipt()); });
  });
}

}  // namespace haul::coordinator
