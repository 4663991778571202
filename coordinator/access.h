// Who may speak to a coordinator: the token in its data directory, and where it listens. Any
// thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul {

// The token in DIR/token; made, with mode 0600, when there is none. 256 random bits in hexadecimal.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& data_dir);

// HOST:PORT; without `insecure` the host must be of the loopback range.
absl::Status CheckListenAddress(const std::string& listen, bool insecure);

// Replaces a small file as a whole.
absl::Status WriteFileAtomically(const std::string& path, const std::string& content,
                                 unsigned mode);

}  // namespace haul
