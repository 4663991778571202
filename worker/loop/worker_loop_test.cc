// The loop with real commands and real executors, and a coordinator that is played by the test.
#include "worker/loop/worker_loop.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "common/check.h"
#include "common/function_text.h"
#include "common/time.h"
#include "examples/functions/examples.h"
#include "worker/exec/test_directory.h"
#include "worker/loop/executors.h"

namespace haul::worker {
namespace {

constexpr std::int64_t kPatienceUs = 30'000'000;

// A session whose other end is the test.
class FakeSession final : public SessionPort {
 public:
  explicit FakeSession(exec::Reactor& reactor) : reactor_(reactor) {}

  void Start(SessionListener* listener) override {
    listener_ = listener;
    reactor_.AddTimer(0, [this] { Connect(); });
  }
  bool Writable() override { return connected && open_slot; }
  void Send(v1::WorkerMessage message) override {
    EXPECT_TRUE(Writable());
    sent.push_back(std::move(message));
    if (closes_slot) open_slot = false;
  }
  void Upload(UploadJob job) override {
    std::ifstream file(job.path, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    EXPECT_EQ(content.str().size(), job.total_bytes);
    uploads.push_back(job);
    reactor_.AddTimer(0, [this, id = job.id] {
      if (!cancelled.contains(id)) {
        listener_->OnUploaded(id, absl::StatusOr<std::string>("file-" + std::to_string(id)));
      }
    });
  }
  void CancelUpload(std::uint64_t id) override { cancelled.insert(id); }
  void Close() override {
    reactor_.AddTimer(0, [this] { listener_->OnClosed(); });
  }

  void Connect() {
    hello.Clear();
    listener_->OnConnecting(&hello);
    connected = true;
    v1::CoordinatorMessage message;
    message.mutable_welcome()->set_worker_id(1);
    message.mutable_welcome()->set_lease_ms(15'000);
    for (const std::uint64_t id : drops) message.mutable_welcome()->add_dropped_assignments(id);
    listener_->OnMessage(std::move(message));
  }
  void Disconnect() {
    connected = false;
    listener_->OnDisconnected();
  }
  void Tell(const v1::CoordinatorMessage& message) { listener_->OnMessage(message); }
  void Refuse() { listener_->OnRefused(absl::PermissionDeniedError("not you")); }

  v1::Hello hello;
  std::vector<v1::WorkerMessage> sent;
  std::vector<UploadJob> uploads;
  std::set<std::uint64_t> cancelled;
  std::vector<std::uint64_t> drops;
  bool connected = false;
  bool open_slot = true;
  bool closes_slot = false;

 private:
  exec::Reactor& reactor_;
  SessionListener* listener_ = nullptr;
};

// Whoever carries calls is the test.
class FakeChildCalls final : public ChildCallPort {
 public:
  void SetListener(ChildCallListener* listener) override { listener_ = listener; }
  void Call(ExecutorId executor, JobId job, const v1::JobSpec& spec, v1::ChildCall call) override {
    EXPECT_EQ(spec.function().name(), "relay.v1");
    EXPECT_FALSE(job.is_none());
    calls.emplace_back(executor, std::move(call));
  }
  void EndTasks(ExecutorId, AssignmentId, TaskRange tasks) override { ended += tasks.count; }
  void EndExecutor(ExecutorId executor) override { ended_executors.push_back(executor); }
  void Answer(const std::string& data) {
    v1::ChildAnswer answer;
    answer.set_assignment_id(calls.back().second.assignment_id());
    answer.set_task(calls.back().second.task());
    answer.set_number(calls.back().second.number());
    answer.set_data(data);
    listener_->OnChildAnswer(calls.back().first, std::move(answer));
  }

  std::vector<std::pair<ExecutorId, v1::ChildCall>> calls;
  std::uint64_t ended = 0;
  std::vector<ExecutorId> ended_executors;

 private:
  ChildCallListener* listener_ = nullptr;
};

class WorkerLoopTest : public testing::Test {
 protected:
  void Start(bool functions = false, std::uint32_t processes = 1) {
    exec::ExecutorOptions executor_options;
    const char* programs = ::getenv("HAUL_TEST_BIN_DIR");
    ASSERT_NE(programs, nullptr);
    executor_options.program = std::string(programs) + "/haul-executor";
    executor_options.libraries = {library};
    executor_options.threads = 2;
    executor_options.results_directory = directory.path();
    executors_ = std::make_unique<Executors>(reactor, executor_options);
    LoopOptions options;
    options.hello.set_name("w1");
    options.core.processes = processes;
    options.core.threads = 2;
    options.core.serves_functions = functions;
    options.core.stop_grace_us = 200'000;
    options.commands.directory = directory.path();
    options.commands.grace_period_ms = 500;
    auto created = WorkerLoop::Create(reactor, session, *executors_, calls, options);
    ASSERT_TRUE(created.ok()) << created.status();
    loop = *std::move(created);
  }

  // Runs the loop, and in each of its turns looks whether `done` holds; then lets it leave by
  // Stop().
  // Not of those that were given ahead.
  std::size_t CommandsWithPlaces() const {
    return loop->core().state().commands.size() - loop->core().state().ahead_count;
  }
  WorkerEnd RunUntil(const std::function<bool()>& done) {
    const std::int64_t limit_us = ReadClocks().monotonic_us + kPatienceUs;
    bool stopped = false;
    const std::function<void()> look = [&] {
      if (!stopped && (done() || ReadClocks().monotonic_us > limit_us)) {
        EXPECT_LE(ReadClocks().monotonic_us, limit_us) << "waited in vain";
        stopped = true;
        loop->Stop();
      }
      if (!stopped) reactor.AddTimer(ReadClocks().monotonic_us + 1000, look);
    };
    reactor.AddTimer(0, look);
    return loop->Run();
  }
  WorkerEnd RunToItsEnd() { return loop->Run(); }

  // Once, in a later turn.
  void When(const std::function<bool()>& holds, const std::function<void()>& then) {
    reactor.AddTimer(ReadClocks().monotonic_us + 1000, [=, this] {
      if (holds()) {
        then();
      } else {
        When(holds, then);
      }
    });
  }
  void Tell(const v1::CoordinatorMessage& message) {
    When([this] { return session.connected; }, [this, message] { session.Tell(message); });
  }

  v1::Assignment& AddCommands(v1::CoordinatorMessage& message,
                              const std::vector<std::string>& arguments, std::uint64_t first,
                              std::uint64_t count) {
    v1::Assignment& assignment = AddWork(message, first, count);
    v1::Command& command = *assignment.mutable_spec()->mutable_command();
    for (const std::string& argument : arguments) command.add_arguments(argument);
    command.set_directory("/");
    return assignment;
  }
  v1::Assignment& AddFunctions(v1::CoordinatorMessage& message, const std::string& name,
                               std::uint64_t first, std::uint64_t count) {
    v1::Assignment& assignment = AddWork(message, first, count);
    assignment.mutable_spec()->mutable_function()->set_name(name);
    return assignment;
  }
  // Of a function with one string as its argument.
  v1::Assignment& AddCall(v1::CoordinatorMessage& message, const std::string& name,
                          std::uint64_t task, const std::string& argument) {
    v1::Assignment& assignment = AddFunctions(message, name, task, 1);
    assignment.mutable_spec()->clear_array();
    const absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature("void(str)");
    HAUL_CHECK(signature.ok());
    const absl::StatusOr<std::string> encoded =
        EncodeArguments(name, *signature, std::string_view(argument));
    HAUL_CHECK(encoded.ok());
    assignment.mutable_inputs()->set_uniform_size(static_cast<std::uint32_t>(encoded->size()));
    assignment.mutable_inputs()->set_data(*encoded);
    return assignment;
  }
  v1::Assignment& AddWork(v1::CoordinatorMessage& message, std::uint64_t first,
                          std::uint64_t count) {
    v1::Assignment& assignment = *message.add_assignments();
    assignment.set_assignment_id((std::uint64_t{1} << 40) + ++last_assignment_);
    assignment.set_job_id(7 + last_assignment_);
    assignment.set_first(first);
    assignment.set_count(count);
    assignment.set_width(2);
    assignment.mutable_spec()->mutable_array()->set_start(0);
    assignment.mutable_spec()->mutable_array()->set_step(1);
    return assignment;
  }

  // Every outcome that was sent, by task.
  std::map<std::uint64_t, v1::Outcome> Outcomes() const {
    std::map<std::uint64_t, v1::Outcome> outcomes;
    for (const v1::WorkerMessage& message : session.sent) {
      for (const v1::OutcomeBatch& batch : message.outcomes()) {
        for (const v1::Outcome& outcome : batch.outcomes()) {
          for (std::uint64_t i = 0; i < outcome.count(); ++i) {
            EXPECT_TRUE(outcomes.emplace(outcome.first() + i, outcome).second);
          }
        }
      }
    }
    return outcomes;
  }
  std::uint64_t HandedBack() const {
    std::uint64_t count = 0;
    for (const v1::WorkerMessage& message : session.sent) {
      for (const v1::HandedBack& handed : message.handed_back()) {
        for (const v1::TaskRange& range : handed.ranges()) count += range.count();
      }
    }
    return count;
  }

  exec::TestDirectory directory;
  exec::Reactor reactor;
  FakeSession session{reactor};
  FakeChildCalls calls;
  std::string library = std::string(::getenv("HAUL_TEST_LIB_DIR")) + "/libexamples.so";
  std::unique_ptr<Executors> executors_;
  std::unique_ptr<WorkerLoop> loop;

 private:
  std::uint64_t last_assignment_ = 0;
};

TEST_F(WorkerLoopTest, CommandsRunAndTheirOutcomesLeave) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/echo", "task {index}"}, 10, 20);
  Tell(message);
  RunUntil([&] { return Outcomes().size() == 20; });
  const auto outcomes = Outcomes();
  for (std::uint64_t task = 10; task < 30; ++task) {
    const v1::Outcome& outcome = outcomes.at(task);
    EXPECT_EQ(outcome.status(), v1::TASK_STATUS_SUCCEEDED);
    EXPECT_EQ(outcome.results().data(), "task " + std::to_string(task) + "\n");
  }
  EXPECT_TRUE(session.sent.back().goodbye());
}

TEST_F(WorkerLoopTest, InputsComeInSeveralMessagesOfOneAssignment) {
  Start();
  v1::CoordinatorMessage message;
  v1::Assignment& one = AddCommands(message, {"/bin/echo", "{}"}, 0, 1);
  one.mutable_spec()->clear_array();
  one.mutable_inputs()->set_uniform_size(1);
  one.mutable_inputs()->set_data("a");
  v1::Assignment& two = *message.add_assignments();
  two = message.assignments(0);
  two.clear_spec();
  two.set_first(1);
  two.mutable_inputs()->set_data("b");
  Tell(message);
  RunUntil([&] { return Outcomes().size() == 2; });
  EXPECT_EQ(Outcomes().at(0).results().data(), "a\n");
  EXPECT_EQ(Outcomes().at(1).results().data(), "b\n");
}

TEST_F(WorkerLoopTest, WhatGathersBehindAWriteLeavesAsOneMessage) {
  Start();
  session.closes_slot = true;
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/true"}, 0, 10);
  Tell(message);
  // One outcome takes the slot; the others wait until it is free again.
  When(
      [&] {
        std::uint64_t ended = 0;
        for (const HeldLine& line : loop->core().Held()) ended += line.tasks.size();
        return session.sent.size() == 1 && loop->core().state().commands.empty() && ended == 1 &&
               loop->core().state().assignments.begin()->second.pending.empty();
      },
      [&] {
        session.open_slot = true;
        session.closes_slot = false;
      });
  RunUntil([&] { return Outcomes().size() == 10; });
  EXPECT_LE(session.sent.size(), 3u);  // the first, the others, the goodbye
}

TEST_F(WorkerLoopTest, OwedBatchesAreSentAgainUnchangedUntilTheyAreDurable) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/echo", "x"}, 0, 1);
  Tell(message);
  When([&] { return Outcomes().size() == 1; },
       [&] {
         session.Disconnect();
         session.Connect();
       });
  const auto batches = [&] {
    std::vector<v1::OutcomeBatch> all;
    for (const v1::WorkerMessage& sent : session.sent) {
      all.insert(all.end(), sent.outcomes().begin(), sent.outcomes().end());
    }
    return all;
  };
  RunUntil([&] {
    if (batches().size() < 2) return false;
    EXPECT_EQ(session.hello.held_size(), 1);
    v1::CoordinatorMessage durable;
    durable.set_durable_through(1);
    session.Tell(durable);
    EXPECT_TRUE(loop->core().Held().empty());
    return true;
  });
  EXPECT_EQ(batches()[0].SerializeAsString(), batches()[1].SerializeAsString());
}

TEST_F(WorkerLoopTest, LargeOutputsAreUploadedBeforeTheirOutcomeLeaves) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/sh", "-c", "head -c 200000 /dev/zero; echo small >&2"}, 0, 1);
  Tell(message);
  RunUntil([&] { return Outcomes().size() == 1; });
  ASSERT_EQ(session.uploads.size(), 1u);
  const v1::Outcome outcome = Outcomes().at(0);
  EXPECT_EQ(outcome.output_bytes(), 200'000u);
  EXPECT_EQ(outcome.output_file(), "file-" + std::to_string(session.uploads[0].id));
  EXPECT_EQ(outcome.error_output(), "small\n");
  EXPECT_FALSE(std::filesystem::exists(session.uploads[0].path));
}

TEST_F(WorkerLoopTest, CancelEndsWhatRunsAndWhatWaits) {
  Start();
  v1::CoordinatorMessage message;
  const v1::Assignment& assignment = AddCommands(message, {"/bin/sleep", "100"}, 0, 5);
  v1::CoordinatorMessage cancel;
  cancel.add_cancels()->set_assignment_id(assignment.assignment_id());
  cancel.mutable_cancels(0)->set_by("ada");
  Tell(message);
  When([&] { return CommandsWithPlaces() == 2; }, [&] { session.Tell(cancel); });
  RunUntil([&] { return Outcomes().size() == 5; });
  for (const auto& [task, outcome] : Outcomes()) {
    EXPECT_EQ(outcome.status(), v1::TASK_STATUS_CANCELLED) << task;
    EXPECT_EQ(outcome.message(), "ada");
  }
}

TEST_F(WorkerLoopTest, AMissingDirectoryIsHandedBack) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/true"}, 0, 5)
      .mutable_spec()
      ->mutable_command()
      ->set_directory("/nowhere/at/all");
  Tell(message);
  RunUntil([&] { return HandedBack() == 5; });
  EXPECT_EQ(session.sent[0].handed_back(0).reason(), v1::HandedBack::REASON_DIRECTORY_MISSING);
}

TEST_F(WorkerLoopTest, StopKillsWhatRunsAndHandsItBack) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/sleep", "100"}, 0, 5);
  Tell(message);
  const WorkerEnd end = RunUntil([&] { return CommandsWithPlaces() == 2; });
  EXPECT_EQ(end.why, WorkerEnd::Why::kLeft);
  EXPECT_EQ(HandedBack(), 5u);
  EXPECT_TRUE(Outcomes().empty());
  EXPECT_TRUE(session.sent.back().goodbye());
}

