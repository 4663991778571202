// What gRPC logs by itself goes to our log, as debug: what it means for Haul is said by Haul.
#pragma once

namespace haul::rpc {

// For the whole process; any thread, any number of times.
void RouteGrpcLog();

}  // namespace haul::rpc
