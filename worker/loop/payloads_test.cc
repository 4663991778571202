#include "worker/loop/payloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

namespace haul::worker {
namespace {

using testing::HasSubstr;

v1::Assignment Assign(std::uint64_t id, std::uint64_t job, bool is_array) {
  v1::Assignment assignment;
  assignment.set_assignment_id(id);
  assignment.set_job_id(job);
  assignment.set_count(2);
  assignment.mutable_spec()->mutable_function()->set_name("f");
  if (is_array) assignment.mutable_spec()->mutable_array()->set_step(1);
  return assignment;
}

void ExpectRefused(const absl::StatusOr<AssignmentReceived>& added, const char* what) {
  ASSERT_EQ(added.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(added.status().message()), HasSubstr(what));
}

// Its tasks would have inputs for some, and none for others.
TEST(PayloadsTest, AnAssignmentStaysWithItsJob) {
  Payloads payloads;
  ASSERT_TRUE(payloads.Add(Assign(1, 1, true)).ok());
  ExpectRefused(payloads.Add(Assign(1, 2, false)), "job_id: 2, but assignment 1 is of job 1");
  ASSERT_TRUE(payloads.Add(Assign(2, 2, false)).ok());
}

TEST(PayloadsTest, AJobKeepsItsSpecification) {
  Payloads payloads;
  ASSERT_TRUE(payloads.Add(Assign(1, 1, true)).ok());
  ExpectRefused(payloads.Add(Assign(2, 1, false)), "spec: not the one that job 1 came with");
  v1::Assignment command = Assign(2, 1, true);
  command.mutable_spec()->mutable_command()->add_arguments("true");
  ExpectRefused(payloads.Add(std::move(command)), "spec: not the one");
  EXPECT_TRUE(payloads.Add(Assign(2, 1, true)).ok());
}

Outcome Success(TaskIndex task) {
  Outcome outcome;
  outcome.tasks = {task, 1};
  return outcome;
}

TEST(PayloadsTest, SuccessesOfAFunctionThatAdjoinAreOneOfABatch) {
  Payloads payloads;
  v1::Assignment detailed = Assign(2, 2, true);
  detailed.mutable_spec()->mutable_function()->set_detail(true);
  ASSERT_TRUE(payloads.Add(Assign(1, 1, true)).ok());
  ASSERT_TRUE(payloads.Add(std::move(detailed)).ok());
  for (const std::uint64_t id : {1, 2}) {
    payloads.Keep(AssignmentId(id), Success(1));
    payloads.Keep(AssignmentId(id), Success(0));
    payloads.Seal(
        {.sequence = id, .assignment = AssignmentId(id), .job = JobId(id), .outcome_count = 2});
  }
  ASSERT_EQ(payloads.batch(1).outcomes_size(), 1);
  EXPECT_EQ(payloads.batch(1).outcomes(0).first(), 0u);
  EXPECT_EQ(payloads.batch(1).outcomes(0).count(), 2u);
  EXPECT_EQ(payloads.batch(2).outcomes_size(), 2) << "each with its own times";
}

TEST(PayloadsTest, ALeaseIsNoLongerThanDeadlinesCanBe) {
  v1::Welcome welcome;
  welcome.set_lease_ms(15'000);
  EXPECT_EQ(FromWire(welcome).lease_us, 15'000'000);
  welcome.set_lease_ms(~0ull);
  const std::int64_t lease_us = FromWire(welcome).lease_us;
  EXPECT_GT(lease_us, 0);
  EXPECT_LT(lease_us, INT64_MAX / 2);
}

}  // namespace
}  // namespace haul::worker
