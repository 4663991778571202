// WorkerSession: what a worker may say, in which order, and that what it says wrongly is its own
// loss.
#include <limits>

#include "absl/strings/str_cat.h"
#include "coordinator/rpc/server_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AttachTest : public ServerTest {
 protected:
  // What ends the stream of a worker whose hello is this.
  grpc::Status Refusal(const v1::Hello& hello) {
    TestWorker worker(*sessions_);
    worker.Say(hello);
    return worker.Finish();
  }
};

// ---- hello ----

TEST_F(AttachTest, TheFirstMessageIsAHelloAndNoOtherIs) {
  TestWorker silent(*sessions_);
  v1::WorkerMessage heartbeat;
  heartbeat.set_heartbeat(true);
  silent.Write(heartbeat);
  EXPECT_THAT(silent.Finish(), Fails(kInvalid, "hello: in the first message, and only there"));
  EXPECT_THAT(Workers(), IsEmpty());

  TestWorker twice(*sessions_);
  twice.Attach(TestWorker::Hello("twice"));
  twice.Say(TestWorker::Hello("another"));
  EXPECT_THAT(twice.Finish(), Fails(kInvalid, "hello: in the first message, and only there"));
  const auto workers = Workers();
  ASSERT_THAT(workers, SizeIs(1));
  EXPECT_EQ(workers[0].name(), "twice");
  EXPECT_EQ(workers[0].state(), v1::WORKER_STATE_AWAY) << "it has its lease to come back";
}

TEST_F(AttachTest, AHelloIsCheckedFieldByField) {
  v1::Hello hello = TestWorker::Hello("fine");
  hello.clear_name();
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.name: empty"));
  hello = TestWorker::Hello(std::string(257, 'w'), "i");
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.name: 257 bytes are over the limit of 256"));
  hello = TestWorker::Hello("fine");
  hello.clear_incarnation();
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.incarnation: empty"));
  hello = TestWorker::Hello("fine");
  hello.clear_cpus_milli();
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.cpus_milli: 0"));
  hello.set_cpus_milli(~0ull);
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.cpus_milli: 18446744073709551615"));
  hello = TestWorker::Hello("fine");
  hello.add_functions()->set_name("a\nb");
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.functions: "));
  hello = TestWorker::Hello("fine");
  v1::TaskRange& range = *hello.add_held()->add_ranges();
  range.set_first(~0ull);
  range.set_count(2);
  EXPECT_THAT(Refusal(hello), Fails(kInvalid, "hello.held: 2 tasks from"));
  EXPECT_THAT(Workers(), IsEmpty());
}

TEST_F(AttachTest, WhatAWorkerNeverHadIsDropped) {
  const std::uint64_t job = Accepted(ArrayJob(3));
  v1::Hello hello = TestWorker::Hello("one");
  v1::Assignment invented;
  invented.set_assignment_id(77);
  invented.set_job_id(job);
  invented.set_count(3);
  *hello.add_held() = Held(invented);
  TestWorker worker(*sessions_);
  EXPECT_THAT(worker.Attach(hello).dropped_assignments(), ElementsAre(77u));
  EXPECT_EQ(worker.NextAssignment().count(), 3u) << "the job is given out in earnest";
}

TEST_F(AttachTest, NoMessageIsLargerThanAWorkerReadsHoweverManySpecsItGets) {
  constexpr int kJobs = 40;
  v1::JobSpec spec = ArrayJob(1);
  spec.mutable_command()->add_arguments(std::string(100 << 10, 'a'));
  for (int i = 0; i < kJobs; ++i) Accepted(spec);
  TestWorker worker(*sessions_);
  worker.Say(TestWorker::Hello("one"));
  int specs = 0;
  worker.ReadUntil([&specs](const v1::CoordinatorMessage& message) {
    EXPECT_LE(message.ByteSizeLong(), std::size_t{2} << 20);
    for (const v1::Assignment& assignment : message.assignments()) specs += assignment.has_spec();
    return specs == kJobs;
  });
}

