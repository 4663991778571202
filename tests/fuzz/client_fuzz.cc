// What a client is answered: whatever a coordinator says becomes a value or an error.
#include <string>
#include <utility>

#include "client/convert.h"
#include "common/check.h"
#include "haul/client.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"

namespace haul::fuzz {
namespace {

// What is shown of an outcome touches every value.
void CheckOutcome(v1::Outcome&& wire) {
  const std::uint64_t first = wire.first();
  const std::uint64_t count = wire.count();
  const int status = wire.status();
  const bool has_results = wire.has_results();
  const std::size_t result_bytes = wire.results().data().size();
  const auto outcome = client::FromWire(std::move(wire));
  if (!outcome.ok()) return HAUL_CHECK(!outcome.status().message().empty());
  HAUL_CHECK(outcome->first == first && outcome->count == count);
  HAUL_CHECK(outcome->count > 0 && first + count > first);
  HAUL_CHECK(status >= v1::TASK_STATUS_SUCCEEDED && status <= v1::TASK_STATUS_LOST);
  HAUL_CHECK(client::Name(outcome->state) != "unknown");
  (void)client::Name(outcome->cause);
  if (!has_results) return;
  constexpr std::uint64_t kEnough = 1000;
  std::size_t bytes = 0;
  for (std::uint64_t i = 0; i < count && i < kEnough; ++i) bytes += outcome->results[i].size();
  HAUL_CHECK(count > kEnough ? bytes <= result_bytes : bytes == result_bytes);
  (void)outcome->results[count - 1].size();
}

// A specification says the same after it went to the coordinator and came back.
void CheckJob(v1::JobStatus&& wire) {
  const client::JobStatus status = client::FromWire(std::move(wire));
  (void)client::Name(status.state);
  v1::JobStatus once;
  client::ToWire(status.spec, once.mutable_spec());
  v1::JobStatus copy = once;
  const client::JobStatus again = client::FromWire(std::move(copy));
  v1::JobStatus twice;
  client::ToWire(again.spec, twice.mutable_spec());
  HAUL_CHECK(once.SerializeAsString() == twice.SerializeAsString());
}

void Run(ClientInput input) {
  for (v1::FollowReply& reply : *input.mutable_follow()) {
    for (v1::Outcome& outcome : *reply.mutable_outcomes()) CheckOutcome(std::move(outcome));
    CheckJob(std::move(*reply.mutable_status()));
  }
  CheckJob(std::move(*input.mutable_job()));
  for (v1::WorkerStatus& wire : *input.mutable_workers()->mutable_workers()) {
    const int functions = wire.functions_size();
    const client::WorkerStatus worker = client::FromWire(std::move(wire));
    HAUL_CHECK(worker.functions.size() == static_cast<std::size_t>(functions));
    (void)client::Name(worker.state);
  }
  for (auto& function : *input.mutable_functions()->mutable_functions()) {
    const std::string name = function.info().name();
    HAUL_CHECK(client::FromWire(std::move(*function.mutable_info())).name == name);
  }
  (void)client::FromWire(std::move(*input.mutable_info()));
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::ClientInput, haul::fuzz::Run)
