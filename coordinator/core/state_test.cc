// Recovery is Apply over the durable records: after any sequence of events, a state that got only
// those knows the same durable facts as the one that lived through it.
#include "coordinator/core/state.h"

#include <gmock/gmock.h>

#include <random>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

void ExpectSameFacts(const State& live, const State& recovered) {
  ASSERT_EQ(recovered.jobs().size(), live.jobs().size());
  for (const auto& [id, job] : live.jobs()) {
    const Job* other = recovered.FindJob(id);
    ASSERT_NE(other, nullptr) << "job " << id;
    EXPECT_EQ(other->facts.spec, job.facts.spec);
    EXPECT_EQ(other->facts.accepted_unix_us, job.facts.accepted_unix_us);
    EXPECT_EQ(other->facts.counts, job.facts.counts);
    EXPECT_EQ(other->facts.ended, job.facts.ended);
    EXPECT_EQ(other->facts.ended_unix_us, job.facts.ended_unix_us);
    EXPECT_EQ(other->facts.done, job.facts.done);
    EXPECT_EQ(other->facts.charges, job.facts.charges);
    EXPECT_EQ(other->facts.started, job.facts.started);
    EXPECT_EQ(other->facts.open, job.facts.open);
    EXPECT_EQ(other->facts.retried, job.facts.retried);
    EXPECT_EQ(other->facts.cancel.has_value(), job.facts.cancel.has_value());
    EXPECT_EQ(other->ready.size() + other->ready_alone.size(),
              job.ready.size() + job.ready_alone.size() + job.assigned_tasks);
  }
  EXPECT_EQ(recovered.active_jobs(), live.active_jobs());
  ASSERT_EQ(recovered.workers().size(), live.workers().size());
  for (const auto& [id, worker] : live.workers()) {
    const Worker* other = recovered.FindWorker(id);
    ASSERT_NE(other, nullptr) << "worker " << id;
    EXPECT_EQ(other->facts.incarnation, worker.facts.incarnation);
    EXPECT_EQ(other->facts.name, worker.facts.name);
  }
}

// Random events, sensible and not.
class RecoveryTest : public CoreFixture, public ::testing::WithParamInterface<unsigned> {
 protected:
  std::uint64_t Below(std::uint64_t limit) { return random_() % limit; }
  JobId SomeJob() {
    if (state().jobs().empty()) return JobId(1);
    return std::next(state().jobs().begin(),
                     static_cast<std::ptrdiff_t>(Below(state().jobs().size())))
        ->first;
  }
  SessionId SomeSession() { return SessionId(1 + Below(sessions_ + 2)); }

  void SubmitSome() {
    JobSpec spec = Tasks(1 + Below(40));
    spec.priority = static_cast<std::int32_t>(Below(3));
    spec.max_attempts = 1 + static_cast<std::uint32_t>(Below(3));
    spec.max_running = static_cast<std::uint32_t>(Below(3));
    spec.cpus_milli = 250 * (1 + static_cast<std::uint32_t>(Below(5)));
    if (Below(3) == 0) spec.request_id = std::to_string(Below(10));
    spec.is_open = Below(4) == 0;
    spec.at_most_once = spec.max_attempts == 1 && Below(2) == 0;
    Send(JobSubmitted{NextRequest(), spec});
  }
  void ConnectSome() {
    WorkerProfile profile = Profile("w" + std::to_string(Below(4)), 1000 * (1 + Below(4)));
    profile.incarnation = profile.name + std::to_string(Below(2));
    std::vector<HeldAssignment> held;
    for (const auto& [id, assignment] : state().assignments()) {
      if (Below(2) == 0) continue;
      const TaskRange first = assignment.tasks.First(~0ull);
      held.push_back({id,
                      assignment.job,
                      assignment.width,
                      {{first.first, 1 + Below(first.count)}},
                      assignment.alone});
    }
    Send(WorkerConnected{SessionId(++sessions_), profile, held, Below(20) == 0});
  }
  void ExtendSome() {
    const JobId job = SomeJob();
    const Job* found = state().FindJob(job);
    const TaskIndex first = found != nullptr && Below(4) != 0 ? found->facts.spec.task_count : 3;
    Send(JobExtendAsked{NextRequest(), job, first, Below(20), Below(100), Below(5) == 0});
  }
  void FinishSome() {
    if (state().assignments().empty()) return;
    const auto& [id, assignment] =
        *std::next(state().assignments().begin(),
                   static_cast<std::ptrdiff_t>(Below(state().assignments().size())));
    const Worker& worker = *state().FindWorker(assignment.worker);
    TaskRange tasks = assignment.tasks.First(1 + Below(5));
    const auto status = static_cast<TaskStatus>(1 + Below(5));
    if (Below(10) == 0) ++tasks.first;
    Send(TasksFinished{worker.session,
                       1,
                       id,
                       assignment.job,
                       {{.tasks = tasks,
                         .status = status,
                         .busy_ns = Below(1'000'000),
                         .culprit = Below(2) == 0}}});
  }
  void SomeEvent() {
    switch (Below(13)) {
      case 0:
        return SubmitSome();
      case 1:
        return ConnectSome();
      case 2:
        return Send(SessionClosed{SomeSession()});
      case 3:
        return Send(JobCancelAsked{NextRequest(), SomeJob(), "me", {}});
      case 4:
        return Send(JobForgetAsked{NextRequest(), SomeJob()});
      case 5:
        return Send(WorkerDeathReported{"w" + std::to_string(Below(40)), "died"});
      case 6:
        return Pass(static_cast<std::int64_t>(Below(1500)));
      case 7:
        return Below(20) == 0 ? Start() : Turn();
      case 8:
        return ExtendSome();
      default:
        FinishSome();
        return Turn();
    }
  }
  std::mt19937_64 random_{GetParam()};
  std::uint64_t sessions_ = 0;
};

TEST_P(RecoveryTest, DurableRecordsAloneGiveTheSameFacts) {
  for (int step = 0; step < 400; ++step) {
    SomeEvent();
    if (step % 20 != 0) continue;
    State recovered;
    for (const DurableRecord& record : disk_) recovered.Apply(record);
    CheckInvariants(recovered);
    ExpectSameFacts(state(), recovered);
    if (HasFailure()) FAIL() << "seed " << GetParam() << ", step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RecoveryTest, ::testing::Range(1u, 7u));

TEST(StateTest, NewestJobIsTheLastThatIsNotForgotten) {
  State state;
  JobSpec spec;
  spec.task_count = 1;
  for (const std::uint64_t id : {1u, 2u, 3u}) {
    state.Apply(DurableRecord(JobAccepted{JobId(id), spec, static_cast<std::int64_t>(id)}));
  }
  EXPECT_EQ(state.NewestJob()->id, JobId(3));
  state.Apply(DurableRecord(JobEnded{JobId(3), JobState::kCancelled, {.cancelled = 1}, 9}));
  state.Apply(DurableRecord(JobForgotten{JobId(3)}));
  EXPECT_EQ(state.NewestJob()->id, JobId(2));
  CheckInvariants(state);
}

TEST(StateDeathTest, SecondOutcomeOfATaskEndsTheProcess) {
  State state;
  JobSpec spec;
  spec.task_count = 2;
  state.Apply(DurableRecord(JobAccepted{JobId(1), spec, 1}));
  const DurableRecord outcome = OutcomeRecorded{.job = JobId(1), .tasks = {0, 1}};
  state.Apply(outcome);
  EXPECT_DEATH(state.Apply(outcome), "added == record.tasks.count");
}

}  // namespace
}  // namespace haul::coordinator
