// Finds what a caller names: a job by id, name or "the newest"; a worker by id or name. Loop
// thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/core/state.h"
#include "haul/v1/jobs.pb.h"

namespace haul::coordinator {

absl::StatusOr<const Job*> FindJob(const State& state, const v1::JobSelector& selector);
absl::StatusOr<const Worker*> FindWorker(const State& state, const std::string& name_or_id);

}  // namespace haul::coordinator
