// Logs, to stderr, by spdlog. Call before other threads start.
#pragma once

#include <string>

namespace haul::cli {

// `level` as --log-level gives it, `format` "text" or "json" (one object a line).
void SetUpLog(const std::string& level, const std::string& format);

}  // namespace haul::cli