TEST_F(AttachTest, WhatATaskWaitsForRunsOnItsCpuAndEndsWithIt) {
  TestWorker worker(*sessions_);
  v1::Hello hello = TestWorker::Hello("one");
  hello.set_cpus_milli(1000);
  worker.Attach(hello);
  Accepted(ArrayJob(1));
  const v1::Assignment parent = worker.NextAssignment();
  v1::JobSpec spec = ArrayJob(1);
  spec.mutable_parent()->set_job_id(parent.job_id());
  EXPECT_THAT(Submit({Whole(spec)}), Fails(kInvalid, "parent.assignment_id: 0"));
  spec.mutable_parent()->set_assignment_id(parent.assignment_id());
  const std::uint64_t child = Accepted(spec);
  EXPECT_EQ(Get(child).spec().parent().job_id(), parent.job_id());
  v1::WorkerMessage message;
  v1::Blocked& blocked = *message.add_blocked();
  blocked.set_assignment_id(parent.assignment_id());
  blocked.set_count(1);
  worker.Write(message);
  const v1::Assignment assignment = worker.NextAssignment();
  EXPECT_EQ(assignment.job_id(), child);
  EXPECT_EQ(assignment.depth(), 1u);
  worker.Report(parent, Succeeded(0, 1));
  worker.AwaitDurable();
  EXPECT_TRUE(Get(child).cancel_requested());
  EXPECT_THAT(Submit({Whole(spec)}),
              Fails(grpc::StatusCode::FAILED_PRECONDITION, "parent: task 0 of job"));
}