TEST_F(WorkerLoopTest, DrainFinishesWhatRunsAndLeavesWhenItIsDurable) {
  Start();
  v1::CoordinatorMessage message;
  AddCommands(message, {"/bin/sleep", "0.1"}, 0, 10);
  Tell(message);
  When([&] { return CommandsWithPlaces() == 2; }, [&] { loop->Drain(); });
  When([&] { return Outcomes().size() == 2; },
       [&] {
         v1::CoordinatorMessage durable;
         durable.set_durable_through(100);
         session.Tell(durable);
       });
  EXPECT_EQ(RunToItsEnd().why, WorkerEnd::Why::kLeft);
  EXPECT_EQ(HandedBack(), 8u);
  EXPECT_TRUE(session.sent.back().goodbye());
}

TEST_F(WorkerLoopTest, ARefusalEndsTheWorker) {
  Start();
  When([&] { return session.connected; }, [&] { session.Refuse(); });
  const WorkerEnd end = RunToItsEnd();
  EXPECT_EQ(end.why, WorkerEnd::Why::kRefused);
  EXPECT_EQ(end.message, "not you");
}

TEST_F(WorkerLoopTest, FunctionsAreKnownInTheHelloAndRun) {
  Start(true, 2);
  v1::CoordinatorMessage message;
  AddFunctions(message, "noop.v1", 0, 10'000);
  Tell(message);
  RunUntil([&] { return Outcomes().size() == 10'000; });
  EXPECT_GT(session.hello.functions_size(), 3);
  for (const auto& [task, outcome] : Outcomes()) {
    ASSERT_EQ(outcome.status(), v1::TASK_STATUS_SUCCEEDED) << task << outcome.message();
  }
}

TEST_F(WorkerLoopTest, AFunctionThatCrashesIsNamedAndTheOthersRunOrAreHandedBack) {
  Start(true);
  v1::CoordinatorMessage message;
  AddCall(message, "crash.v1", 0, "segv");
  // Two, of which one may run beside it; the second may have started, as far as the worker knows.
  v1::Assignment& beside = AddCall(message, "crash.v1", 1, "spin");
  const std::uint64_t beside_id = beside.assignment_id();
  beside.set_count(2);
  beside.set_width(1);
  *beside.mutable_inputs()->mutable_data() += std::string(beside.inputs().data());
  // There is no cpu for these: they wait for the next executor.
  AddFunctions(message, "noop.v1", 100, 1000);
  Tell(message);
  RunUntil([&] { return Outcomes().size() + HandedBack() == 1003; });
  const v1::Outcome crashed = Outcomes().at(0);
  EXPECT_EQ(crashed.status(), v1::TASK_STATUS_CRASHED);
  EXPECT_TRUE(crashed.culprit());
  EXPECT_GE(HandedBack(), 1u);
  EXPECT_LE(HandedBack(), 2u);
  for (const v1::WorkerMessage& sent : session.sent) {
    for (const v1::HandedBack& handed : sent.handed_back()) {
      EXPECT_EQ(handed.assignment_id(), beside_id);
      EXPECT_EQ(handed.reason(), v1::HandedBack::REASON_EXECUTOR_DIED);
    }
  }
}

TEST_F(WorkerLoopTest, ALargeResultIsUploadedBesideTheStream) {
  Start(true);
  v1::CoordinatorMessage message;
  AddCall(message, "echo.v1", 4, std::string(2u << 20, 'x'));
  Tell(message);
  RunUntil([&] { return Outcomes().size() == 1; });
  ASSERT_EQ(session.uploads.size(), 1u);
  const v1::Outcome outcome = Outcomes().at(4);
  EXPECT_EQ(outcome.status(), v1::TASK_STATUS_SUCCEEDED) << outcome.message();
  EXPECT_FALSE(outcome.output_file().empty());
  EXPECT_GE(outcome.output_bytes(), 2u << 20);
  EXPECT_TRUE(outcome.results().data().empty());
  EXPECT_FALSE(std::filesystem::exists(session.uploads[0].path));
}

TEST_F(WorkerLoopTest, AFunctionThatDoesNotListenIsCancelledAllTheSame) {
  Start(true);
  v1::CoordinatorMessage message;
  v1::CoordinatorMessage cancel;
  cancel.add_cancels()->set_assignment_id(AddCall(message, "crash.v1", 0, "spin").assignment_id());
  cancel.mutable_cancels(0)->set_by("ada");
  Tell(message);
  When([&] { return loop->core().state().reserved_milli > 0; }, [&] { session.Tell(cancel); });
  RunUntil([&] { return Outcomes().size() == 1; });
  EXPECT_EQ(Outcomes().at(0).status(), v1::TASK_STATUS_CANCELLED);
}

TEST_F(WorkerLoopTest, WhatATaskCallsIsCarriedAndAnsweredWhileItUsesNoCpu) {
  Start(true);
  v1::CoordinatorMessage message;
  v1::Assignment& assignment = AddFunctions(message, "relay.v1", 4, 1);
  assignment.mutable_spec()->clear_array();
  const std::string arguments = decltype(examples::kRelay)::EncodeArguments("child.v1", "x");
  assignment.mutable_inputs()->set_uniform_size(static_cast<std::uint32_t>(arguments.size()));
  assignment.mutable_inputs()->set_data(arguments);
  Tell(message);
  const auto blocked = [this] {
    std::vector<std::uint64_t> counts;
    for (const v1::WorkerMessage& sent : session.sent) {
      for (const v1::Blocked& said : sent.blocked()) counts.push_back(said.count());
    }
    return counts;
  };
  When([=] { return !blocked().empty(); }, [this] { calls.Answer(""); });
  RunUntil([this] { return Outcomes().size() == 1; });
  ASSERT_EQ(calls.calls.size(), 1u);
  EXPECT_EQ(calls.calls[0].second.function(), "child.v1");
  EXPECT_EQ(calls.calls[0].second.signature(), "void(str)");
  EXPECT_EQ(blocked(), (std::vector<std::uint64_t>{1, 0}));
  EXPECT_EQ(Outcomes().at(4).status(), v1::TASK_STATUS_SUCCEEDED);
  EXPECT_EQ(calls.ended, 1u);
  EXPECT_EQ(calls.ended_executors.size(), 1u);
}

TEST_F(WorkerLoopTest, ALibraryThatIsNoneEndsTheWorkerWithTheReason) {
  library = "/etc/passwd";
  Start(true);
  const WorkerEnd end = RunToItsEnd();
  EXPECT_EQ(end.why, WorkerEnd::Why::kNoExecutors);
  EXPECT_NE(end.message.find("/etc/passwd"), std::string::npos) << end.message;
}

}  // namespace
}  // namespace haul::worker
