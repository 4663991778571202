// What the loop says when, and that it waits for the disk.
#include "common/time.h"
#include "coordinator/loop/loop_fixture.h"

namespace haul::coordinator {
namespace {

TEST_F(LoopTest, SubmitIsAnsweredOnlyWhenItIsCommitted) {
  store_.Set(false);
  const auto answer = Submit(Commands(3));
  for (int turn = 0; turn < 20; ++turn) {
    ASSERT_FALSE(OnLoop([&] { return answer->has_value(); }));
  }
  store_.Set(true);
  EXPECT_EQ(AcceptedJob(answer), JobId(1));
}

TEST_F(LoopTest, VolatileJobsDoNotWaitForTheDisk) {
  RecordingPort& port = NewPort();
  Connect(port);
  Await([&] { return port.said.size() == 1; });  // the welcome, which rests on the membership
  store_.Set(false);
  const auto answer = Submit(Commands(2, true));
  AcceptedJob(answer);
  Await([&] { return port.assignments.size() == 1; });
  EXPECT_EQ(port.templates[0], "spec");
}

TEST_F(LoopTest, NothingIsSentToAWorkerBeforeTheJobIsCommitted) {
  RecordingPort& port = NewPort();
  Connect(port);
  Await([&] { return port.said.size() == 1; });
  store_.Set(false);
  Submit(Commands(2));
  for (int turn = 0; turn < 20; ++turn) ASSERT_EQ(OnLoop([&] { return port.said.size(); }), 1u);
  store_.Set(true);
  Await([&] { return port.said.size() == 2; });
  EXPECT_EQ(port.said, (std::vector<std::string>{"welcome", "assign"}));
}

TEST_F(LoopTest, OutcomesAreAcknowledgedAndReadableWhenTheyAreCommitted) {
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  const JobId job = AcceptedJob(Submit(Commands(2)));
  Await([&] { return port.assignments.size() == 1; });
  store_.Set(false);
  int notified = 0;
  OnLoop([&] {
    loop_->Watch(job, [&] { ++notified; });
    Outcome outcome;
    outcome.tasks = {0, 2};
    outcome.results.Append("a");
    outcome.results.Append("bb");
    TasksFinished event{.session = session,
                        .batch_sequence = 7,
                        .assignment = port.assignments[0].id,
                        .job = job,
                        .outcomes = {{.tasks = {0, 2}, .busy_ns = 1000}}};
    loop_->Handle(event, {.outcomes = {std::move(outcome)}});
    return true;
  });
  for (int turn = 0; turn < 20; ++turn) {
    ASSERT_EQ(OnLoop([&] { return port.durable_through; }), 0u);
    ASSERT_EQ(OnLoop([&] { return notified; }), 0);
  }
  store_.Set(true);
  Await([&] { return port.durable_through == 7 && notified > 0; });
  std::optional<OutcomePage> page;
  OnLoop([&] {
    loop_->ReadOutcomes({.job = job},
                        [&](absl::StatusOr<OutcomePage> read) { page = *std::move(read); });
    return true;
  });
  Await([&] { return page.has_value(); });
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].outcome.results[1], "bb");
  EXPECT_TRUE(OnLoop([&] { return loop_->core().state().FindJob(job)->is_ended(); }));
}

TEST_F(LoopTest, AnAcknowledgementLeavesWithWhatElseThereIs) {
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  const JobId job = AcceptedJob(Submit(Commands(2, true)));
  Await([&] { return port.assignments.size() == 1; });
  const int sends = OnLoop([&] { return port.sends; });
  const std::size_t said = OnLoop([&] { return port.said.size(); });
  OnLoop([&] {
    Finish(session, port, job, 1, {0, 2});
    const RequestId request = loop_->NewRequest([](const Answer&) {});
    loop_->Handle(JobSubmitted{.request = request, .spec = Commands(1, true)},
                  {.job_template = "spec"});
    return true;
  });
  Await([&] { return port.durable_through == 1 && port.assignments.size() == 2; });
  EXPECT_EQ(OnLoop([&] { return port.sends; }), sends + 1);
  EXPECT_EQ(std::vector<std::string>(port.said.begin() + static_cast<std::ptrdiff_t>(said),
                                     port.said.end()),
            (std::vector<std::string>{"durable", "assign"}));
}

// Were it to wait for the last of those that came since, it would never leave while batches come
// faster than commits.
TEST_F(LoopTest, AnAcknowledgementLeavesWithItsOwnCommit) {
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  const JobId job = AcceptedJob(Submit(Commands(2)));
  Await([&] { return port.assignments.size() == 1; });
  store_.Set(false);
  OnLoop([&] {
    Finish(session, port, job, 1, {0, 1});
    return true;
  });
  Await([&] { return store_.HasCommitAtGate(); });
  OnLoop([&] {
    Finish(session, port, job, 2, {1, 1});
    return true;
  });
  store_.LetOnePass();
  Await([&] { return port.durable_through == 1; });
  store_.Set(true);
  Await([&] { return port.durable_through == 2; });
}

