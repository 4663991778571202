// What volatile jobs may fill, and what becomes of what does not fit.
#include <algorithm>

#include "coordinator/loop/loop_fixture.h"

namespace haul::coordinator {
namespace {

TEST_F(LoopTest, WithoutRoomInMemoryASuccessHasFailedAndOtherEndsStay) {
  End();
  Start({.volatile_bytes = 10'000});
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  JobSpec spec = Commands(4, true);
  spec.cpus_milli = 500;
  const JobId job = AcceptedJob(Submit(spec));
  Await([&] { return port.assignments.size() == 1; });
  FillMemory(10'000);
  OnLoop([&] {
    TasksFinished event{
        .session = session,
        .batch_sequence = 1,
        .assignment = port.assignments[0].id,
        .job = job,
        .outcomes = {
            {.tasks = {0, 1}},
            {.tasks = {1, 1}, .status = TaskStatus::kFailed, .cause = Cause::kFunctionError},
            {.tasks = {2, 1}, .status = TaskStatus::kCancelled, .cause = Cause::kCancelled},
            {.tasks = {3, 1}, .status = TaskStatus::kCrashed}}};
    std::vector<Outcome> outcomes(4);
    for (TaskIndex task = 0; task < 4; ++task) {
      outcomes[task].tasks = {task, 1};
      if (task == 0) outcomes[task].results.Append(std::string(1000, 'x'));
      if (task > 0) outcomes[task].message = std::string(1000, 'm');
    }
    loop_->Handle(event, {.outcomes = std::move(outcomes)});
    return true;
  });
  const JobFacts facts = OnLoop([&] { return loop_->core().state().FindJob(job)->facts; });
  EXPECT_EQ(facts.counts.failed, 2u);
  EXPECT_EQ(facts.counts.cancelled, 1u);
  EXPECT_TRUE(facts.charges.at(3).run_alone) << "the suspect starts again";
  const OutcomePage page = OnLoop([&] { return *(*memory_.NewReader())->ReadOutcomes({job}); });
  ASSERT_EQ(page.entries.size(), 3u);
  EXPECT_EQ(page.entries[0].outcome.cause, Cause::kOutputLimit);
  EXPECT_EQ(page.entries[0].outcome.message, "the memory for results of volatile jobs is full");
  EXPECT_EQ(page.entries[1].outcome.cause, Cause::kFunctionError);
  EXPECT_EQ(page.entries[1].outcome.message, std::string(256, 'm'));
}

TEST_F(LoopTest, AFullMemoryRefusesWhatIsNewAndEndsTheJobThatBringsMore) {
  End();
  Start({.volatile_bytes = 100'000});
  RecordingPort& port = NewPort();
  const SessionId session = Connect(port);
  EXPECT_TRUE(OnLoop([&] { return loop_->CheckRoom(Commands(100, true), 1000); }).ok());
  EXPECT_EQ(OnLoop([&] { return loop_->CheckRoom(Commands(1000, true), 1000); }).message(),
            "volatile: no room for the outcomes of 1000 tasks: jobs in memory fill 0 of 100000 "
            "bytes; forget those that have ended (haul job forget), or submit without --volatile");
  const JobId job = AcceptedJob(Submit(Commands(3, true)));
  Await([&] { return port.assignments.size() == 1; });
  FillMemory(90'000);
  for (const WorkKind kind : {WorkKind::kCommand, WorkKind::kFunction}) {
    JobSpec spec = Commands(1, true);
    spec.kind = kind;
    EXPECT_EQ(OnLoop([&] { return loop_->CheckRoom(spec, 1000); }).code(),
              absl::StatusCode::kResourceExhausted);
  }
  PackedBytes inputs;
  inputs.Append(std::string(20'000, 'x'));
  EXPECT_EQ(OnLoop([&] { return loop_->StageInputs(InputSetId(9), true, 0, inputs); }).code(),
            absl::StatusCode::kResourceExhausted);

  FillMemory(110'000);
  OnLoop([&] {
    Finish(session, port, job, 1, {0, 1});
    return true;
  });
  const JobFacts facts = OnLoop([&] { return loop_->core().state().FindJob(job)->facts; });
  EXPECT_EQ(facts.counts.succeeded, 1u);
  ASSERT_TRUE(facts.cancel.has_value());
  EXPECT_EQ(facts.cancel->by,
            "the coordinator: volatile jobs fill twice the 100000 bytes that they may");
  Await([&] { return std::find(port.said.begin(), port.said.end(), "cancel") != port.said.end(); });
  End();
  EXPECT_TRUE(result_.ok()) << result_;
}

}  // namespace
}  // namespace haul::coordinator
