// One Jobs.Submit under way: inputs are staged in the store as they come, and the job exists when
// the message that says it is complete has come. A client that vanishes before that leaves nothing.
// Loop thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "coordinator/rpc/convert.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::coordinator {

class SubmitCall : public std::enable_shared_from_this<SubmitCall> {
 public:
  using Call = rpc::ClientStreamCall<v1::Jobs::AsyncService, v1::SubmitRequest, v1::SubmitReply>;

  // `loop` outlives the server and so every call.
  static void Start(Loop& loop, const Limits& limits, Call::Pointer call);

 private:
  SubmitCall(Loop& loop, const Limits& limits, Call::Pointer call)
      : loop_(loop), limits_(limits), call_(std::move(call)) {}
  void ReadNext();
  void OnMessage(v1::SubmitRequest* message);
  absl::Status Take(v1::SubmitRequest& message);
  void Accept();
  void Drop();

  Loop& loop_;
  const Limits limits_;
  const Call::Pointer call_;
  bool begun_ = false;
  v1::JobSpec wire_spec_;
  JobSpec spec_;
  InputSetId input_set_;
  std::uint64_t input_count_ = 0;
  std::uint64_t input_bytes_ = 0;
  InputSizes input_sizes_;
};

}  // namespace haul::coordinator
