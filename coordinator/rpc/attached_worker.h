// One worker's stream: the loop's SessionPort on one side, a gRPC stream on the other. What gathers
// behind a write in flight is merged into one message. Loop thread; keeps itself alive until the
// stream is over.
#pragma once

#include <deque>
#include <memory>

#include "common/rpc/server_calls.h"
#include "coordinator/loop/loop.h"
#include "coordinator/loop/ports.h"
#include "coordinator/rpc/convert.h"
#include "haul/v1/session.grpc.pb.h"

namespace haul::coordinator {

class AttachedWorker final : public SessionPort,
                             public std::enable_shared_from_this<AttachedWorker> {
 public:
  using Call =
      rpc::BidiCall<v1::WorkerSession::AsyncService, v1::WorkerMessage, v1::CoordinatorMessage>;

  static void Start(Loop& loop, const Limits& limits, Call::Pointer call);

  void Welcome(const SendWelcome& welcome) override;
  void Assign(const SendAssignment& assignment, const std::string* job_template,
              const PackedBytes& inputs) override;
  void Revoke(const SendRevoke& revoke) override;
  void Cancel(const SendCancel& cancel) override;
  void Durable(std::uint64_t through) override;
  void Drain(std::uint64_t deadline_ms) override;
  void Stop() override;
  void Depart() override;
  void Send() override;
  void Close(const absl::Status& status) override;

 private:
  AttachedWorker(Loop& loop, const Limits& limits, Call::Pointer call);
  void ReadNext();
  void OnMessage(v1::WorkerMessage* message);
  absl::Status Take(v1::WorkerMessage& message);
  void End();

  // The message that what is to be sent now goes into; `bytes` are about to be added.
  v1::CoordinatorMessage& Outgoing(std::size_t bytes = 0);
  // After the turn's effects: a write leaves when none is in flight.
  void WriteNext();

  struct Bundle {
    v1::CoordinatorMessage message;
    std::size_t bytes = 0;
  };

  Loop& loop_;
  const Limits limits_;
  const Call::Pointer call_;
  SessionId session_;
  bool greeted_ = false;
  bool over_ = false;  // nothing is sent or read any more
  bool writing_ = false;
  bool closing_ = false;  // finish when what is queued was written
  absl::Status close_status_;
  std::deque<Bundle> outgoing_;
};

}  // namespace haul::coordinator
