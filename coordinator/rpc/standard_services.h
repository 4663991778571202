// gRPC's standard health and reflection services, on the loop's completion queue like the others:
// gRPC's own bring queues and threads of their own, which are woken for every message of every
// connection and hand it over. No token is asked for. Loop thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "common/rpc/server_calls.h"
#include "standard/health.grpc.pb.h"
#include "standard/reflection.grpc.pb.h"

namespace haul::coordinator {

class StandardServices {
 public:
  // `served`: full names of the services that the server has besides. This outlives the server.
  explicit StandardServices(std::vector<std::string> served);

  std::vector<grpc::Service*> services() { return {&health_, &reflection_}; }
  void Serve(grpc::ServerCompletionQueue* queue);

 private:
  using Health = grpc::health::v1::Health::AsyncService;
  using Reflection = grpc::reflection::v1alpha::ServerReflection::AsyncService;
  using ReflectionCall =
      rpc::BidiCall<Reflection, grpc::reflection::v1alpha::ServerReflectionRequest,
                    grpc::reflection::v1alpha::ServerReflectionResponse>;

  bool IsServed(const std::string& service) const;
  void Reflect(const ReflectionCall::Pointer& call);
  grpc::reflection::v1alpha::ServerReflectionResponse Answer(
      const grpc::reflection::v1alpha::ServerReflectionRequest& request) const;

  const std::vector<std::string> served_;
  std::size_t watches_ = 0;
  Health health_;
  Reflection reflection_;
};

}  // namespace haul::coordinator
