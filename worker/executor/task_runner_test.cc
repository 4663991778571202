#include "worker/executor/task_runner.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/time.h"
#include "worker/executor/pool_test_harness.h"

namespace haul::executor {
namespace {

constexpr std::int64_t kTimeoutUs = 60'000'000;

std::int64_t NowUs() { return ReadClocks().monotonic_us; }

// One thread does all of it: what it writes, it writes in the midst of its chunk.
TEST(TaskRunnerTest, WhatHandingOverTakesIsNotTheTimeOfATask) {
  const absl::StatusOr<int> fd = Slots::MakeFile();
  ASSERT_TRUE(fd.ok());
  absl::StatusOr<Slots> slots = Slots::Map(*fd);
  ASSERT_TRUE(slots.ok());
  ::close(*fd);
  slots->SetUsed(1);

  std::vector<std::int64_t> deadlines_us;
  TestFunctions functions;
  functions.Serve("large", "str()", [&](const haul_call& call) {
    deadlines_us.push_back(slots->Read(0)->deadline_us);
    const std::string result(60'000, 'x');
    call.host->append_result(call.task, result.data(), result.size());
    return 0;
  });
  std::size_t started_before = 0;  // the tasks before the first that was handed over within
  std::int64_t written_us = 0;
  Outbox outbox([&](const v1::FromExecutor&) {
    const std::optional<SlotReading> slot = slots->Read(0);
    if (!slot.has_value() || written_us != 0) return;
    EXPECT_EQ(slot->deadline_us, 0) << "the worker would end it";
    started_before = deadlines_us.size();
    written_us = NowUs();
  });
  ChildCalls calls(&outbox, 1);
  TaskRunner runner(&slots->at(0), &outbox, &calls, {.directory = testing::TempDir()}, "0");

  Chunk chunk;
  chunk.assignment = std::make_shared<Assignment>();
  chunk.assignment->id = AssignmentId(1);
  chunk.assignment->function = functions.table().Find("large");
  chunk.tasks = {0, 40};
  auto inputs = std::make_shared<Inputs>();
  inputs->is_array = true;
  chunk.inputs = std::move(inputs);
  chunk.timeout_us = kTimeoutUs;
  runner.Load(chunk);
  EXPECT_EQ(runner.Run(chunk).tasks, 40u);

  ASSERT_EQ(deadlines_us.size(), 40u);
  ASSERT_GT(started_before, 0u);
  ASSERT_LT(started_before, 40u);
  EXPECT_GE(deadlines_us[started_before], written_us + kTimeoutUs);
}

}  // namespace
}  // namespace haul::executor
