// A job begins with what its function took in others, on trust.
#include <gmock/gmock.h>

#include "coordinator/core/core_fixture.h"

namespace haul::coordinator {
namespace {

class TrustTest : public CoreFixture {
 protected:
  static WorkerProfile Serving(const std::string& name, std::uint64_t cpus_milli) {
    WorkerProfile profile = Profile(name, cpus_milli);
    profile.functions = {{"f", "()->()", "lib"}, {"g", "()->()", "lib"}};
    return profile;
  }
  SessionId ConnectServing(const std::string& name, std::uint64_t cpus_milli) {
    return Connect(Serving(name, cpus_milli));
  }
  static JobSpec Calls(std::uint64_t count, const std::string& function = "f") {
    JobSpec spec = Tasks(count);
    spec.kind = WorkKind::kFunction;
    spec.function = function;
    spec.signature = "()->()";
    return spec;
  }
  static JobSpec Urgent(JobSpec spec) {
    spec.priority = 1;
    return spec;
  }
  void FinishIn(const SendAssignment& sent, TaskRange tasks, std::uint64_t task_ns) {
    const OutcomeHeader outcome{.tasks = tasks, .busy_ns = task_ns * tasks.count};
    Send(TasksFinished{sent.session, ++batch_, sent.id, sent.job, {outcome}});
    Take<SendDurable>();
  }
  void FinishIn(const SendAssignment& sent, std::uint64_t task_ns) {
    FinishIn(sent, sent.tasks, task_ns);
  }
  // A job of one task of this function that took so long.
  void Measure(std::uint64_t task_ns, const std::string& function = "f") {
    Submit(Calls(1, function));
    Turn();
    FinishIn(TakeAssignment(), task_ns);
    Turn();
  }

 private:
  std::uint64_t batch_ = 1'000'000;
};

TEST_F(TrustTest, AJobBeginsWithATenthOfTheTargetByWhatItsFunctionTook) {
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

TEST_F(TrustTest, AnotherFunctionAndACommandBeginWithAMeasure) {
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

TEST_F(TrustTest, WhatWasMeasuredIsForgottenWithTheLastWorkerThatServes) {
  const SessionId session = ConnectServing("w", 1000);
  Measure(1000);
  Send(WorkerSaidGoodbye{session});
  Forget();
  ConnectServing("w", 1000);
  Submit(Calls(100));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 1u);
}

TEST_F(TrustTest, WhatWasMeasuredOutlivesALostConnection) {
  const SessionId session = ConnectServing("w", 1000);
  Measure(1000);
  Send(SessionClosed{session});
  ConnectServing("w", 1000);
  Submit(Calls(100));
  Turn();
  EXPECT_EQ(TakeAssignment().tasks.count, 100u);
}

TEST_F(TrustTest, WhatTakesLongerThanExpectedComesBackAndIsGivenOneByOne) {
  ConnectServing("w", 1000);
  Measure(1000);
  const JobId job = Submit(Calls(5000));
  Turn();
  const SendAssignment all = TakeAssignment();
  ASSERT_EQ(all.tasks.count, 5000u);
  Advance(49);
  Turn();
  ExpectNoMore();
  Advance(1);
  Turn();
  const auto revoke = Take<SendRevoke>();
  EXPECT_EQ(revoke.id, all.id);
  EXPECT_EQ(revoke.count, 5000u);
  Turn();
  ExpectNoMore();  // asked once
  HandBack(all, {1, 4999});
  const JobId urgent = Submit(Urgent(Calls(1)));
  Advance(100);
  Turn();
  ExpectNoMore();
  FinishIn(all, {0, 1}, 1'000'000'000);
  Turn();
  EXPECT_EQ(TakeAssignment().job, urgent) << "who does not wait for all the others";
  ConnectServing("other", 1000);
  Turn();
  const SendAssignment next = TakeAssignment();
  EXPECT_EQ(next.job, job);
  EXPECT_EQ(next.tasks, (TaskRange{1, 1}));
}

TEST_F(TrustTest, WhatIsAskedOfAConnectionThatBreaksIsAskedAgain) {
  WorkerProfile profile = Serving("w", 1000);
  const SessionId session = Connect(profile);
  Measure(1000);
  Submit(Calls(5000));
  Turn();
  const SendAssignment all = TakeAssignment();
  Advance(50);
  Send(WorkerSpoke{session});
  Turn();
  Take<SendRevoke>();
  Send(SessionClosed{session});
  Advance(50);
  Turn();
  ExpectNoMore();  // of a worker that is away
  Connect(profile, {Held(all, all.tasks)});
  Turn();
  EXPECT_EQ(Take<SendRevoke>().count, 5000u);
}

TEST_F(TrustTest, NothingComesBackOfWhatWasMeasured) {
  ConnectServing("w", 1000);
  Measure(1000);
  Submit(Calls(5000));
  Turn();
  const SendAssignment all = TakeAssignment();
  FinishIn(all, {0, 1}, 1000);
  Forget();
  Advance(1000);
  Turn();
  EXPECT_FALSE(Has<SendRevoke>());
}

}  // namespace
}  // namespace haul::coordinator
