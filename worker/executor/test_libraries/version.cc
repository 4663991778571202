// A library of a later version of the interface, which it speaks without our header.
#include <cstdint>

namespace {

struct Library {
  std::uint32_t interface_version = 2;
  std::uint32_t function_size = 32;
  std::uint64_t function_count = 0;
  const void* functions = nullptr;
};

}  // namespace

extern "C" [[gnu::visibility("default")]] const void* haul_library_v1();
extern "C" const void* haul_library_v1() {
  static const Library library;
  return &library;
}
