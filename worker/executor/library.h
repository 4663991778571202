// The functions that an executor serves: loaded from libraries by the C interface of
// include/haul/function.h. Filled by one thread at start, then read by all. Libraries stay loaded
// until the process ends.
#pragma once

#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "common/function_signature.h"
#include "haul/function.h"

namespace haul::executor {

struct ServedFunction {
  haul_function entry;
  std::string signature_text;
  FunctionSignature signature;
  std::string library;  // the file's name
};

class FunctionTable {
 public:
  // Loads a library and adds what it serves. An error names the library and says why it is refused:
  // it cannot be loaded, has no haul_library_v1, is of another version, a name or signature is not
  // as it must be, or somebody serves that name already.
  absl::Status Load(const std::string& path);
  // Likewise of a library that is loaded already.
  absl::Status Add(const haul_library* library, std::string_view file_name);

  // Null if nobody serves it. Lives as long as the table.
  const ServedFunction* Find(std::string_view name) const;
  const absl::btree_map<std::string, ServedFunction, std::less<>>& functions() const {
    return functions_;
  }

 private:
  absl::Status AddOne(const haul_function& function, std::string_view file_name);

  absl::btree_map<std::string, ServedFunction, std::less<>> functions_;
};

}  // namespace haul::executor