TEST_F(LoopTest, AnAcknowledgementBehindAnotherIsNotForgottenWhenCommitsAreSlow) {
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  const JobId job = AcceptedJob(Submit(Commands(2)));
  Await([&] { return port.assignments.size() == 1; });
  store_.Set(false);
  bool has_passed = false;
  OnLoop([&] {
    Finish(session, port, job, 1, {0, 1});
    const RequestId request = loop_->NewRequest([](const Answer&) {});
    loop_->Handle(JobCancelAsked{.request = request, .job = job, .by = "me"});
    Finish(session, port, job, 2, {1, 1});
    loop_->RunAt(ReadClocks().monotonic_us + 20'000, [&] { has_passed = true; });
    return true;
  });
  Await([&] { return has_passed; });  // the time that an acknowledgement waits for company
  store_.Set(true);
  Await([&] { return port.durable_through == 2; });
}

TEST_F(LoopTest, NewWorkDoesNotWaitForTheCommitOfWhatIsAcknowledged) {
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  const JobId first = AcceptedJob(Submit(Commands(2)));
  Await([&] { return port.assignments.size() == 1; });
  AcceptedJob(Submit(Commands(2)));  // waits for room
  store_.Set(false);
  OnLoop([&] {
    Finish(session, port, first, 1, {0, 2});
    return true;
  });
  Await([&] { return port.assignments.size() == 2; });
  EXPECT_EQ(OnLoop([&] { return port.durable_through; }), 0u);
  store_.Set(true);
  Await([&] { return port.durable_through == 1; });
}

TEST_F(LoopTest, InputsComeFromTheStoreWhenTheCacheHasLostThem) {
  End();
  Start({.input_cache_bytes = 0});
  const JobId job = AcceptedJob(SubmitWithInputs());
  RecordingPort& port = NewPort();
  Connect(port);
  Await([&] { return port.assignments.size() == 1; });
  EXPECT_EQ(port.assignments[0].job, job);
  ASSERT_EQ(port.inputs[0].count(), 2u);
  EXPECT_EQ(port.inputs[0][1], "two");
}

TEST_F(LoopTest, InputsThatCannotBeReadEndTheLoopAndAreNotSent) {
  End();
  Start({.input_cache_bytes = 0});
  AcceptedJob(SubmitWithInputs());
  store_.DamageInputs();
  RecordingPort& port = NewPort();
  Connect(port);
  thread_.join();
  EXPECT_EQ(result_.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(result_.message(), "cannot read the inputs of a job: haul.db is damaged");
  EXPECT_TRUE(port.assignments.empty());
  loop_.reset();
}

TEST_F(LoopTest, HoweverManyReadTheInputsOfTasksAreRead) {
  End();
  Start({.input_cache_bytes = 0});
  const JobId ended = AcceptedJob(Submit(Commands(1)));
  OnLoop([&] {
    loop_->Handle(JobCancelAsked{.job = ended, .by = "me"});
    return true;
  });
  const JobId job = AcceptedJob(SubmitWithInputs());
  std::size_t read = 0, refused = 0;
  const auto read_often = [&](std::size_t times) {
    return OnLoop([&] {
      for (std::size_t i = 0; i < times; ++i) {
        loop_->ReadTemplate(ended, [&](const absl::StatusOr<std::string>& text) {
          ++(text.ok() ? read : refused);
        });
      }
      return true;
    });
  };
  store_.SetReads(false);
  read_often(1);
  while (!store_.HasReadAtGate()) std::this_thread::yield();
  read_often(SideThread::kCapacity);
  RecordingPort& port = NewPort();
  Connect(port);
  Await([&] { return port.said.size() == 1; });  // and its inputs are asked for
  store_.SetReads(true);
  Await([&] { return port.assignments.size() == 1; });
  EXPECT_EQ(port.assignments[0].job, job);
  Await([&] { return read + refused == SideThread::kCapacity + 1; });
  EXPECT_EQ(read, SideThread::kCapacity / 2);
}

TEST_F(LoopTest, AFailedCommitEndsTheLoopAndAnswersNothing) {
  store_.Set(false);
  const auto answer = Submit(Commands(1));
  store_.Set(true, absl::ResourceExhaustedError("database or disk is full"));
  thread_.join();
  EXPECT_EQ(result_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(result_.message().find("disk is full"), absl::string_view::npos);
  EXPECT_FALSE(answer->has_value());
  loop_.reset();
}

// Which is at hand at once, page after page, as one who looks for failures reads it.
TEST_F(LoopTest, ALongReadOfAVolatileJobTakesOnePageATurn) {
  constexpr std::uint64_t kTasks = 20;
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  JobSpec spec = Commands(kTasks, true);
  spec.cpus_milli = 100;
  const JobId job = AcceptedJob(Submit(spec));
  Await([&] { return port.assignments.size() == 1; });
  OnLoop([&] {
    for (TaskIndex task = 0; task < kTasks; ++task) Finish(session, port, job, task + 1, {task, 1});
    return true;
  });
  OutcomeQuery query{.job = job, .unsuccessful_only = true, .row_limit = 1};
  std::uint64_t pages = 0, pages_before_the_other = 0;
  std::function<void()> read = [&] {
    loop_->ReadOutcomes(query, [&](const absl::StatusOr<OutcomePage>& page) {
      ASSERT_TRUE(page.ok());
      if (++pages == 1) poller_.Post([&] { pages_before_the_other = pages; });
      query.cursor = page->next_cursor;
      if (!page->complete) read();
    });
  };
  OnLoop([&] {
    read();
    return true;
  });
  Await([&] { return query.cursor == kTasks; });
  EXPECT_EQ(pages, kTasks);
  EXPECT_LE(pages_before_the_other, 2u) << "at most one turn was this test's own";
}

TEST_F(LoopTest, WhatWaitsForTheStoreIsBoundedByNotReading) {
  End();
  Start({.store_backlog_bytes = 1000});
  store_.Set(false);
  OnLoop([&] {
    PackedBytes values;
    values.Append(std::string(5000, 'x'));
    return loop_->StageInputs(loop_->NewInputSet(), false, 0, values).ok();
  });
  Await([&] { return loop_->Congested(); });
  bool relieved = false;
  OnLoop([&] {
    loop_->WhenRelieved([&] { relieved = true; });
    return true;
  });
  EXPECT_FALSE(OnLoop([&] { return relieved; }));
  store_.Set(true);
  Await([&] { return relieved; });
}

}  // namespace
}  // namespace haul::coordinator
