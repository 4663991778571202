// One Jobs.Follow: pages of outcomes, one in memory at a time, resumed whenever the job says that
// there is more. They are read from the store beside the loop, or, by one who has all that came
// before, taken as they are committed. Loop thread.
#pragma once

#include <memory>

#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "haul/v1/jobs.grpc.pb.h"

namespace haul::coordinator {

class FollowCall : public std::enable_shared_from_this<FollowCall> {
 public:
  using Call = rpc::ServerStreamCall<v1::Jobs::AsyncService, v1::FollowRequest, v1::FollowReply>;

  static void Start(Loop& loop, const Call::Pointer& call);

 private:
  FollowCall(Loop& loop, Call::Pointer call, JobId job);
  // Does the next thing, unless one is under way.
  void Pump();
  void Read();
  void OnPage(absl::StatusOr<OutcomePage> page);
  void Write(const v1::FollowReply& reply, bool last);
  // As it is now: while the job goes on, its counts may be ahead of the disk.
  void AddStatus(v1::FollowReply& reply);
  // With nothing else to say: a status that has changed, now or when the last one is old enough.
  void TellStatus();
  void Finish(const absl::Status& status);

  Loop& loop_;
  const Call::Pointer call_;
  const JobId job_;
  OutcomeQuery query_;
  Loop::WatchId watch_ = 0;
  bool watching_ = false;
  bool reads_recent_ = false;    // wants all of a durable job's outcomes as they come, as most do
  bool caught_up_ = false;       // with what the loop keeps of these
  bool busy_ = false;            // a read, a write or a wait is under way
  bool news_ = true;             // since the last look
  bool status_changed_ = false;  // since it was sent
  bool timer_ = false;
  bool ended_durable_ = false;  // seen, and on the disk
  bool finished_ = false;
  std::int64_t status_sent_us_ = 0;
};

}  // namespace haul::coordinator
