// One Jobs.Extend: more tasks for an open job, message by message, answered when they are durable,
// up to 2 ms later where one reply can stand for several.
// What is read and not yet answered is bounded by the store's backlog. Loop thread.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "coordinator/rpc/convert.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::coordinator {

class ExtendCall : public std::enable_shared_from_this<ExtendCall> {
 public:
  using Call = rpc::BidiCall<v1::Jobs::AsyncService, v1::ExtendRequest, v1::ExtendReply>;

  // `loop` outlives the server and so every call.
  static void Start(Loop& loop, const Limits& limits, Call::Pointer call);

 private:
  ExtendCall(Loop& loop, const Limits& limits, Call::Pointer call)
      : loop_(loop), limits_(limits), call_(std::move(call)) {}
  void ReadNext();
  void OnMessage(v1::ExtendRequest* message);
  absl::Status Take(v1::ExtendRequest& message);
  void OnAnswer(const Answer& answer);
  // Ends the call with this, once what was read before it is answered.
  void End(absl::Status status);
  void WriteOrFinish();
  void ReplySoon();

  Loop& loop_;
  const Limits limits_;
  const Call::Pointer call_;
  JobId job_;
  std::uint64_t unanswered_ = 0;
  bool reads_are_over_ = false;
  bool writing_ = false;
  bool finished_ = false;
  bool has_replied_ = false;
  bool replies_soon_ = false;             // a timer is set
  std::optional<v1::ExtendReply> reply_;  // the latest; the one before it need not leave
  absl::Status error_;
};

}  // namespace haul::coordinator
