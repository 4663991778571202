#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace haul::internal {

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "haul: broken invariant at %s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace haul::internal
