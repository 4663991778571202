// Server calls on a completion queue, one class for each shape of RPC.
//
// A call object waits for its call, checks the token, gives itself to the handler and waits for the
// next one by a new object. It lives until its last operation came back, whoever drops it first:
// handlers hold shared_ptrs. Everything runs on the thread that polls the queue. One read and one
// write are in flight at most; OnDone runs once, when the stream is over for whatever reason (also
// a vanished client). When the server ends, what handlers wait for does not come any more.
#pragma once

#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/completion_queue_loop.h"
#include "common/rpc/status.h"
#include "common/rpc/token.h"

namespace haul::rpc {

// An operation under way keeps its call alive and runs `then` when it comes back.
class Operation final : public Tag {
 public:
  // A fresh tag for `call`; deleted when it is done.
  static Operation* Of(std::shared_ptr<void> call, std::function<void(bool ok)> then) {
    return new Operation(std::move(call), std::move(then));
  }
  void Done(bool ok) override {
    const std::unique_ptr<Operation> self(this);
    then_(ok);
  }
  void Dropped() override { delete this; }

 private:
  Operation(std::shared_ptr<void> call, std::function<void(bool)> then)
      : call_(std::move(call)), then_(std::move(then)) {}

  const std::shared_ptr<void> call_;
  const std::function<void(bool)> then_;
};

// gRPC tells of a message that cannot be parsed as it tells of the stream's end. But parsing begins
// by clearing what it fills, so a mark that was set before and is gone tells them apart.
template <typename Message>
class ReadMark {
 public:
  static void Set(Message& message) {
    auto* fields = message.GetReflection()->MutableUnknownFields(&message);
    fields->Clear();
    fields->AddVarint(kField, kValue);
  }
  static bool IsSet(const Message& message) {
    const auto& fields = message.GetReflection()->GetUnknownFields(message);
    return fields.field_count() == 1 && fields.field(0).number() == kField &&
           fields.field(0).type() == google::protobuf::UnknownField::TYPE_VARINT &&
           fields.field(0).varint() == kValue;
  }
  static absl::Status Unreadable() {
    return absl::InvalidArgumentError(absl::StrCat(
        "the message is no ", Message::descriptor()->full_name(), "; texts in it must be UTF-8"));
  }

 private:
  static constexpr int kField = (1 << 29) - 1;
  static constexpr std::uint64_t kValue = 0x6861756c;
};

struct ServerQueue {
  grpc::ServerCompletionQueue* queue = nullptr;
  std::optional<std::string> token;  // none: anybody may call

  absl::Status Admit(const grpc::ServerContext& context) const {
    return token.has_value() ? CheckToken(*token, context) : absl::OkStatus();
  }
};

// What all shapes have in common. A `Call` says by Await how it waits for its method, and by
// OnBegun what it does first when it is called.
template <typename Call>
class ServedCall : public std::enable_shared_from_this<Call> {
 public:
  using Pointer = std::shared_ptr<Call>;
  using Handler = std::function<void(Pointer)>;

  template <typename Service, typename Method>
  static void Serve(const ServerQueue& server, Service& service, Method method, Handler handler) {
    const Pointer call(new Call);
    call->Await(server.queue, service, method,
                Operation::Of(call, [=, &service, raw = call.get()](bool ok) {
                  if (!ok) return;  // the server shuts down
                  raw->OnBegun();
                  Serve(server, service, method, handler);
                  if (absl::Status status = server.Admit(raw->context_); !status.ok()) {
                    return raw->Finish(status);
                  }
                  handler(raw->shared_from_this());
                }));
  }

 protected:
  ServedCall() = default;
  void OnBegun() {}

  grpc::ServerContext context_;
};

template <typename Service, typename Request, typename Reply>
class UnaryCall : public ServedCall<UnaryCall<Service, Request, Reply>> {
 public:
  using Method = void (Service::*)(grpc::ServerContext*, Request*,
                                   grpc::ServerAsyncResponseWriter<Reply>*, grpc::CompletionQueue*,
                                   grpc::ServerCompletionQueue*, void*);

  Request& request() { return request_; }
  const grpc::ServerContext& context() const { return this->context_; }
  // One of these, once.
  void Finish(const Reply& reply) {
    responder_.Finish(reply, grpc::Status::OK,
                      Operation::Of(this->shared_from_this(), [](bool) {}));
  }
  void Finish(const absl::Status& error) {
    HAUL_CHECK(!error.ok());
    responder_.FinishWithError(ToGrpc(error), Operation::Of(this->shared_from_this(), [](bool) {}));
  }

 private:
  friend class ServedCall<UnaryCall>;
  UnaryCall() = default;
  void Await(grpc::ServerCompletionQueue* queue, Service& service, Method method, Tag* tag) {
    (service.*method)(&this->context_, &request_, &responder_, queue, queue, tag);
  }

  Request request_;
  grpc::ServerAsyncResponseWriter<Reply> responder_{&this->context_};
};

template <typename Service, typename Request, typename Reply>
class ServerStreamCall : public ServedCall<ServerStreamCall<Service, Request, Reply>> {
 public:
  using typename ServedCall<ServerStreamCall>::Pointer;
  using Method = void (Service::*)(grpc::ServerContext*, Request*, grpc::ServerAsyncWriter<Reply>*,
                                   grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);

