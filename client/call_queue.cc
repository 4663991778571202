#include "client/call_queue.h"

namespace haul::client {

CallQueue::~CallQueue() {
  queue_.Shutdown();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    Run();  // gRPC wants it emptied
  }
}

void CallQueue::Start() {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
}

void CallQueue::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) static_cast<rpc::Tag*>(tag)->Done(ok);
}

}  // namespace haul::client
