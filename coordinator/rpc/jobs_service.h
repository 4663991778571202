// The Jobs service on the loop's completion queue. Loop thread.
#pragma once

#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/store/output_files.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::coordinator {

class JobsService {
 public:
  // `loop` and `files` outlive this, and this outlives the server.
  JobsService(Loop& loop, OutputFiles& files, const Limits& limits)
      : loop_(loop), files_(files), limits_(limits) {}

  grpc::Service& service() { return service_; }
  void Serve(const rpc::ServerQueue& server);

 private:
  using Service = v1::Jobs::AsyncService;
  template <typename Request, typename Reply>
  using Unary = rpc::UnaryCall<Service, Request, Reply>;
  using GetCall = Unary<v1::GetJobRequest, v1::JobStatus>;
  using ListCall = Unary<v1::ListJobsRequest, v1::ListJobsReply>;
  using CancelCall = Unary<v1::CancelJobRequest, v1::JobStatus>;
  using ForgetCall = Unary<v1::ForgetJobRequest, v1::ForgetJobReply>;
  using FetchCall = rpc::ServerStreamCall<Service, v1::FetchOutputRequest, v1::OutputPiece>;

  void Get(const GetCall::Pointer& call);
  void List(const ListCall::Pointer& call);
  void Cancel(const CancelCall::Pointer& call);
  void Forget(const ForgetCall::Pointer& call);
  void Fetch(const FetchCall::Pointer& call, std::uint64_t offset);

  Loop& loop_;
  OutputFiles& files_;
  const Limits limits_;
  Service service_;
};

}  // namespace haul::coordinator
