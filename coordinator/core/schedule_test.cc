// The scheduling policy, seen through the core that carries its plans out.
#include "coordinator/core/schedule.h"

#include <gmock/gmock.h>

#include <map>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ScheduleTest : public CoreFixture {
 protected:
  std::uint64_t Outstanding(SessionId session) { return WorkerOf(session).assigned_tasks; }
  static JobSpec Limited(std::uint64_t tasks, std::uint32_t max_running) {
    JobSpec spec = Tasks(tasks);
    spec.max_running = max_running;
    return spec;
  }
  static JobSpec Sized(std::uint64_t tasks, std::uint32_t cpus_milli) {
    JobSpec spec = Tasks(tasks);
    spec.cpus_milli = cpus_milli;
    return spec;
  }
  // Every task at every worker that may be running ends after `ms`, and a turn is made; so often.
  // What is started is in `sent_`, by assignment; how many tasks of each job ended, in `ended_`.
  void RunTurns(int turns, std::int64_t ms) {
    for (int turn = 0; turn < turns; ++turn) {
      Turn();
      for (SendAssignment& sent : TakeAll<SendAssignment>()) sent_[sent.id] = sent;
      Advance(ms);
      for (const auto& [session, id] : Sessions()) {
        Send(WorkerSpoke{session});
        FinishRunning(*state().FindWorker(id), ms);
      }
    }
  }
  void FinishRunning(const Worker& worker, std::int64_t ms) {
    std::vector<std::pair<AssignmentId, TaskRange>> ends;
    for (const auto& [key, lane] : worker.lanes) {
      std::uint64_t left = lane.running_width();
      for (const AssignmentId id : lane.assignments) {
        const TaskRange range = state().FindAssignment(id)->tasks.First(left);
        left -= range.count;
        if (range.count > 0) ends.emplace_back(id, range);
      }
    }
    for (const auto& [id, range] : ends) {
      const JobId job = sent_.at(id).job;
      ended_[job] += range.count;
      Finish(sent_.at(id), range, takes_ms_.contains(job) ? takes_ms_.at(job) : ms);
    }
  }
  std::map<SessionId, WorkerId> Sessions() const {
    std::map<SessionId, WorkerId> sessions;
    for (const auto& [id, worker] : state().workers()) sessions[worker.session] = id;
    return sessions;
  }
  std::map<AssignmentId, SendAssignment> sent_;
  std::map<JobId, std::uint64_t> ended_;
  std::map<JobId, std::int64_t> takes_ms_;  // where that is not what the turn takes
};

TEST_F(ScheduleTest, TwoThreadsGetTwoTasksThenABacklogOfMeasuredLength) {
  const SessionId session = Connect("w", 2000);
  const JobId job = Submit(Tasks(1'000'000));
  Turn();
  const SendAssignment first = TakeAssignment();
  EXPECT_EQ(first.tasks, (TaskRange{0, 2}));
  EXPECT_EQ(first.width, 2u);
  ExpectNoMore();
  Finish(first, {0, 1}, 1);
  Turn();
  const SendAssignment second = TakeAssignment();
  EXPECT_EQ(second.width, 2u);
  EXPECT_FALSE(second.with_spec);
  // 50 ms of tasks of 1 ms for each of two threads, beyond the two that run.
  EXPECT_EQ(Outstanding(session), 102u);
  EXPECT_EQ(JobOf(job).running_width, 2u);
  // It is topped up when half of it is gone, not for each task.
  Finish(second, {second.tasks.first, 40}, 1);
  Turn();
  ExpectNoMore();
  Finish(second, {second.tasks.first + 40, 20}, 1);
  Turn();
  EXPECT_EQ(Outstanding(session), 102u);
}

TEST_F(ScheduleTest, LongTasksAreGivenOneByOne) {
  const SessionId session = Connect("w", 2000);
  Submit(Tasks(100));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 1000);
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 1u);
  EXPECT_EQ(Outstanding(session), 2u);
}

