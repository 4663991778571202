// Jobs of short tasks that follow each other: a job begins with what its function took in others,
// and a worker that is about to have nothing gets the next job before it tells so.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

class ShortJobsTest : public CoreFixture {
 protected:
  SessionId ConnectServing(const std::string& name, std::uint64_t cpus_milli) {
    WorkerProfile profile = Profile(name, cpus_milli);
    profile.functions = {{"f", "()->()", "lib"}, {"g", "()->()", "lib"}};
    return Connect(profile);
  }
  static JobSpec Calls(std::uint64_t count, const std::string& function = "f") {
    JobSpec spec = Tasks(count);
    spec.kind = WorkKind::kFunction;
    spec.function = function;
    spec.signature = "()->()";
    return spec;
  }
  void FinishIn(const SendAssignment& sent, std::uint64_t task_ns) {
    const OutcomeHeader outcome{.tasks = sent.tasks, .busy_ns = task_ns * sent.tasks.count};
    Send(TasksFinished{sent.session, ++batch_, sent.id, sent.job, {outcome}});
    Take<SendDurable>();
  }
  // A job of one task of this function that took so long.
  void Measure(std::uint64_t task_ns, const std::string& function = "f") {
    Submit(Calls(1, function));
    Turn();
    FinishIn(TakeAssignment(), task_ns);
    Turn();
  }
  std::vector<JobId> Given() {
    std::vector<JobId> jobs;
    for (const SendAssignment& sent : TakeAll<SendAssignment>()) {
      jobs.push_back(sent.job);
      sent_[sent.job] = sent;
    }
    return jobs;
  }
  std::map<JobId, SendAssignment> sent_;

 private:
  std::uint64_t batch_ = 1'000'000;
};

TEST_F(ShortJobsTest, AJobBeginsWithATenthOfTheTargetByWhatItsFunctionTook) {
  ConnectServing("w", 2000);
  Measure(1000);
  Submit(Calls(1'000'000));
  Turn();
  const SendAssignment first = TakeAssignment();
  EXPECT_EQ(first.tasks.count, 10'002u) << "5 ms for each of two threads, beyond what runs";
  FinishIn(first, 10'000);
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 10'002u) << "50 ms, now that its own tasks are known";
}

TEST_F(ShortJobsTest, AnotherFunctionAndACommandBeginWithAMeasure) {
  ConnectServing("w", 2000);
  Measure(1000);
  Submit(Calls(100, "g"));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 2u);
  Cancel(JobId(2));
  Forget();
  ConnectServing("other", 1000);
  Submit(Tasks(100));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 1u);
}

TEST_F(ShortJobsTest, WhatWasMeasuredIsForgottenWithTheLastWorkerThatServes) {
  const SessionId session = ConnectServing("w", 1000);
  Measure(1000);
  Send(SessionClosed{session});
  ConnectServing("w", 1000);
  Submit(Calls(100));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 1u);
}

TEST_F(ShortJobsTest, TheNextJobsAreGivenBeforeAllIsOver) {
  ConnectServing("w", 2000);
  Measure(1000);
  for (int i = 0; i < 20; ++i) Submit(Calls(1));
  Turn();
  EXPECT_THAT(Given(), ::testing::ElementsAre(JobId(2), JobId(3))) << "what there is room for";
  FinishIn(sent_.at(JobId(2)), 1000);
  Turn();
  EXPECT_EQ(Given().size(), 7u) << "four times its cpus, of which one task is left";
  FinishIn(sent_.at(JobId(3)), 1000);
  FinishIn(sent_.at(JobId(4)), 1000);
  Turn();
  EXPECT_THAT(Given(), ::testing::ElementsAre(JobId(11), JobId(12))) << "the oldest first";
  Turn();
  ExpectNoMore();  // nothing ended since
}

TEST_F(ShortJobsTest, NothingIsGivenAheadBesideOrOfWhatMayBeLong) {
  ConnectServing("w", 1000);
  Measure(1000);
  Measure(3'000'000, "g");
  Submit(Calls(1));
  const JobId second = Submit(Calls(1, "g"));
  JobSpec once = Calls(1);
  once.at_most_once = true;
  Submit(once);
  Submit(Tasks(1));
  Turn();
  ASSERT_THAT(Given(), ::testing::ElementsAre(JobId(3)));
  // An outcome of what is over wakes the pass: there is still one task, and it is short.
  ConnectServing("other", 1000);
  Turn();
  ASSERT_THAT(Given(), ::testing::ElementsAre(second));
  FinishIn(sent_.at(JobId(3)), 1000);
  Turn();
  EXPECT_EQ(Given().size(), 1u) << "in the room that came free, at most once or a command";
  Submit(Calls(1));
  FinishIn(sent_.at(second), 3'000'000);
  Turn();
  EXPECT_EQ(Given().size(), 1u) << "no more beside it, whose length nobody knows";
}

TEST_F(ShortJobsTest, WhatTheWorkerDoesNotComeToIsAskedBackOnce) {
  ConnectServing("w", 1000);
  Measure(1000);
  const JobId now = Submit(Calls(3));
  const JobId next = Submit(Calls(5));
  Turn();
  ASSERT_THAT(Given(), ::testing::ElementsAre(now));
  const SendAssignment& all = sent_.at(now);
  ASSERT_EQ(all.tasks.count, 3u);
  Send(TasksFinished{all.session, 1, all.id, now, {{.tasks = {0, 1}, .busy_ns = 1000}}});
  Take<SendDurable>();
  Turn();
  ASSERT_THAT(Given(), ::testing::ElementsAre(next));
  Advance(49);
  Turn();
  ExpectNoMore();
  Advance(1);
  Turn();
  const auto revoke = Take<SendRevoke>();
  EXPECT_EQ(revoke.id, sent_.at(next).id);
  EXPECT_EQ(revoke.count, 5u);
  Turn();
  ExpectNoMore();
  // One had started. What comes back may go anywhere.
  HandBack(sent_.at(next), {1, 4});
  ConnectServing("other", 2000);
  Turn();
  EXPECT_THAT(Given(), ::testing::ElementsAre(next));
  EXPECT_EQ(sent_.at(next).tasks.first, 1u);
  Advance(100);
  Turn();
  ExpectNoMore();
}

TEST_F(ShortJobsTest, NothingIsAskedOfAWorkerThatIsAway) {
  const SessionId session = ConnectServing("w", 1000);
  Measure(1000);
  const JobId now = Submit(Calls(3));
  Submit(Calls(5));
  Turn();
  Given();
  const SendAssignment& all = sent_.at(now);
  Send(TasksFinished{session, 1, all.id, now, {{.tasks = {0, 1}, .busy_ns = 1000}}});
  Take<SendDurable>();
  Turn();
  Given();
  Send(SessionClosed{session});
  Advance(100);
  Turn();
  ExpectNoMore();
}

TEST_F(ShortJobsTest, TasksThatTakeLongerThanExpectedAreAskedBackForAnIdleWorker) {
  ConnectServing("w", 1000);
  Measure(1000);
  Submit(Calls(41));
  Turn();
  const SendAssignment all = TakeAssignment();
  ASSERT_EQ(all.tasks.count, 41u);
  ConnectServing("idle", 1000);
  Turn();
  ExpectNoMore();  // 40 microseconds are not worth it
  Advance(50);
  Turn();
  EXPECT_EQ(Take<SendRevoke>().count, 20u) << "the first has run for 50 ms";
}

}  // namespace
}  // namespace haul::coordinator
