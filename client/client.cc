// Connecting, and the calls with one reply.
#include <grpc/grpc.h>
#include <unistd.h>

#include <utility>

#include "client/convert.h"
#include "client/impl.h"
#include "common/config.h"
#include "common/utf8.h"

namespace haul::client {
namespace {

Status FromAbsl(const absl::Status& status) {
  const std::string message(status.message());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return {ErrorKind::kInvalid, message};
    case absl::StatusCode::kPermissionDenied:
      return {ErrorKind::kRefused, message};
    default:
      return {ErrorKind::kFailed, message};
  }
}

// Fills in what is empty in `options`.
Status Resolve(const ConnectOptions& options, std::string* address, std::string* token) {
  const absl::StatusOr<Config> config = LoadConfig({.coordinator = options.coordinator,
                                                    .data_dir = options.data_dir,
                                                    .token_file = options.token_file});
  if (!config.ok()) return FromAbsl(config.status());
  *address = config->coordinator;
  if (address->empty()) {
    return {ErrorKind::kUnreachable,
            "no coordinator is known (" + config->data_dir +
                "/address does not exist): start one with `haul up`, or name one with "
                "--coordinator or HAUL_COORDINATOR"};
  }
  *token = options.token;
  if (!token->empty()) return Status();
  absl::StatusOr<std::string> read = ReadToken(*config);
  if (!read.ok()) return FromAbsl(read.status());
  *token = *std::move(read);
  return Status();
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  // A coordinator that starts is found within a tenth of a second, and not asked more than once a
  // second.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A call that waits for long notices when the other machine is gone.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no limit: it sends nothing else
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // No lookup of service configurations by DNS, and no channel shared between clients.
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  constexpr int kMostReceivedBytes = 64 << 20;
  arguments.SetMaxReceiveMessageSize(kMostReceivedBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Status Client::Impl::ToStatus(const grpc::Status& status) const {
  const std::string& message = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return Status();
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return {ErrorKind::kInvalid, message};
    case grpc::StatusCode::NOT_FOUND:
      return {ErrorKind::kNotFound, message};
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return {ErrorKind::kRefused, message};
    case grpc::StatusCode::UNAVAILABLE:
      return {ErrorKind::kUnreachable,
              "the coordinator at " + address + " cannot be reached: " + message};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {ErrorKind::kUnreachable, "the coordinator at " + address + " did not answer in time"};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {ErrorKind::kFailed,
              "what answers at " + address + " is no coordinator, or one of another version"};
    case grpc::StatusCode::CANCELLED:  // not by us, so by a coordinator on its way out
      return {ErrorKind::kUnreachable, "the coordinator at " + address + " cut the call off"};
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::DATA_LOSS:
    case grpc::StatusCode::DO_NOT_USE:
      break;
  }
  return {ErrorKind::kFailed, message.empty() ? "the call failed" : message};
}

std::string UserName() {
  for (const char* variable : {"USER", "LOGNAME"}) {
    if (const std::optional<std::string> name = ProcessEnvironment(variable)) return *name;
  }
  return "uid " + std::to_string(geteuid());
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(const ConnectOptions& options) {
  auto impl = std::make_unique<Impl>();
  if (Status resolved = Resolve(options, &impl->address, &impl->token); !resolved.ok()) {
    return resolved;
  }
  impl->reconnect_timeout = options.reconnect_timeout;
  impl->stop = options.stop;
  impl->channel = MakeChannel(impl->address);
  impl->jobs = v1::Jobs::NewStub(impl->channel);
  impl->cluster = v1::Cluster::NewStub(impl->channel);

  // The first call tells at once whether somebody answers and whether the token is right.
  grpc::ClientContext context;
  impl->Authorize(context);
  const CancelOnStop cancel(context, impl->stop);
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + options.timeout);
  v1::InfoReply reply;
  const grpc::Status asked = impl->cluster->Info(&context, v1::InfoRequest(), &reply);
  if (impl->stop.stop_requested()) return Stopped();
  if (asked.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ||
      asked.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return Status(ErrorKind::kUnreachable,
                  "the coordinator at " + impl->address + " cannot be reached (waited " +
                      std::to_string(options.timeout.count()) +
                      " ms): is it running? Start one with `haul up` or `haul coordinator start`");
  }
  if (asked.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
      asked.error_code() == grpc::StatusCode::PERMISSION_DENIED) {
    return Status(ErrorKind::kRefused,
                  "the coordinator at " + impl->address + " refuses the token (" +
                      asked.error_message() +
                      "): name its token file with --token-file or HAUL_TOKEN_FILE");
  }
  if (!asked.ok()) return impl->ToStatus(asked);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

const std::string& Client::address() const { return impl_->address; }

Result<JobStatus> Client::GetJob(const JobRef& job) {
  v1::GetJobRequest request;
  ToWire(job, request.mutable_job());
  v1::JobStatus reply;
  if (Status status = impl_->Call(*impl_->jobs, &v1::Jobs::Stub::Get, request, &reply);
      !status.ok()) {
    return status;
  }
  return FromWire(std::move(reply));
}

Result<std::vector<JobStatus>> Client::ListJobs(std::uint32_t limit, bool active_only,
                                                std::optional<JobId> before) {
  v1::ListJobsRequest request;
  request.set_limit(limit);
  request.set_active_only(active_only);
  request.set_before_id(before.value_or(JobId{}).value);
  v1::ListJobsReply reply;
  if (Status status = impl_->Call(*impl_->jobs, &v1::Jobs::Stub::List, request, &reply);
      !status.ok()) {
    return status;
  }
  std::vector<JobStatus> jobs;
  for (v1::JobStatus& job : *reply.mutable_jobs()) jobs.push_back(FromWire(std::move(job)));
  return jobs;
}

Result<JobStatus> Client::Cancel(const JobRef& job, const std::stop_token& stop) {
  v1::CancelJobRequest request;
  ToWire(job, request.mutable_job());
  return impl_->Cancel(request, stop);
}

Result<JobStatus> Client::CancelTasks(const JobRef& job, const std::vector<TaskRange>& tasks,
                                      const std::stop_token& stop) {
  // Or it would cancel the whole job.
  if (tasks.empty()) return Status(ErrorKind::kInvalid, "tasks: none; say which to cancel");
  v1::CancelJobRequest request;
  ToWire(job, request.mutable_job());
  for (const TaskRange& range : tasks) {
    v1::TaskRange& wire = *request.add_tasks();
    wire.set_first(range.first);
    wire.set_count(range.count);
  }
  return impl_->Cancel(request, stop);
}

Result<JobStatus> Client::Impl::Cancel(v1::CancelJobRequest& request,
                                       const std::stop_token& unwanted) const {
  request.set_by(ToUtf8(UserName()));
  v1::JobStatus reply;
  if (Status status = Call(*jobs, &v1::Jobs::Stub::Cancel, request, &reply, unwanted);
      !status.ok()) {
    return status;
  }
  return FromWire(std::move(reply));
}

Result<JobId> Client::Forget(const JobRef& job) {
  v1::ForgetJobRequest request;
  ToWire(job, request.mutable_job());
  v1::ForgetJobReply reply;
  if (Status status = impl_->Call(*impl_->jobs, &v1::Jobs::Stub::Forget, request, &reply);
      !status.ok()) {
    return status;
  }
  return JobId{reply.job_id()};
}

Result<std::vector<WorkerStatus>> Client::Workers() {
  v1::ListWorkersReply reply;
  if (Status status = impl_->Call(*impl_->cluster, &v1::Cluster::Stub::ListWorkers,
                                  v1::ListWorkersRequest(), &reply);
      !status.ok()) {
    return status;
  }
  std::vector<WorkerStatus> workers;
  for (v1::WorkerStatus& worker : *reply.mutable_workers()) {
    workers.push_back(FromWire(std::move(worker)));
  }
  return workers;
}

Result<WorkerStatus> Client::Worker(const std::string& worker) {
  v1::ListWorkersRequest request;
  request.set_worker(ToUtf8(worker));
  v1::ListWorkersReply reply;
  if (Status status =
          impl_->Call(*impl_->cluster, &v1::Cluster::Stub::ListWorkers, request, &reply);
      !status.ok()) {
    return status;
  }
  if (reply.workers().empty()) return Status(ErrorKind::kNotFound, "no worker \"" + worker + "\"");
  return FromWire(std::move(*reply.mutable_workers(0)));
}

Result<WorkerStatus> Client::Drain(const std::string& worker, std::uint64_t deadline_ms) {
  v1::DrainWorkerRequest request;
  request.set_worker(ToUtf8(worker));
  request.set_deadline_ms(deadline_ms);
  v1::WorkerStatus reply;
  if (Status status =
          impl_->Call(*impl_->cluster, &v1::Cluster::Stub::DrainWorker, request, &reply);
      !status.ok()) {
    return status;
  }
  return FromWire(std::move(reply));
}

Result<WorkerStatus> Client::StopWorker(const std::string& worker) {
  v1::StopWorkerRequest request;
  request.set_worker(ToUtf8(worker));
  v1::WorkerStatus reply;
  if (Status status = impl_->Call(*impl_->cluster, &v1::Cluster::Stub::StopWorker, request, &reply);
      !status.ok()) {
    return status;
  }
  return FromWire(std::move(reply));
}

Result<std::vector<FunctionInfo>> Client::Functions() {
  v1::ListFunctionsReply reply;
  if (Status status = impl_->Call(*impl_->cluster, &v1::Cluster::Stub::ListFunctions,
                                  v1::ListFunctionsRequest(), &reply);
      !status.ok()) {
    return status;
  }
  std::vector<FunctionInfo> functions;
  for (v1::ListFunctionsReply::Function& function : *reply.mutable_functions()) {
    functions.push_back(FromWire(std::move(*function.mutable_info())));
    functions.back().workers = function.workers();
  }
  return functions;
}

Result<CoordinatorInfo> Client::Info() {
  v1::InfoReply reply;
  if (Status status =
          impl_->Call(*impl_->cluster, &v1::Cluster::Stub::Info, v1::InfoRequest(), &reply);
      !status.ok()) {
    return status;
  }
  return FromWire(std::move(reply));
}

Status Client::StopCoordinator() {
  v1::StopReply reply;
  return impl_->Call(*impl_->cluster, &v1::Cluster::Stub::Stop, v1::StopRequest(), &reply);
}

}  // namespace haul::client