TEST_F(ScheduleTest, LongAssignmentsAreCutByTasksAndByInputBytes) {
  options_.schedule.max_assignment_tasks = 60;
  Start();
  Connect("w", 1000);
  Submit(Tasks(100'000));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 0);  // at no time at all: as many as the limits allow
  Turn();
  for (const SendAssignment& sent : TakeAll<SendAssignment>()) EXPECT_LE(sent.tasks.count, 60u);
  JobSpec spec = Tasks(100'000);
  spec.priority = 1;
  InputSizes sizes;
  sizes.Append(100'000, 100'000ull * 100'000);
  const JobId heavy = Submit(spec, sizes);
  const SessionId other = Connect("other");
  Turn();
  Finish(TakeAssignment(), {0, 1}, 0);
  Turn();
  for (const SendAssignment& sent : TakeAll<SendAssignment>()) {
    EXPECT_EQ(sent.job, heavy);
    EXPECT_LE(sent.tasks.count, 10u) << "1 MiB of inputs of 100 kB";
  }
  EXPECT_LE(Outstanding(other), 42u) << "4 MiB of them wait, one runs";
}

// By the mean, 10 bytes, all of the large ones could be in one assignment.
TEST_F(ScheduleTest, AFewLargeInputsAmongManySmallOnesAreBoundedWhereTheyStand) {
  constexpr std::uint64_t kSmall = 1'000'000, kLargeBytes = 100'000;
  constexpr TaskRange kLarge{kSmall, 100};
  InputSizes sizes;
  sizes.Append(kSmall, kSmall);
  sizes.Append(kLarge.count, kLarge.count * kLargeBytes);
  sizes.Append(kSmall, kSmall);
  const JobId job = Submit(Tasks(2 * kSmall + kLarge.count), sizes);
  Connect("w", 1000);
  std::uint64_t most_waiting = 0;
  const auto count_large = [&](const IntervalSet& tasks) {
    return tasks.Intersection(kLarge).size();
  };
  for (;;) {
    Turn();
    for (SendAssignment& sent : TakeAll<SendAssignment>()) {
      EXPECT_LE(count_large(IntervalSet(sent.tasks)), (1u << 20) / kLargeBytes);
      sent_[sent.id] = sent;
    }
    if (sent_.empty()) break;
    std::uint64_t waiting = 0;
    for (const auto& [id, assignment] : state().assignments()) {
      waiting += count_large(assignment.tasks);
    }
    most_waiting = std::max(most_waiting, waiting);
    const auto first = sent_.extract(sent_.begin());
    Finish(first.mapped(), first.mapped().tasks, 0);  // at no time: as many as the limits allow
  }
  EXPECT_LE(most_waiting, 2 * (4u << 20) / kLargeBytes);
  EXPECT_GT(most_waiting, 20u) << "and as many as may wait do";
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(ScheduleTest, MaxRunningHoldsOverAllWorkers) {
  Connect("a", 4000);
  Connect("b", 4000);
  const JobId job = Submit(Limited(100, 3));
  Turn();
  EXPECT_EQ(JobOf(job).running_width, 3u);
  EXPECT_THAT(Reason(job), HasSubstr("--max-running allows: 3"));
  for (SendAssignment& sent : TakeAll<SendAssignment>()) sent_[sent.id] = sent;
  RunTurns(40, 1);
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
}

TEST_F(ScheduleTest, FractionsOfCpusShareOne) {
  const SessionId session = Connect("w", 1000);
  const JobId job = Submit(Sized(10, 300));
  Turn();
  EXPECT_EQ(TakeAssignment().width, 3u);
  EXPECT_EQ(WorkerOf(session).free_milli(), 100u);
  Submit(Sized(1, 100));
  Turn();
  EXPECT_EQ(TakeAssignment().width, 1u);
  EXPECT_EQ(WorkerOf(session).free_milli(), 0u);
  EXPECT_THAT(Reason(job), IsEmpty());
}

TEST_F(ScheduleTest, HigherPriorityComesFirstAndTakesOver) {
  Connect("w", 2000);
  const JobId low = Submit(Tasks(1'000'000));
  RunTurns(3, 1);
  JobSpec urgent = Tasks(50);
  urgent.priority = 5;
  const JobId high = Submit(urgent);
  RunTurns(60, 1);
  EXPECT_GT(ended_[low], 0u) << "what waits at the worker runs down";
  RunTurns(60, 1);
  EXPECT_EQ(JobOf(high).state(), JobState::kSucceeded);
  const std::uint64_t before = ended_[low];
  RunTurns(10, 1);
  EXPECT_GT(ended_[low], before);
}

TEST_F(ScheduleTest, TwoJobsShareFairly) {
  Connect("w", 4000);
  const JobId first = Submit(Tasks(1'000'000));
  RunTurns(20, 1);
  const JobId second = Submit(Tasks(1'000'000));
  RunTurns(200, 1);
  ended_.clear();
  RunTurns(400, 1);
  const double share =
      static_cast<double>(ended_[second]) / static_cast<double>(ended_[first] + ended_[second]);
  EXPECT_GT(share, 0.4);
  EXPECT_LT(share, 0.6);
}

TEST_F(ScheduleTest, MoreJobsThanSlotsAndNobodyStarves) {
  Connect("w", 2000);
  std::vector<JobId> jobs;
  for (int i = 0; i < 10; ++i) jobs.push_back(Submit(Tasks(100'000)));
  RunTurns(1000, 10);
  for (const JobId job : jobs) {
    EXPECT_GT(ended_[job], 100u) << "of 2000 ends in all, 200 would be its share; job " << job;
  }
}

// Beside a long job, eight of one task each are always there, which takes so many ms; those of the
// long job take 10.
class FlowTest : public ScheduleTest, public ::testing::WithParamInterface<std::int64_t> {};

TEST_P(FlowTest, ASteadyFlowOfSmallJobsLeavesALongOneItsShare) {
  Connect("w", 2000);
  const JobId job = Submit(Tasks(1'000'000));
  RunTurns(20, 10);
  ended_.clear();
  std::vector<JobId> flow;
  for (int turn = 0; turn < 200; ++turn) {
    std::erase_if(flow, [&](JobId id) { return JobOf(id).is_ended(); });
    while (flow.size() < 8) {
      flow.push_back(Submit(Tasks(1)));
      takes_ms_[flow.back()] = GetParam();
    }
    RunTurns(1, 10);
  }
  EXPECT_GT(ended_[job], 0u);
  EXPECT_LT(ended_[job], 300u) << "of 400 ends; the others do not starve either";
}

// 0: too short to be measured.
INSTANTIATE_TEST_SUITE_P(Milliseconds, FlowTest, ::testing::Values(0, 10, 1'000));

TEST_F(ScheduleTest, WhoComesLaterHasNoClaimToWhatOthersUsedMeanwhile) {
  Connect("w", 1000);
  const JobId first = Submit(Tasks(100));
  RunTurns(110, 10);
  ASSERT_TRUE(JobOf(first).is_ended());
  EXPECT_EQ(JobOf(Submit(Tasks(1))).virtual_us, JobOf(first).virtual_us) << "nobody else is there";
}

TEST_F(ScheduleTest, LargeRequestGetsAWorkerReservedWhereRoomIsInPieces) {
  Connect("w", 4000);
  Submit(Sized(1'000'000, 1500));  // leaves 1000 over
  Submit(Sized(1'000'000, 1000));
  RunTurns(10, 10);
  const JobId large = Submit(Sized(1, 4000));
  for (int i = 0; i < 300 && !JobOf(large).is_ended(); ++i) RunTurns(1, 10);
  EXPECT_EQ(JobOf(large).state(), JobState::kSucceeded);
}

TEST_F(ScheduleTest, LargeRequestIsServedWhereLanesKeepEveryCpuTaken) {
  Connect("w", 4000);
  // Each has less than the large one asks for, and a backlog, so that no cpu is ever free by
  // itself.
  Submit(Tasks(1'000'000));
  Submit(Tasks(1'000'000));
  RunTurns(50, 5);
  const JobId large = Submit(Sized(1, 4000));
  for (int i = 0; i < 400 && !JobOf(large).is_ended(); ++i) RunTurns(1, 5);
  EXPECT_EQ(JobOf(large).state(), JobState::kSucceeded);
}

TEST_F(ScheduleTest, RequestThatNobodyCanEverServeKeepsNoRoomFromOthers) {
  Connect("w", 2000);
  const JobId never = Submit(Sized(1, 8000));
  const JobId job = Submit(Tasks(200));
  RunTurns(150, 10);
  EXPECT_EQ(JobOf(job).state(), JobState::kSucceeded);
  EXPECT_THAT(Reason(never), HasSubstr("no worker has more than 2000"));
}

TEST_F(ScheduleTest, FewTasksAreSpreadOverTheWorkers) {
  for (const char* name : {"a", "b", "c", "d"}) Connect(name, 4000);
  Submit(Tasks(4));
  Turn();
  EXPECT_EQ(TakeAll<SendAssignment>().size(), 4u);
}

TEST_F(ScheduleTest, GrantedRoomIsNotEmptiedByABacklogElsewhere) {
  Connect("a");
  const JobId job = Submit(Tasks(3));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 1);
  const SessionId b = Connect("b");
  Turn();
  EXPECT_EQ(TakeAll<SendAssignment>().size(), 2u);
  EXPECT_EQ(Outstanding(b), 1u);
  EXPECT_FALSE(JobOf(job).has_ready());
}

class RevokeTest : public ScheduleTest {
 protected:
  // "busy" runs one of many tasks of 10 ms, the rest waits there; "idle" comes.
  void SetUp() override {
    options_.schedule.backlog_target_ms = 1000;
    Start();
    Connect("busy");
    job_ = Submit(Tasks(41));
    Turn();
    Finish(TakeAssignment(), {0, 1}, 10);
    Turn();
    held_ = TakeAssignment();
    ASSERT_EQ(held_.tasks, (TaskRange{1, 40}));
    idle_ = Connect("idle");
    Turn();
    revoke_ = Take<SendRevoke>();
    EXPECT_EQ(revoke_.session, held_.session);
    EXPECT_EQ(revoke_.id, held_.id);
    EXPECT_EQ(revoke_.count, 20u);
    Turn();
    ExpectNoMore();  // asked once
  }
  JobId job_;
  SendAssignment held_;
  SessionId idle_;
  SendRevoke revoke_;
};

TEST_F(RevokeTest, BacklogMovesToAnIdleWorkerWhenTheOtherConfirms) {
  EXPECT_EQ(JobOf(job_).ready.size(), 0u) << "not before";
  HandBack(held_, {21, 20});
  Turn();
  const SendAssignment moved = TakeAssignment();
  EXPECT_EQ(moved.session, idle_);
  EXPECT_EQ(moved.tasks.first, 21u);
  EXPECT_TRUE(moved.with_spec);
}

TEST_F(RevokeTest, AnswerWithNothingIsAnAnswer) {
  HandBack(held_, {});
  EXPECT_FALSE(state().FindAssignment(held_.id)->revoke_asked);
  Turn();
  Take<SendRevoke>();
}

TEST_F(RevokeTest, WhatADeadExecutorHadIsNoAnswer) {
  HandBack(held_, {1, 1}, HandBackReason::kExecutorDied);
  EXPECT_TRUE(state().FindAssignment(held_.id)->revoke_asked);
  Turn();
  EXPECT_FALSE(Has<SendRevoke>());
  EXPECT_EQ(TakeAssignment().tasks, (TaskRange{1, 1}));
}

TEST_F(RevokeTest, CompletionThatCrossesTheRevokeStands) {
  Finish(held_, {1, 40}, 10);
  EXPECT_EQ(JobOf(job_).state(), JobState::kSucceeded);
  HandBack(held_, {});
  HandBack(held_, {21, 20});
  EXPECT_EQ(JobOf(job_).facts.counts.succeeded, 41u);
  Turn();
  ExpectNoMore();
}

TEST_F(RevokeTest, HandBackOfWhatEndedMovesOnlyTheRest) {
  Finish(held_, {21, 5}, 10);
  HandBack(held_, {21, 20});
  EXPECT_EQ(JobOf(job_).ready, IntervalSet({26, 15}));
}

TEST_F(RevokeTest, WorkerThatMayHaveGivenEverythingBackGetsTheSpecAgain) {
  Send(
      TasksHandedBack{idle_, held_.id, job_, {{21, 20}}, HandBackReason::kRevoked});  // not its own
  EXPECT_EQ(JobOf(job_).assigned_tasks, 40u);
  // The revoke is unanswered; other work of the job goes to the same worker meanwhile.
  Send(WorkerDeathReported{"idle-1", "killed"});
  Forget();
  JobSpec spec = Tasks(1);
  Finish(held_, {1, 39}, 10);
  const JobId other = Submit(spec);
  EXPECT_NE(other, job_);
  Turn();
  EXPECT_FALSE(Has<SendRevoke>());
}

TEST_F(ScheduleTest, WhatWaitsIsGivenWiderWhereItsOwnWorkerHasRoom) {
  options_.schedule.backlog_target_ms = 1000;
  Start();
  Connect("w", 2000);
  const JobId other = Submit(Tasks(1));
  const JobId job = Submit(Tasks(41));
  Turn();
  const SendAssignment of_other = TakeAssignment();
  const SendAssignment first = TakeAssignment();
  ASSERT_EQ(of_other.job, other);
  ASSERT_EQ(first.tasks, (TaskRange{0, 1}));
  Finish(first, {0, 1}, 10);
  Turn();
  const SendAssignment rest = TakeAssignment();
  ASSERT_EQ(rest.tasks, (TaskRange{1, 40}));
  ASSERT_EQ(rest.width, 1u);
  Finish(of_other, {0, 1}, 10);
  Turn();
  const auto revoke = Take<SendRevoke>();
  EXPECT_EQ(revoke.id, rest.id);
  HandBack(rest, {21, 20});
  Turn();
  const SendAssignment wider = TakeAssignment();
  EXPECT_EQ(wider.job, job);
  EXPECT_EQ(wider.width, 2u);
  EXPECT_EQ(wider.tasks, (TaskRange{21, 20}));
  Turn();
  ExpectNoMore();
}

TEST_F(ScheduleTest, NothingIsAskedBackThatMaxRunningKeepsWhereItIs) {
  options_.schedule.backlog_target_ms = 1000;
  Start();
  Connect("busy");
  Submit(Limited(41, 1));
  Turn();
  Finish(TakeAssignment(), {0, 1}, 10);
  Turn();
  TakeAssignment();
  Connect("idle");
  Turn();
  ExpectNoMore();
}

TEST_F(ScheduleTest, WhyATaskDoesNotRunAlwaysHasAnAnswer) {
  const JobId job = Submit(Sized(2, 1000));
  EXPECT_THAT(Reason(job), HasSubstr("no worker is connected"));
  const SessionId small = Connect("small", 500);
  EXPECT_THAT(Reason(job), HasSubstr("no worker has more than 500"));
  const SessionId session = Connect("w", 1000);
  Turn();
  const SendAssignment sent = TakeAssignment();
  EXPECT_THAT(Reason(job), IsEmpty());
  const JobId second = Submit(Tasks(1));
  Turn();
  EXPECT_THAT(Reason(second), HasSubstr("other jobs come first"));
  HandBack(sent, {0, 1}, HandBackReason::kDirectoryMissing);
  Send(SessionClosed{small});
  EXPECT_THAT(Reason(job), HasSubstr("no worker has the job's directory"));
  WorkerProfile server = Profile("f");
  server.functions = {{"f", "()->()", "lib"}};
  const SessionId serving = Connect(server);
  JobSpec call = Tasks(1);
  call.kind = WorkKind::kFunction;
  call.function = "f";
  call.signature = "()->()";
  const JobId function = Submit(call);
  Send(SessionClosed{serving});
  EXPECT_THAT(Reason(function), HasSubstr("no worker serves the function f ()->()"));
  Send(SessionClosed{session});
  EXPECT_THAT(Reason(function), HasSubstr("no worker is connected"));
  Cancel(function);
  EXPECT_THAT(Reason(function), IsEmpty());
}

}  // namespace
}  // namespace haul::coordinator
