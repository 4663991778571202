// The paths that every task or message passes through, for counting instructions, which do not
// depend on the machine's mood (tests/bench/count_instructions):
//
//   haul_hot_paths PATH COUNT    passes so many through it
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/wire/convert.h"
#include "tests/bench/core_world.h"
#include "worker/executor/assignment.h"
#include "worker/executor/child_calls.h"
#include "worker/executor/library.h"
#include "worker/executor/outbox.h"
#include "worker/executor/slots.h"
#include "worker/executor/task_runner.h"

namespace haul {
namespace {

// One array job of tasks of 1 ms: each message of a worker is a few tasks.
void CoreArray(std::uint64_t workers, std::uint64_t tasks) {
  CoreWorld world(workers);
  world.Run(tasks, 1'000'000);
}

// Jobs of one task, behind others that wait.
void CoreLine(std::uint64_t waiting, std::uint64_t jobs) {
  CoreWorld world(1);
  world.RunLine(waiting, jobs);
}

// Results of 8 bytes, 1,024 to a message, into the message and back.
void Wire(std::uint64_t results) {
  constexpr std::uint64_t kMessage = 1024;
  Outcome outcome;
  outcome.tasks = {0, kMessage};
  for (std::uint64_t i = 0; i < kMessage; ++i) outcome.results.Append("resultof");
  for (std::uint64_t done = 0; done < results; done += kMessage) {
    v1::Outcome sent;
    wire::ToWire(outcome, &sent);
    v1::Outcome arrived;
    HAUL_CHECK(arrived.ParseFromString(sent.SerializeAsString()));
    HAUL_CHECK(wire::FromWire(std::move(arrived)).ok());
  }
}

std::int32_t DoNothing(const void*, const haul_call*) { return 0; }

// Functions that do nothing, as a thread of an executor's pool runs them, in chunks of one size.
// The thread that writes what they report merges as it comes, so only the run itself is counted.
void RunTasks(std::uint64_t tasks) {
  constexpr std::uint64_t kChunk = 200;
  const haul_function function{"noop", "void()", nullptr, &DoNothing};
  const haul_library library{HAUL_INTERFACE_VERSION, sizeof(haul_function), 1, &function};
  executor::FunctionTable table;
  HAUL_CHECK(table.Add(&library, "hot paths").ok());
  const absl::StatusOr<int> file = executor::Slots::MakeFile();
  HAUL_CHECK(file.ok());
  absl::StatusOr<executor::Slots> slots = executor::Slots::Map(*file);
  HAUL_CHECK(slots.ok());
  executor::Outbox outbox([](const v1::FromExecutor&) {});
  executor::ChildCalls calls(&outbox, 1);
  executor::TaskRunner runner(&slots->at(0), &outbox, &calls, {}, "");
  executor::Chunk chunk;
  chunk.assignment = std::make_shared<executor::Assignment>();
  chunk.assignment->id = AssignmentId(1);
  chunk.assignment->job = JobId(1);
  chunk.assignment->function = table.Find("noop");
  auto inputs = std::make_shared<executor::Inputs>();
  inputs->is_array = true;
  inputs->array_step = 1;
  chunk.inputs = std::move(inputs);
  for (std::uint64_t first = 0; first < tasks; first += kChunk) {
    chunk.tasks = {first, kChunk};
    runner.Load(chunk);
    HAUL_CHECK(runner.Run(chunk).tasks == kChunk);
  }
  outbox.WaitUntilWritten();
}

const std::map<std::string, std::function<void(std::uint64_t)>>& Paths() {
  static const std::map<std::string, std::function<void(std::uint64_t)>> paths = {
      {"core_array_task", [](std::uint64_t count) { CoreArray(1, count); }},
      {"core_array_task_100_workers", [](std::uint64_t count) { CoreArray(100, count); }},
      {"core_job_alone", [](std::uint64_t count) { CoreLine(8, count); }},
      {"core_job_behind_5000", [](std::uint64_t count) { CoreLine(5000, count); }},
      {"executor_task", RunTasks},
      {"wire_result", Wire},
  };
  return paths;
}

}  // namespace
}  // namespace haul

int main(int argc, char** argv) {
  const auto path = haul::Paths().find(argc > 1 ? argv[1] : "");
  if (argc != 3 || path == haul::Paths().end()) {
    std::fprintf(stderr, "usage: haul_hot_paths PATH COUNT, where PATH is one of\n");
    for (const auto& [name, run] : haul::Paths()) std::fprintf(stderr, "  %s\n", name.c_str());
    return 2;
  }
  path->second(std::strtoull(argv[2], nullptr, 10));
  return 0;
}
