#include "worker/executor/library.h"

#include <dlfcn.h>

#include <cstring>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/absl_view.h"

namespace haul::executor {
namespace {

absl::Status Refused(std::string_view library, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(AbslView(library), ": ", why));
}

std::string FileName(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::string DlError() {
  const char* error = ::dlerror();
  return error == nullptr ? "unknown error" : error;
}

}  // namespace

absl::Status FunctionTable::Load(const std::string& path) {
  if (path.find('/') == std::string::npos) {
    // dlopen would look for it in the system's directories.
    return Load("./" + path);
  }
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Refused(path, "it cannot be loaded: " + DlError());
  void* symbol = ::dlsym(handle, "haul_library_v1");
  if (symbol == nullptr) {
    return Refused(path, "it is no library of functions: it does not export haul_library_v1");
  }
  const auto entry_point = reinterpret_cast<const haul_library* (*)()>(symbol);
  return Add(entry_point(), FileName(path));
}

absl::Status FunctionTable::Add(const haul_library* library, std::string_view file_name) {
  if (library == nullptr) return Refused(file_name, "haul_library_v1 returned null");
  if (library->interface_version != HAUL_INTERFACE_VERSION) {
    return Refused(file_name,
                   absl::StrCat("it has version ", library->interface_version,
                                " of the interface, this executor needs ", HAUL_INTERFACE_VERSION));
  }
  if (library->function_size < sizeof(haul_function)) {
    return Refused(file_name, absl::StrCat("its entries have ", library->function_size,
                                           " bytes, less than ", sizeof(haul_function)));
  }
  if (library->function_count == 0 || library->functions == nullptr) {
    return Refused(file_name, "it serves no function");
  }
  const auto* entry = reinterpret_cast<const char*>(library->functions);
  for (std::uint64_t i = 0; i < library->function_count; ++i, entry += library->function_size) {
    haul_function function;
    std::memcpy(&function, entry, sizeof function);
    absl::Status status = AddOne(function, file_name);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status FunctionTable::AddOne(const haul_function& function, std::string_view file_name) {
  if (function.name == nullptr || function.signature == nullptr || function.invoke == nullptr) {
    return Refused(file_name, "an entry has no name, signature or function");
  }
  const absl::Status name_is_right = CheckFunctionName(function.name);
  if (!name_is_right.ok()) return Refused(file_name, name_is_right.message());
  absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature(function.signature);
  if (!signature.ok()) {
    return Refused(file_name, absl::StrCat(function.name, ": ", signature.status().message()));
  }
  ServedFunction served{function, function.signature, *std::move(signature),
                        std::string(file_name)};
  const auto [it, inserted] = functions_.try_emplace(function.name, std::move(served));
  if (!inserted) {
    return Refused(file_name,
                   absl::StrCat("it serves ", function.name, ", and so does ", it->second.library));
  }
  return absl::OkStatus();
}

const ServedFunction* FunctionTable::Find(std::string_view name) const {
  const auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : &it->second;
}

}  // namespace haul::executor
