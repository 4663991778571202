#include "coordinator/rpc/standard_services.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace haul::coordinator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr std::size_t kMostWatches = 1000;  // by whom is not known, so of all together

// The file with everything that it imports, each once.
void AddFile(const FileDescriptor* file, std::set<std::string>& seen,
             ServerReflectionResponse& response) {
  if (!seen.insert(file->name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i), seen, response);
}

void SetFile(const FileDescriptor* file, const std::string& asked,
             ServerReflectionResponse& response) {
  std::set<std::string> seen;
  if (file != nullptr) return AddFile(file, seen, response);
  response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
  response.mutable_error_response()->set_error_message(absl::StrCat("there is no ", asked));
}

}  // namespace

StandardServices::StandardServices(std::vector<std::string> served)
    : served_([&served] {
        served.emplace_back(grpc::health::v1::Health::service_full_name());
        served.emplace_back(grpc::reflection::v1alpha::ServerReflection::service_full_name());
        return std::move(served);
      }()) {}

bool StandardServices::IsServed(const std::string& service) const {
  return service.empty() || std::find(served_.begin(), served_.end(), service) != served_.end();
}

void StandardServices::Serve(grpc::ServerCompletionQueue* queue) {
  const rpc::ServerQueue server{queue, std::nullopt};
  using CheckCall = rpc::UnaryCall<Health, HealthCheckRequest, HealthCheckResponse>;
  CheckCall::Serve(server, health_, &Health::RequestCheck, [this](const auto& call) {
    if (!IsServed(call->request().service())) {
      return call->Finish(
          absl::NotFoundError(absl::StrCat("service: there is no ", call->request().service())));
    }
    HealthCheckResponse response;
    response.set_status(HealthCheckResponse::SERVING);
    call->Finish(response);
  });
  // While anybody can ask, it serves: nothing changes before the call ends with the server.
  using WatchCall = rpc::ServerStreamCall<Health, HealthCheckRequest, HealthCheckResponse>;
  WatchCall::Serve(server, health_, &Health::RequestWatch, [this](const auto& call) {
    if (watches_ >= kMostWatches) {
      return call->Finish(absl::ResourceExhaustedError(
          absl::StrCat("watches: there are ", watches_, ", which is the limit; try again later")));
    }
    ++watches_;
    call->set_on_done([this] { --watches_; });
    HealthCheckResponse response;
    response.set_status(IsServed(call->request().service()) ? HealthCheckResponse::SERVING
                                                            : HealthCheckResponse::SERVICE_UNKNOWN);
    call->Write(response, [](bool) {});
  });
  ReflectionCall::Serve(server, reflection_, &Reflection::RequestServerReflectionInfo,
                        [this](const auto& call) { Reflect(call); });
}

void StandardServices::Reflect(const ReflectionCall::Pointer& call) {
  call->Read([this, call](const ServerReflectionRequest* request) {
    if (request == nullptr) return call->Finish(call->read_error());
    call->Write(Answer(*request), [this, call](bool ok) {
      if (ok) return Reflect(call);
      call->Finish(absl::CancelledError("the client is gone"));
    });
  });
}

ServerReflectionResponse StandardServices::Answer(const ServerReflectionRequest& request) const {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : served_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case ServerReflectionRequest::kFileByFilename:
      SetFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(),
              response);
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), response);
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const Descriptor* type = pool.FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* extension =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
      SetFile(extension == nullptr ? nullptr : extension->file(), asked.containing_type(),
              response);
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      // Haul's messages have none.
      if (pool.FindMessageTypeByName(request.all_extension_numbers_of_type()) == nullptr) {
        SetFile(nullptr, request.all_extension_numbers_of_type(), response);
      } else {
        response.mutable_all_extension_numbers_response()->set_base_type_name(
            request.all_extension_numbers_of_type());
      }
      break;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("message_request: none is set");
      break;
  }
  return response;
}

}  // namespace haul::coordinator
