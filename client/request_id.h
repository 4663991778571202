// The ids by which the coordinator knows a submit that is repeated. Any thread.
#pragma once

#include <string>

namespace haul::client {

// Different for every submit of every process, also after a fork.
std::string NewRequestId();

}  // namespace haul::client
