// The calls that stream, and how they go on after a lost connection.
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/convert.h"
#include "client/follow.h"
#include "client/impl.h"
#include "client/request_id.h"
#include "common/config.h"
#include "common/packed_bytes.h"
#include "common/utf8.h"
#include "common/wire/convert.h"

namespace haul::client {
namespace {

// A message holds inputs of about this size, so that neither side buffers much.
constexpr std::size_t kPackBytes = 512 << 10;
constexpr std::uint64_t kPackCount = 1 << 16;
// Below gRPC's limit for a message, 4 MiB, with room for the rest of it.
constexpr std::size_t kMostInputBytes = (4 << 20) - (64 << 10);

// Writes all of `inputs`; stops early, with success, when the coordinator has closed the call: its
// reply then says why. `first` goes with the first message.
class InputWriter {
 public:
  InputWriter(grpc::ClientWriter<v1::SubmitRequest>& writer, v1::SubmitRequest first)
      : writer_(writer), request_(std::move(first)), may_be_none_(request_.spec().open()) {}

  Status WriteAll(InputSource& inputs) {
    std::string value;
    while (inputs.Next(&value)) {
      ++count_;
      if (value.size() > kMostInputBytes) {
        return {ErrorKind::kInvalid, "inputs: value " + std::to_string(count_) + " has " +
                                         std::to_string(value.size()) + " bytes; the limit is " +
                                         std::to_string(kMostInputBytes)};
      }
      if (pack_.byte_count() + value.size() > kPackBytes || pack_.count() == kPackCount) {
        if (!Flush()) return Status();
      }
      pack_.Append(value);
    }
    if (Status status = inputs.status(); !status.ok()) return status;
    if (count_ == 0 && !may_be_none_)
      return {ErrorKind::kInvalid, "inputs: there are none, so there is no task"};
    request_.set_complete(true);
    Flush(/*is_last=*/true);
    return Status();
  }

 private:
  bool Flush(bool is_last = false) {
    if (pack_.count() > 0) {
      request_.set_input_count(pack_.count());
      wire::ToWire(std::move(pack_), request_.mutable_inputs());
    }
    const auto options = is_last ? grpc::WriteOptions().set_last_message() : grpc::WriteOptions();
    const bool open = writer_.Write(request_, options);
    request_.Clear();
    pack_ = PackedBytes();
    return open;
  }

  grpc::ClientWriter<v1::SubmitRequest>& writer_;
  v1::SubmitRequest request_;
  const bool may_be_none_;
  PackedBytes pack_;
  std::uint64_t count_ = 0;
};

v1::SubmitRequest FirstRequest(const JobSpec& spec, std::string request_id) {
  v1::SubmitRequest first;
  ToWire(spec, first.mutable_spec());
  first.set_request_id(std::move(request_id));
  first.set_owner(ToUtf8(UserName()));
  return first;
}

// Names are text on the wire, and a message with other bytes could not even be read.
Status CheckText(const char* field, const std::string& text) {
  if (IsUtf8(text)) return {};
  return Status(ErrorKind::kInvalid, absl::StrCat(field, ": \"", ToUtf8(text), "\" is not UTF-8"));
}

Status CheckNames(const JobSpec& spec, const std::string& request_id) {
  if (Status name = CheckText("name", spec.name); !name.ok()) return name;
  if (Status id = CheckText("request_id", request_id); !id.ok()) return id;
  if (const auto* function = std::get_if<FunctionCall>(&spec.work)) {
    return CheckText("function", function->name);
  }
  for (const auto& [name, value] : std::get<Command>(spec.work).environment) {
    if (Status variable = CheckText("environment", name); !variable.ok()) return variable;
  }
  return {};
}

}  // namespace

Result<Submitted> Client::Submit(const JobSpec& spec, InputSource& inputs, std::string request_id) {
  if (Status names = CheckNames(spec, request_id); !names.ok()) return names;
  if (request_id.empty()) request_id = NewRequestId();
  const v1::SubmitRequest first = FirstRequest(spec, request_id);
  if (first.ByteSizeLong() > kMostInputBytes) {
    return Status(ErrorKind::kInvalid, "the command with its arguments and environment has " +
                                           std::to_string(first.ByteSizeLong()) +
                                           " bytes; the limit is " +
                                           std::to_string(kMostInputBytes));
  }
  Patience patience(*impl_->channel, impl_->reconnect_timeout, impl_->stop);
  while (true) {
    grpc::ClientContext context;
    impl_->Authorize(context);
    context.set_initial_metadata_corked(true);  // it leaves with the first message
    const CancelOnStop cancel(context, impl_->stop);
    v1::SubmitReply reply;
    const auto writer = impl_->jobs->Submit(&context, &reply);
    if (spec.array.has_value()) {
      v1::SubmitRequest only = first;
      only.set_complete(true);
      writer->WriteLast(only, grpc::WriteOptions());
    } else if (Status written = InputWriter(*writer, first).WriteAll(inputs); !written.ok()) {
      context.TryCancel();  // a submit that is not complete has submitted nothing
      (void)writer->Finish();
      return written;
    }
    const Status status = impl_->ToStatus(writer->Finish());
    if (status.ok()) return Submitted{JobId{reply.job_id()}, reply.already_accepted()};
    if (impl_->stop.stop_requested()) return Stopped();
    if (status.kind() != ErrorKind::kUnreachable) return status;
    if (!spec.array.has_value() && !inputs.Rewind()) {
      return Status(ErrorKind::kUnreachable,
                    status.message() +
                        "; the job may or may not have been accepted: repeat with "
                        "the same inputs and the request id " +
                        request_id);
    }
    if (!patience.TryAgain(status)) return impl_->stop.stop_requested() ? Stopped() : status;
  }
}

Result<Submitted> Client::Submit(const JobSpec& spec, std::string request_id) {
  ListSource one({""});
  if (spec.array.has_value() || std::holds_alternative<FunctionCall>(spec.work)) {
    return Submit(spec, one, std::move(request_id));
  }
  // An input, even an empty one, would become an argument of the command.
  JobSpec single = spec;
  single.array = Array();
  return Submit(single, one, std::move(request_id));
}

namespace {

// One follow of a job over as many connections as it takes.
class Follower {
 public:
  Follower(const JobRef& job, const FollowOptions& options) : cursor_(job, options) {}

