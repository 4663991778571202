#include "common/wire/convert.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace haul::wire {
namespace {

TEST(WireConvertTest, AnOutcomeComesBackAsItLeft) {
  Outcome outcome;
  outcome.tasks = {3, 2};
  outcome.results.Append("a");
  outcome.results.Append("bc");
  outcome.pid = 7;
  v1::Outcome wire;
  ToWire(outcome, &wire);
  const absl::StatusOr<Outcome> again = FromWire(std::move(wire));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, outcome);
}

// Appending to them would take an offset for each task, of which there may be any number.
TEST(WireConvertTest, ResultsWithoutBytesAreNone) {
  v1::Outcome wire;
  wire.set_count(std::uint64_t{1} << 60);
  wire.set_status(v1::TASK_STATUS_SUCCEEDED);
  wire.mutable_results();
  absl::StatusOr<Outcome> outcome = FromWire(std::move(wire));
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->results.count(), 0u);
}

}  // namespace
}  // namespace haul::wire
