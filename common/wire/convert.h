// Between the wire's messages and the plain types of common/. Parsing checks everything that comes
// from outside and says which field is wrong. Any thread.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/outcome.h"
#include "common/packed_bytes.h"
#include "haul/v1/common.pb.h"

namespace haul::wire {

void ToWire(const PackedBytes& pack, v1::PackedBytes* out);
// `count` values must be there; an empty message stands for `count` empty values.
absl::StatusOr<PackedBytes> FromWire(v1::PackedBytes&& pack, std::uint64_t count);

void ToWire(const Outcome& outcome, v1::Outcome* out);
absl::StatusOr<Outcome> FromWire(v1::Outcome&& outcome);

}  // namespace haul::wire