  // Reads one connection to its end. `stopped` is set when `on_update` wanted no more.
  grpc::Status Read(v1::Jobs::Stub& jobs, grpc::ClientContext& context, Patience& patience,
                    const std::function<bool(FollowUpdate&)>& on_update, bool* stopped) {
    const auto reader = jobs.Follow(&context, cursor_.request());
    v1::FollowReply reply;
    while (reader->Read(&reply)) {
      patience.OnProgress();
      Result<FollowUpdate> update = cursor_.Take(std::move(reply));
      if (!update.ok()) {
        context.TryCancel();
        (void)reader->Finish();
        return grpc::Status(grpc::StatusCode::INTERNAL, update.status().message());
      }
      if (!on_update(*update)) {
        *stopped = true;
        context.TryCancel();
        break;
      }
      reply = v1::FollowReply();
    }
    return reader->Finish();
  }

 private:
  FollowCursor cursor_;
};

}  // namespace

Status Client::Follow(const JobRef& job, const FollowOptions& options,
                      const std::function<bool(FollowUpdate&)>& on_update, std::stop_token stop) {
  Follower follower(job, options);
  Patience patience(*impl_->channel, impl_->reconnect_timeout, stop);
  while (true) {
    bool stopped = false;
    grpc::Status read;
    {
      grpc::ClientContext context;
      impl_->Authorize(context);
      const CancelOnStop cancel(context, stop);
      read = follower.Read(*impl_->jobs, context, patience, on_update, &stopped);
    }
    if (stopped) return Stopped();
    if (read.ok()) return Status();
    if (stop.stop_requested()) return Stopped();
    const Status status = impl_->ToStatus(read);
    if (status.kind() == ErrorKind::kUnreachable && patience.first_failure() &&
        options.on_connection_lost) {
      options.on_connection_lost(status);
    }
    if (!patience.TryAgain(status)) return stop.stop_requested() ? Stopped() : status;
  }
}

Result<JobStatus> Client::Wait(const JobRef& job, std::optional<std::chrono::milliseconds> timeout,
                               std::stop_token stop) {
  std::stop_source ended;
  const std::stop_callback on_stop(stop, [&ended] { ended.request_stop(); });
  std::jthread timer;
  if (timeout.has_value()) {
    timer = std::jthread([&ended, timeout](const std::stop_token& done) {
      std::mutex mutex;
      std::condition_variable_any wake;
      std::unique_lock lock(mutex);
      wake.wait_for(lock, done, *timeout, [] { return false; });
      if (!done.stop_requested()) ended.request_stop();
    });
  }
  std::optional<JobStatus> last;
  const Status followed = Follow(
      job, {.with_payload = false, .status_only = true},
      [&last](FollowUpdate& update) {
        if (update.status.has_value()) last = std::move(update.status);
        return !last.has_value() || !last->ended();
      },
      ended.get_token());
  if (last.has_value() && last->ended()) return *std::move(last);
  if (stop.stop_requested()) return Stopped();
  // A name, or "last", may mean another job by now.
  if (followed.kind() == ErrorKind::kStopped) return GetJob(last.has_value() ? last->id : job);
  if (!followed.ok()) return followed;
  return Status(ErrorKind::kFailed, "the coordinator stopped telling before the job had ended");
}

Status Client::FetchOutput(JobId job, const std::string& file,
                           const std::function<bool(std::string_view)>& on_piece,
                           std::uint64_t offset, std::stop_token stop) {
  v1::FetchOutputRequest request;
  request.set_job_id(job.value);
  request.set_file(file);
  request.set_offset(offset);
  Patience patience(*impl_->channel, impl_->reconnect_timeout, stop);
  while (true) {
    grpc::Status read;
    {
      grpc::ClientContext context;
      impl_->Authorize(context);
      const CancelOnStop cancel(context, stop);
      const auto reader = impl_->jobs->FetchOutput(&context, request);
      v1::OutputPiece piece;
      while (reader->Read(&piece)) {
        patience.OnProgress();
        request.set_offset(request.offset() + piece.data().size());
        if (!on_piece(piece.data())) {
          context.TryCancel();
          (void)reader->Finish();
          return Stopped();
        }
      }
      read = reader->Finish();
    }
    if (read.ok()) return Status();
    const Status status = impl_->ToStatus(read);
    if (!patience.TryAgain(status)) return stop.stop_requested() ? Stopped() : status;
  }
}

}  // namespace haul::client
