#include "client/convert.h"

#include <gtest/gtest.h>

#include <utility>

namespace haul::client {
namespace {

v1::Outcome Succeeded() {
  v1::Outcome wire;
  wire.set_count(1);
  wire.set_status(v1::TASK_STATUS_SUCCEEDED);
  return wire;
}

TEST(ClientConvertTest, AStateOfANewerCoordinatorIsNotTakenForAnother) {
  EXPECT_TRUE(FromWire(Succeeded()).ok());
  v1::Outcome wire = Succeeded();
  wire.set_status(static_cast<v1::TaskStatus>(256 + v1::TASK_STATUS_SUCCEEDED));
  EXPECT_FALSE(FromWire(std::move(wire)).ok());
  v1::JobStatus status;
  status.set_state(static_cast<v1::JobState>(256 + v1::JOB_STATE_SUCCEEDED));
  EXPECT_EQ(Name(FromWire(std::move(status)).state), "unknown");
}

}  // namespace
}  // namespace haul::client
