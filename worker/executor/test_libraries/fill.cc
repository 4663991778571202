// Functions by the C interface alone, whose results are too large for a message.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "haul/library.h"

namespace {

std::int32_t Fill(const void*, const haul_call* call) {
  static const std::string megabyte(std::size_t{1} << 20, 'x');
  call->host->append_result(call->task, megabyte.data(), megabyte.size());
  return 0;
}

std::int32_t FillAndAbort(const void* target, const haul_call* call) {
  Fill(target, call);
  std::abort();
}

const haul_function kFunctions[] = {{"fill.v1", "str()", nullptr, &Fill},
                                    {"fill_and_abort.v1", "str()", nullptr, &FillAndAbort}};
const haul_library kLibrary = {HAUL_INTERFACE_VERSION, sizeof(haul_function), 2, kFunctions};

}  // namespace

extern "C" [[gnu::visibility("default")]] const haul_library* haul_library_v1();
extern "C" const haul_library* haul_library_v1() { return &kLibrary; }
