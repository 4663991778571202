// Between the wire's messages and the plain types of common/. Parsing checks everything that comes
// from outside and says which field is wrong. Any thread.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "common/packed_bytes.h"
#include "haul/v1/common.pb.h"

namespace haul::wire {

// Those that are given away are not copied.
void ToWire(PackedBytes&& pack, v1::PackedBytes* out);
void ToWire(const PackedBytes& pack, v1::PackedBytes* out);
// `count` values must be there; an empty message stands for `count` empty values.
absl::StatusOr<PackedBytes> FromWire(v1::PackedBytes&& pack, std::uint64_t count);

void ToWire(Outcome&& outcome, v1::Outcome* out);
void ToWire(const Outcome& outcome, v1::Outcome* out);
absl::StatusOr<Outcome> FromWire(v1::Outcome&& outcome);

using TaskRanges = google::protobuf::RepeatedPtrField<v1::TaskRange>;
void ToWire(const std::vector<TaskRange>& ranges, TaskRanges* out);
// `field` names them in the error where one overflows or is empty.
absl::StatusOr<std::vector<TaskRange>> FromWire(const TaskRanges& ranges, absl::string_view field);

}  // namespace haul::wire
