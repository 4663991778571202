// HAUL_CHECK stays on in release builds: a broken invariant ends the process, saying where and
// what. For what the program itself got wrong; bad input gets an absl::Status.
#pragma once

namespace haul::internal {

[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace haul::internal

// Where the program never comes; says why not.
#define HAUL_UNREACHABLE(why) ::haul::internal::CheckFailed(__FILE__, __LINE__, why)

#define HAUL_CHECK(condition)                          \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::haul::internal::CheckFailed(__FILE__, __LINE__, #condition))
