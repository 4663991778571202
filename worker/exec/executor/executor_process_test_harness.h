// A real executor process, and what it tells.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/interval_set.h"
#include "common/time.h"
#include "gtest/gtest.h"
#include "worker/exec/executor/executor_process.h"
#include "worker/exec/test_directory.h"

namespace haul::exec {

inline std::string TestFile(const char* variable, const std::string& name) {
  const char* directory = std::getenv(variable);
  EXPECT_NE(directory, nullptr) << variable;
  return std::string(directory == nullptr ? "." : directory) + "/" + name;
}

class ExecutorProcessTest : public ::testing::Test {
 protected:
  ExecutorOptions DefaultOptions() const {
    ExecutorOptions options;
    options.program = TestFile("HAUL_TEST_BIN_DIR", "haul-executor");
    options.libraries = {TestFile("HAUL_TEST_LIB_DIR", "libexamples.so")};
    for (char** variable = environ; *variable != nullptr; ++variable) {
      options.environment.emplace_back(*variable);
    }
    options.threads = 2;
    options.results_directory = directory_.path();
    options.timeout_poll_us = 5'000;
    options.timeout_grace_us = 100'000;
    return options;
  }

  void Start() { Start(DefaultOptions()); }
  void Start(ExecutorOptions options) {
    ExecutorCallbacks callbacks;
    callbacks.on_ready = [this](const std::vector<v1::FunctionInfo>& functions) {
      for (const v1::FunctionInfo& function : functions)
        functions_[function.name()] = function.signature();
    };
    callbacks.on_outcomes = [this](AssignmentId assignment, std::vector<Outcome> outcomes) {
      for (Outcome& outcome : outcomes) {
        IntervalSet& ended = ended_[assignment.value()];
        EXPECT_EQ(ended.Add(outcome.tasks), outcome.tasks.count) << outcome.tasks;
        EXPECT_EQ(outcome.assignment, assignment);
        outcomes_[assignment.value()].push_back(std::move(outcome));
      }
    };
    callbacks.on_reclaimed = [this](AssignmentId assignment, TaskRange tasks) {
      reclaimed_[assignment.value()].Add(tasks);
      ++reclaims_;
    };
    callbacks.on_died = [this](const ExecutorDeath& death) {
      EXPECT_FALSE(death_.has_value());
      death_ = death;
    };
    absl::StatusOr<std::unique_ptr<ExecutorProcess>> started =
        ExecutorProcess::Start(&reactor_, std::move(options), std::move(callbacks));
    ASSERT_TRUE(started.ok()) << started.status();
    executor_ = *std::move(started);
  }
  void StartAndWaitUntilReady() { StartAndWaitUntilReady(DefaultOptions()); }
  void StartAndWaitUntilReady(ExecutorOptions options) {
    Start(std::move(options));
    RunUntil([this] { return executor_->ready() || death_.has_value(); });
    ASSERT_FALSE(death_.has_value()) << death_->message;
  }

  template <typename Condition>
  void RunUntil(Condition condition) {
    while (!condition()) reactor_.RunOnce(ReadClocks().monotonic_us + 100'000);
  }
  const ExecutorDeath& WaitForDeath() {
    RunUntil([this] { return death_.has_value(); });
    return *death_;
  }

  template <typename Function, typename... Arguments>
  v1::Run RunOf(std::uint64_t assignment, const Function& function, std::uint64_t count,
                const Arguments&... arguments) {
    v1::Run run;
    run.set_assignment_id(assignment);
    run.set_job_id(1);
    run.set_function(function.name());
    run.set_count(count);
    run.set_width(static_cast<std::uint32_t>(count));
    PackedBytes inputs;
    for (std::uint64_t i = 0; i < count; ++i) inputs.Append(function.EncodeArguments(arguments...));
    run.mutable_inputs()->set_uniform_size(inputs.uniform_size());
    run.mutable_inputs()->set_data(inputs.data());
    return run;
  }
  void Give(v1::Run run) {
    const absl::Status status = executor_->Run(std::move(run));
    ASSERT_TRUE(status.ok()) << status;
  }
  const Outcome& OnlyOutcome(std::uint64_t assignment) {
    RunUntil([&] { return !outcomes_[assignment].empty() || death_.has_value(); });
    EXPECT_EQ(outcomes_[assignment].size(), 1u);
    return outcomes_[assignment].at(0);
  }
  // Returns when so many tasks run.
  void WaitUntilRunning(std::size_t count) {
    RunUntil([&] {
      reactor_.RunOnce(ReadClocks().monotonic_us + 1'000);
      return executor_->Running().size() >= count;
    });
  }

  // What is in the directory for results.
  std::size_t FileCount() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(directory_.path()),
                      std::filesystem::directory_iterator()));
  }

  const TestDirectory directory_;
  Reactor reactor_;
  std::map<std::string, std::string> functions_;
  std::map<std::uint64_t, std::vector<Outcome>> outcomes_;
  std::map<std::uint64_t, IntervalSet> ended_;
  std::map<std::uint64_t, IntervalSet> reclaimed_;
  int reclaims_ = 0;
  std::optional<ExecutorDeath> death_;
  std::unique_ptr<ExecutorProcess> executor_;  // last: it calls back into the above
};

}  // namespace haul::exec
