// Between the public types of haul/client.h and the wire's messages. Any thread.
#pragma once

#include "haul/client.h"
#include "haul/v1/cluster.pb.h"
#include "haul/v1/common.pb.h"
#include "haul/v1/jobs.pb.h"

namespace haul::client {

// `task_count` is left 0 when the job has input values: as many as come.
void ToWire(const JobSpec& spec, v1::JobSpec* out);
void ToWire(const JobRef& job, v1::JobSelector* out);

JobStatus FromWire(v1::JobStatus&& wire);
// kFailed when the message makes no sense.
Result<Outcome> FromWire(v1::Outcome&& wire);
WorkerStatus FromWire(v1::WorkerStatus&& wire);
FunctionInfo FromWire(v1::FunctionInfo&& wire);
CoordinatorInfo FromWire(v1::InfoReply&& wire);

}  // namespace haul::client