  Request& request() { return request_; }
  bool over() const { return done_tag_.over(); }
  void set_on_done(std::function<void()> fn) { done_tag_.set_on_done(std::move(fn)); }
  // Not while another is in flight. `then(false)`: the client is gone.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved, unseen in a template.
  void Write(const Reply& reply, std::function<void(bool ok)> then) {
    writer_.Write(reply, Operation::Of(this->shared_from_this(), std::move(then)));
  }
  void Finish(const absl::Status& status) {
    writer_.Finish(ToGrpc(status), Operation::Of(this->shared_from_this(), [](bool) {}));
  }

 private:
  friend class ServedCall<ServerStreamCall>;
  ServerStreamCall() = default;
  void Await(grpc::ServerCompletionQueue* queue, Service& service, Method method, Tag* tag) {
    this->context_.AsyncNotifyWhenDone(&done_tag_);
    (service.*method)(&this->context_, &request_, &writer_, queue, queue, tag);
  }
  void OnBegun() { done_tag_.Arm(this->shared_from_this()); }

  // Told by gRPC when the call is over, if it ever began.
  class DoneTag final : public Tag {
   public:
    void Arm(Pointer call) { call_ = std::move(call); }
    bool over() const { return over_; }
    void set_on_done(std::function<void()> fn) { on_done_ = std::move(fn); }
    void Done(bool) override {
      over_ = true;
      const Pointer call = std::exchange(call_, nullptr);
      if (const auto fn = std::exchange(on_done_, nullptr)) fn();
    }
    void Dropped() override {
      over_ = true;
      const Pointer call = std::exchange(call_, nullptr);
      on_done_ = nullptr;
    }

   private:
    Pointer call_;
    std::function<void()> on_done_;
    bool over_ = false;
  };

  Request request_;
  grpc::ServerAsyncWriter<Reply> writer_{&this->context_};
  DoneTag done_tag_;
};

template <typename Service, typename Request, typename Reply>
class ClientStreamCall : public ServedCall<ClientStreamCall<Service, Request, Reply>> {
 public:
  using Method = void (Service::*)(grpc::ServerContext*, grpc::ServerAsyncReader<Reply, Request>*,
                                   grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);

  // Not while another is in flight. `then(nullptr)`: the client closed its side or is gone, which
  // cannot be told apart here; finishing does no harm in either case. Or what came is unreadable.
  void Read(std::function<void(Request*)> then) {
    ReadMark<Request>::Set(request_);
    reader_.Read(&request_, Operation::Of(this->shared_from_this(), [this, then](bool ok) {
      then(ok ? &request_ : nullptr);
    }));
  }
  // After a read that gave nullptr: why, if the client is to blame; otherwise OK.
  absl::Status read_error() const {
    return ReadMark<Request>::IsSet(request_) ? absl::OkStatus() : ReadMark<Request>::Unreadable();
  }
  void Finish(const Reply& reply) {
    reader_.Finish(reply, grpc::Status::OK, Operation::Of(this->shared_from_this(), [](bool) {}));
  }
  void Finish(const absl::Status& error) {
    HAUL_CHECK(!error.ok());
    reader_.FinishWithError(ToGrpc(error), Operation::Of(this->shared_from_this(), [](bool) {}));
  }

 private:
  friend class ServedCall<ClientStreamCall>;
  ClientStreamCall() = default;
  void Await(grpc::ServerCompletionQueue* queue, Service& service, Method method, Tag* tag) {
    (service.*method)(&this->context_, &reader_, queue, queue, tag);
  }

  Request request_;
  grpc::ServerAsyncReader<Reply, Request> reader_{&this->context_};
};

template <typename Service, typename Request, typename Reply>
class BidiCall : public ServedCall<BidiCall<Service, Request, Reply>> {
 public:
  using Method = void (Service::*)(grpc::ServerContext*,
                                   grpc::ServerAsyncReaderWriter<Reply, Request>*,
                                   grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);

  // Not while another is in flight; then(nullptr): nothing more comes, or what came is unreadable.
  void Read(std::function<void(Request*)> then) {
    ReadMark<Request>::Set(request_);
    stream_.Read(&request_, Operation::Of(this->shared_from_this(), [this, then](bool ok) {
      then(ok ? &request_ : nullptr);
    }));
  }
  // After a read that gave nullptr: why, if the client is to blame; otherwise OK.
  absl::Status read_error() const {
    return ReadMark<Request>::IsSet(request_) ? absl::OkStatus() : ReadMark<Request>::Unreadable();
  }
  // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved, unseen in a template.
  void Write(const Reply& reply, std::function<void(bool ok)> then) {
    stream_.Write(reply, Operation::Of(this->shared_from_this(), std::move(then)));
  }
  void Finish(const absl::Status& status) {
    stream_.Finish(ToGrpc(status), Operation::Of(this->shared_from_this(), [](bool) {}));
  }
  // Ends it now, whatever is in flight: that comes back not ok.
  void Abort() { this->context_.TryCancel(); }

 private:
  friend class ServedCall<BidiCall>;
  BidiCall() = default;
  void Await(grpc::ServerCompletionQueue* queue, Service& service, Method method, Tag* tag) {
    (service.*method)(&this->context_, &stream_, queue, queue, tag);
  }

  Request request_;
  grpc::ServerAsyncReaderWriter<Reply, Request> stream_{&this->context_};
};

}  // namespace haul::rpc