TEST_F(AttachTest, TheNewerWorkerOfANameWinsAndTheOlderIsTold) {
  TestWorker older(*sessions_), newer(*sessions_);
  older.Attach(TestWorker::Hello("same", "first life"));
  const std::uint64_t job = Accepted(ArrayJob(3));
  const v1::Assignment lost = older.NextAssignment();
  newer.Attach(TestWorker::Hello("same", "second life"));
  EXPECT_THAT(older.Finish(), Fails(grpc::StatusCode::ABORTED, "superseded by a newer worker"));
  const v1::Assignment taken = newer.NextAssignment();
  EXPECT_EQ(taken.job_id(), job);
  EXPECT_GT(taken.assignment_id(), lost.assignment_id()) << "fencing tokens only rise";
  EXPECT_THAT(Workers(), SizeIs(1));
  // The older one's outcome, told by the newer one, is nobody's.
  newer.Report(lost, Succeeded(0, 3));
  newer.AwaitDurable();
  EXPECT_EQ(Get(job).succeeded(), 0u);
  newer.Report(taken, Succeeded(0, 3));
  newer.AwaitDurable();
  EXPECT_EQ(Get(job).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(AttachTest, AWorkerWhoseStreamBreaksKeepsWhatItHas) {
  TestWorker before(*sessions_), other(*sessions_);
  const std::uint64_t worker_id = before.Attach(TestWorker::Hello("one")).worker_id();
  const std::uint64_t job = Accepted(ArrayJob(3));
  const v1::Assignment assignment = before.NextAssignment();
  before.Break();
  ASSERT_TRUE(Eventually([this] { return Workers()[0].state() == v1::WORKER_STATE_AWAY; }));
  other.Attach(TestWorker::Hello("other"));
  EXPECT_EQ(Get(job).assigned(), 3u) << "and is not given to another within the lease";

  v1::Hello back = TestWorker::Hello("one");
  *back.add_held() = Held(assignment);
  TestWorker after(*sessions_);
  const v1::Welcome welcome = after.Attach(back);
  EXPECT_EQ(welcome.worker_id(), worker_id);
  EXPECT_THAT(welcome.dropped_assignments(), IsEmpty());
  after.Report(assignment, Succeeded(0, 3));
  after.AwaitDurable();
  EXPECT_EQ(Get(job).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(Outcomes(job), SizeIs(1));
}

TEST_F(AttachTest, AConnectionThatIsNotYetKnownToBeDeadGivesWayToTheNext) {
  TestWorker stale(*sessions_), fresh(*sessions_);
  const std::uint64_t worker_id = stale.Attach(TestWorker::Hello("one")).worker_id();
  EXPECT_EQ(fresh.Attach(TestWorker::Hello("one")).worker_id(), worker_id);
  EXPECT_THAT(stale.Finish(), Fails(grpc::StatusCode::ABORTED, "connected anew"));
  EXPECT_EQ(Workers()[0].state(), v1::WORKER_STATE_CONNECTED);
}

TEST_F(AttachTest, ADeathCertificateFreesWhatTheWorkerHad) {
  TestWorker dead(*sessions_), heir(*sessions_);
  dead.Attach(TestWorker::Hello("one"));
  const std::uint64_t job = Accepted(ArrayJob(3));
  dead.NextAssignment();
  heir.Attach(TestWorker::Hello("two"));
  Context context, unknown;
  v1::DeathCertificate certificate;
  v1::DeathReceipt receipt;
  certificate.set_incarnation("of nobody");
  EXPECT_THAT(sessions_->ReportDeath(&unknown, certificate, &receipt), Succeeds());
  EXPECT_THAT(Workers(), SizeIs(2));
  certificate.set_incarnation("one-1");
  std::string cause = "killed";
  while (cause.size() < 300) cause += "\xe2\x82\xac";
  certificate.set_cause(cause);
  EXPECT_THAT(sessions_->ReportDeath(&context, certificate, &receipt), Succeeds());
  EXPECT_THAT(dead.Finish(), Fails(grpc::StatusCode::ABORTED, "killed"));
  EXPECT_EQ(heir.NextAssignment().job_id(), job);
}

// ---- outcomes ----

TEST_F(AttachTest, WhatIsNotALiveAssignmentOfThisWorkerChangesNothing) {
  TestWorker holder(*sessions_), stranger(*sessions_);
  holder.Attach(TestWorker::Hello("holder"));
  const std::uint64_t job = Accepted(ArrayJob(3));
  const v1::Assignment assignment = holder.NextAssignment();
  stranger.Attach(TestWorker::Hello("stranger"));

  stranger.Report(assignment, Succeeded(0, 3));  // another's
  stranger.AwaitDurable();
  v1::Assignment invented = assignment;
  invented.set_assignment_id(assignment.assignment_id() + 1);
  holder.Report(invented, Succeeded(0, 3));  // none at all
  holder.AwaitDurable();
  v1::Assignment confused = assignment;
  confused.set_job_id(job + 1);
  holder.Report(confused, Succeeded(0, 3));  // of another job
  holder.AwaitDurable();
  for (const v1::Outcome& outcome :
       {Succeeded(0, 4), Succeeded(2, 2), Succeeded(3), Succeeded(1ull << 62)}) {
    holder.Report(assignment, outcome);  // beyond it
    holder.AwaitDurable();
  }
  v1::WorkerMessage message;
  v1::HandedBack& back = *message.add_handed_back();
  back.set_assignment_id(assignment.assignment_id());
  back.set_job_id(job);
  back.add_ranges()->set_count(3);
  stranger.Write(message);
  stranger.Report(assignment, Succeeded(0));
  stranger.AwaitDurable();
  EXPECT_EQ(Get(job).assigned(), 3u);
  EXPECT_EQ(Get(job).succeeded(), 0u);

  holder.Report(assignment, Succeeded(1));
  v1::Outcome failed = Succeeded(1);
  failed.set_status(v1::TASK_STATUS_FAILED);
  holder.Report(assignment, failed);  // a second time, and otherwise
  holder.AwaitDurable();
  EXPECT_EQ(Get(job).succeeded(), 1u);
  EXPECT_EQ(Get(job).failed(), 0u);
  EXPECT_THAT(Outcomes(job), SizeIs(1));
}

TEST_F(AttachTest, AMalformedOutcomeEndsItsStreamAndHarmsNobodyElse) {
  TestWorker good(*sessions_);
  v1::Outcome none = Succeeded(0, 0), overflowing = Succeeded(2, ~0ull), unheard = Succeeded(0);
  v1::Outcome causeless = Succeeded(0), short_of_one = Succeeded(0, 2), crash = Succeeded(0, 2);
  unheard.set_status(static_cast<v1::TaskStatus>(99));
  causeless.set_cause(static_cast<v1::Cause>(99));
  short_of_one.mutable_results()->set_uniform_size(4);
  short_of_one.mutable_results()->set_data("1234");
  crash.set_status(v1::TASK_STATUS_CRASHED);
  v1::Outcome past_the_end = Succeeded(0, 2);
  past_the_end.mutable_results()->add_end_offsets(2);
  past_the_end.mutable_results()->add_end_offsets(4'000'000'000);
  past_the_end.mutable_results()->set_data("1234");
  const std::vector<std::pair<v1::Outcome, std::string>> malformed = {
      {none, "outcome.count: 0"},        {overflowing, "outcome.count: the range overflows"},
      {unheard, "outcome.status: "},     {causeless, "outcome.cause: "},
      {short_of_one, "packed values: "}, {past_the_end, "packed values: "},
      {crash, "outcome.count: "}};

  good.Attach(TestWorker::Hello("good"));
  const std::uint64_t good_job = Accepted(ArrayJob(3));
  const v1::Assignment untouched = good.NextAssignment();
  const std::uint64_t job = Accepted([] {
    v1::JobSpec spec = ArrayJob(3);
    spec.set_cpus_milli(100'000);  // too large for the good one
    return spec;
  }());
  for (const auto& [outcome, complaint] : malformed) {
    TestWorker bad(*sessions_);
    v1::Hello hello =
        TestWorker::Hello("bad", absl::StrCat("bad ", complaint, outcome.results().data().size()));
    hello.set_cpus_milli(400'000);
    bad.Attach(hello);
    const v1::Assignment assignment = bad.NextAssignment();
    ASSERT_EQ(assignment.job_id(), job) << complaint;
    bad.Report(assignment, outcome);
    EXPECT_THAT(bad.Finish(), Fails(kInvalid, complaint));
  }
  EXPECT_EQ(Get(job).succeeded() + Get(job).failed(), 0u);
  good.Report(untouched, Succeeded(0, 3));
  good.AwaitDurable();
  EXPECT_EQ(Get(good_job).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(AttachTest, NumbersBeyondAllReasonAreKeptAsTheyAre) {
  TestWorker worker(*sessions_);
  worker.Attach(TestWorker::Hello("one"));
  const std::uint64_t job = Accepted(ArrayJob(2));
  v1::Outcome outcome = Succeeded(0);
  outcome.set_busy_ns(~0ull);
  outcome.set_user_cpu_us(~0ull);
  outcome.set_peak_memory_bytes(~0ull);
  outcome.set_output_bytes(~0ull);
  outcome.set_output_file("../../etc/passwd");
  outcome.set_started_unix_us(std::numeric_limits<std::int64_t>::min());
  outcome.set_code(std::numeric_limits<std::int32_t>::min());
  outcome.set_attempt(~0u);
  worker.Report(worker.NextAssignment(), outcome);
  worker.AwaitDurable();
  const auto outcomes = Outcomes(job);
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_EQ(outcomes[0].busy_ns(), ~0ull);
  EXPECT_EQ(outcomes[0].peak_memory_bytes(), ~0ull);
  EXPECT_EQ(outcomes[0].code(), std::numeric_limits<std::int32_t>::min());
}

// A run that failed with results ends task by task where the job allows retries.
TEST_F(AttachTest, ARunThatFailedWithResultsIsTakenApart) {
  TestWorker worker(*sessions_);
  worker.Attach(TestWorker::Hello("one"));
  v1::JobSpec spec = ArrayJob(3);
  spec.set_max_attempts(2);
  const std::uint64_t job = Accepted(spec);
  v1::Outcome failed = Succeeded(0, 3);
  failed.set_status(v1::TASK_STATUS_FAILED);
  failed.set_cause(v1::CAUSE_FUNCTION_ERROR);
  failed.mutable_results()->set_uniform_size(2);
  failed.mutable_results()->set_data("aabbcc");
  worker.Report(worker.NextAssignment(), failed);
  worker.AwaitDurable();
  EXPECT_EQ(Get(job).retried(), 3u);
  const v1::Assignment second = worker.NextAssignment();
  ASSERT_EQ(second.count(), 3u);
  worker.Report(second, failed);
  worker.AwaitDurable();
  EXPECT_EQ(Get(job).failed(), 3u);
  std::string results;
  for (const v1::Outcome& outcome : Outcomes(job)) {
    EXPECT_EQ(outcome.count(), 1u);
    results += outcome.results().data();
  }
  EXPECT_EQ(results, "aabbcc");
}

}  // namespace
}  // namespace haul::coordinator
