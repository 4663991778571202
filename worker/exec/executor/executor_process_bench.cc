// How fast an executor process takes and reports tasks, over its socket, with two threads:
//   haul_executor_bench HAUL_EXECUTOR LIBEXAMPLES
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/time.h"
#include "examples/functions/examples.h"
#include "worker/exec/executor/executor_process.h"
#include "worker/exec/launch/command_template.h"

namespace haul::exec {
namespace {

class Bench {
 public:
  bool Start(const std::string& program, const std::string& library) {
    ExecutorOptions options;
    options.program = program;
    options.libraries = {library};
    options.environment = InheritedEnvironment(environ);
    options.threads = 2;
    options.results_directory = std::filesystem::temp_directory_path();
    ExecutorCallbacks callbacks;
    callbacks.on_ready = [](const std::vector<v1::FunctionInfo>&) {};
    callbacks.on_outcomes = [this](AssignmentId, const std::vector<Outcome>& outcomes) {
      for (const Outcome& outcome : outcomes) {
        tasks_ += outcome.tasks.count;
        busy_ns_ += outcome.busy_ns;
      }
      outcomes_ += outcomes.size();
    };
    callbacks.on_reclaimed = [](AssignmentId, TaskRange) {};
    callbacks.on_died = [this](const ExecutorDeath& death) {
      std::fprintf(stderr, "%s\n", death.message.c_str());
      dead_ = true;
    };
    auto started = ExecutorProcess::Start(&reactor_, options, callbacks);
    if (!started.ok()) return false;
    executor_ = *std::move(started);
    while (!executor_->ready() && !dead_) reactor_.RunOnce(Reactor::kNoDeadline);
    return !dead_;
  }

  // Runs `runs` runs of `count` tasks each, one after the other if `waits`, and prints how it went.
  void Measure(const char* what, v1::Run run, std::uint64_t runs, bool waits) {
    const std::uint64_t count = run.count();
    tasks_ = outcomes_ = busy_ns_ = 0;
    run.set_assignment_id(++assignment_);
    run.set_job_id(1);
    const std::int64_t started_us = ReadClocks().monotonic_us;
    for (std::uint64_t i = 0; i < runs; ++i) {
      run.set_first(i * count);
      if (!executor_->Run(run).ok()) return;
      while (waits && tasks_ < (i + 1) * count && !dead_) reactor_.RunOnce(Reactor::kNoDeadline);
    }
    while (tasks_ < runs * count && !dead_) reactor_.RunOnce(Reactor::kNoDeadline);
    const auto elapsed_us = static_cast<double>(ReadClocks().monotonic_us - started_us);
    const auto tasks = static_cast<double>(tasks_);
    std::printf("%-34s %10.0f tasks/s   %8.2f us each   %6.1f ns busy each   %8llu outcomes\n",
                what, tasks / elapsed_us * 1e6, elapsed_us / tasks,
                static_cast<double>(busy_ns_) / tasks, static_cast<unsigned long long>(outcomes_));
  }

 private:
  Reactor reactor_;
  std::unique_ptr<ExecutorProcess> executor_;
  std::uint64_t assignment_ = 0;
  std::uint64_t tasks_ = 0;
  std::uint64_t outcomes_ = 0;
  std::uint64_t busy_ns_ = 0;
  bool dead_ = false;
};

v1::Run ArrayOf(const char* function, std::uint64_t count, std::uint32_t width) {
  v1::Run run;
  run.set_function(function);
  run.set_count(count);
  run.set_width(width);
  run.mutable_array()->set_step(1);
  return run;
}

v1::Run EchoOf(std::uint64_t count, std::size_t bytes) {
  v1::Run run;
  run.set_function(examples::kEcho.name());
  run.set_count(count);
  run.set_width(2);
  const std::string input = examples::kEcho.EncodeArguments(std::string(bytes, 'x'));
  run.mutable_inputs()->set_uniform_size(static_cast<std::uint32_t>(input.size()));
  for (std::uint64_t i = 0; i < count; ++i) run.mutable_inputs()->mutable_data()->append(input);
  return run;
}

}  // namespace
}  // namespace haul::exec

int main(int argc, char** argv) {
  using haul::exec::ArrayOf;
  using haul::exec::Bench;
  using haul::exec::EchoOf;
  Bench bench;
  if (argc != 3 || !bench.Start(argv[1], argv[2])) return 1;
  bench.Measure("no-op, two threads", ArrayOf("noop.v1", 50'000'000, 2), 1, false);
  bench.Measure("no-op, runs of 1,000", ArrayOf("noop.v1", 1'000, 2), 20'000, false);
  bench.Measure("no-op, one thread", ArrayOf("noop.v1", 20'000'000, 1), 1, false);
  ::haul::v1::Run detailed = ArrayOf("noop.v1", 500'000, 2);
  detailed.set_detail(true);
  bench.Measure("no-op with detail", detailed, 1, false);
  bench.Measure("echo of 16 bytes", EchoOf(100'000, 16), 20, false);
  bench.Measure("one no-op, there and back", ArrayOf("noop.v1", 1, 1), 20'000, true);
  return 0;
}
