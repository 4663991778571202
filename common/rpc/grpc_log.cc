#include "common/rpc/grpc_log.h"

#include <grpc/support/log.h>

#include "spdlog/spdlog.h"

namespace haul::rpc {

void RouteGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* args) {
    spdlog::debug("gRPC, {}:{}: {}", args->file, args->line, args->message);
  });
}

}  // namespace haul::rpc
