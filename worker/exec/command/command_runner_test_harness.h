// A command runner on a loop of the test's own, in a directory of its own.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/time.h"
#include "worker/exec/command/command_runner.h"
#include "worker/exec/process_tree.h"
#include "worker/exec/test_directory.h"

namespace haul::exec {

class RunnerHarness : public ::testing::Test, public CommandListener {
 protected:
  static constexpr std::int64_t kPatienceUs = 30'000'000;

  void SetUp() override { Restart(); }

  // With `options`, anew.
  void Restart() {
    runner.reset();
    options.directory = directory.path("worker");
    options.worker = "w1";
    options.coordinator = "127.0.0.1:1";
    auto created = CommandRunner::Create(reactor, *this, options);
    ASSERT_TRUE(created.ok()) << created.status();
    runner = *std::move(created);
  }

  // Every test leaves nothing behind.
  void TearDown() override {
    if (runner != nullptr) {
      (void)runner->Withdraw(AssignmentId(1, 1));
      StopAll("end of test");
      EXPECT_TRUE(RunUntil([&] { return runner->is_idle(); }));
    }
    // What lost its parents comes to this process as it ends.
    EXPECT_TRUE(RunUntil([] { return FirstThreadsChildren().empty(); }));
    runner.reset();
    EXPECT_EQ(std::system(("test ! -e " + directory.path("worker/tasks")).c_str()), 0);
  }

  void StopAll(const std::string& message) {
    for (TaskIndex task = 0; task < next_task; ++task) {
      runner->Stop(AssignmentId(1, 1), task, Cause::kCancelled, message);
    }
  }

  void OnCommandEnded(CommandEnd end) override {
    const TaskIndex task = end.outcome.tasks.first;
    EXPECT_TRUE(ends.emplace(task, std::move(end)).second) << "told twice: task " << task;
  }
  void OnDirectoryMissing(const CommandTask& task, const std::string& message) override {
    missing.emplace_back(task.task, message);
  }
  bool IsOwnChild(pid_t pid) override { return own_children.contains(pid); }
  bool ExecutorRuns(std::uint64_t number) override { return executors.contains(number); }

  [[nodiscard]] bool RunUntil(const std::function<bool()>& condition) {
    const std::int64_t deadline_us = ReadClocks().monotonic_us + kPatienceUs;
    while (!condition()) {
      const std::int64_t now_us = ReadClocks().monotonic_us;
      if (now_us > deadline_us) return false;
      reactor.RunOnce(now_us + 5'000);  // conditions may lie outside of what the reactor watches
    }
    return true;
  }

  static v1::Command MakeCommand(const std::vector<std::string>& arguments) {
    v1::Command command;
    for (const std::string& argument : arguments) command.add_arguments(argument);
    return command;
  }

  CommandTask MakeTask(const v1::Command& command) {
    auto spec = CommandSpec::Parse(command);
    EXPECT_TRUE(spec.ok()) << spec.status();
    return {.assignment = AssignmentId(1, 1),
            .job = JobId(7),
            .task = next_task++,
            .command = *spec,
            .array_value = 0};
  }

  TaskIndex Start(const v1::Command& command) {
    CommandTask task = MakeTask(command);
    const TaskIndex index = task.task;
    runner->Start(std::move(task));
    return index;
  }
  TaskIndex StartAhead(const v1::Command& command) {
    CommandTask task = MakeTask(command);
    const TaskIndex index = task.task;
    runner->StartAhead(std::move(task));
    return index;
  }
  TaskIndex StartShell(const std::string& script) {
    return Start(MakeCommand({"/bin/sh", "-c", script}));
  }

  const CommandEnd& End(TaskIndex task) {
    EXPECT_TRUE(RunUntil([&] { return ends.contains(task); }))
        << "task " << task << " does not end";
    return ends[task];
  }
  const CommandEnd& RunToEnd(const v1::Command& command) { return End(Start(command)); }
  const CommandEnd& RunShell(const std::string& script) { return End(StartShell(script)); }

  static std::string OutputOf(const CommandEnd& end) {
    return end.outcome.results.count() == 0 ? "" : std::string(end.outcome.results[0]);
  }

  // A pid that a task wrote into `name`; 0 while it has not.
  pid_t PidIn(const std::string& name) const {
    return std::atoi(ReadProcFile(directory.path(name), 100).c_str());
  }
  static bool IsAlive(pid_t pid) { return ::kill(pid, 0) == 0; }

  const TestDirectory directory;
  Reactor reactor;
  CommandRunner::Options options;
  std::unique_ptr<CommandRunner> runner;
  TaskIndex next_task = 0;
  std::map<TaskIndex, CommandEnd> ends;
  std::vector<std::pair<TaskIndex, std::string>> missing;
  std::set<pid_t> own_children;
  std::set<std::uint64_t> executors;
};

}  // namespace haul::exec
