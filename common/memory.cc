#include "common/memory.h"

#include <malloc.h>

namespace haul {
namespace {

// From here on a block is the kernel's again as soon as it is freed.
constexpr int kLargeBlockBytes = 4 << 20;
// So much may lie free at the end of each heap.
constexpr int kKeptBytes = 16 << 20;

}  // namespace

void KeepFreedMemory() {
  ::mallopt(M_MMAP_THRESHOLD, kLargeBlockBytes);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
}

}  // namespace haul
