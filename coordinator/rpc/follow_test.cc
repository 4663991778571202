// What jobs tell: outcomes from a cursor on, pages, selectors, cancelling and forgetting.
#include <array>
#include <map>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "coordinator/rpc/server_fixture.h"

namespace haul::coordinator {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Pair;
using ::testing::SizeIs;

class FollowTest : public ServerTest {
 protected:
  // A job whose tasks are all with the worker.
  std::uint64_t Running(std::uint64_t tasks, bool is_volatile = false) {
    worker_.Attach(TestWorker::Hello("one"));
    v1::JobSpec spec = ArrayJob(tasks);
    spec.set_volatile_job(is_volatile);
    const std::uint64_t job = Accepted(spec);
    assignment_ = worker_.NextAssignment();
    EXPECT_EQ(assignment_.count(), tasks);
    return job;
  }
  void End(std::uint64_t task, std::size_t output_bytes = 0) {
    v1::Outcome outcome = Succeeded(task);
    outcome.set_error_output(std::string(output_bytes, 'e'));
    worker_.Report(assignment_, outcome);
    worker_.AwaitDurable();
  }
  static v1::FollowRequest Of(std::uint64_t job, std::uint64_t cursor = 0, bool in_order = false) {
    v1::FollowRequest request;
    *request.mutable_job() = Job(job);
    request.set_cursor(cursor);
    request.set_in_order(in_order);
    request.set_with_payload(true);
    return request;
  }
  // How often each task was told.
  static void Count(const std::vector<v1::FollowReply>& replies,
                    std::map<std::uint64_t, int>& told) {
    for (const v1::FollowReply& reply : replies) {
      for (const v1::Outcome& outcome : reply.outcomes()) {
        for (std::uint64_t i = 0; i < outcome.count(); ++i) ++told[outcome.first() + i];
      }
    }
  }
  grpc::Status FollowError(const v1::JobSelector& job) {
    v1::FollowRequest request;
    *request.mutable_job() = job;
    grpc::Status status;
    Follow(request, &status);
    return status;
  }

  TestWorker worker_{*sessions_};
  v1::Assignment assignment_;
};

// ---- outcomes ----

TEST_F(FollowTest, ResumingAtTheCursorTellsEachOutcomeOnce) {
  const std::uint64_t job = Running(6);
  for (const bool in_order : {false, true}) {
    std::map<std::uint64_t, int> told;
    std::uint64_t cursor = 0;
    for (const std::uint64_t task : {2, 0, 1, 5, 4, 3}) {
      if (!in_order) End(task);  // for the second round all have ended
      const auto replies = Follow(Of(job, cursor, in_order));
      ASSERT_FALSE(replies.empty());
      EXPECT_TRUE(replies.front().has_status());
      EXPECT_TRUE(replies.back().has_status());
      Count(replies, told);
      cursor = replies.back().cursor();
    }
    EXPECT_THAT(
        told, ElementsAre(Pair(0, 1), Pair(1, 1), Pair(2, 1), Pair(3, 1), Pair(4, 1), Pair(5, 1)));
  }
}

TEST_F(FollowTest, InOrderNothingIsToldBeforeWhatStandsBeforeIt) {
  const std::uint64_t job = Running(3);
  End(1);
  End(2);
  std::map<std::uint64_t, int> told;
  auto replies = Follow(Of(job, 0, true));
  Count(replies, told);
  EXPECT_THAT(told, SizeIs(0));
  End(0);
  replies = Follow(Of(job, replies.back().cursor(), true));
  Count(replies, told);
  EXPECT_THAT(told, ElementsAre(Pair(0, 1), Pair(1, 1), Pair(2, 1)));
}

TEST_F(FollowTest, WhoeverComesWheneverIsToldEachOutcomeOnceInTheSameOrder) {
  constexpr std::uint64_t kTasks = 30;
  const std::uint64_t job = Running(kTasks);
  struct Follower {
    std::vector<std::uint64_t> told;
    std::thread thread;
  };
  // From its cursor to the end of the job; breaks off after `most` outcomes, and then goes on.
  const auto follow = [&](Follower& follower, std::size_t most) {
    follower.thread = std::thread([&, most] {
      std::uint64_t cursor = 0;
      while (true) {
        Context context;
        v1::FollowRequest request = Of(job, cursor);
        request.set_follow(true);
        const auto reader = jobs_->Follow(&context, request);
        v1::FollowReply reply;
        std::size_t in_this_call = 0;
        while (in_this_call < most && reader->Read(&reply)) {
          cursor = reply.cursor();
          for (const v1::Outcome& outcome : reply.outcomes()) {
            EXPECT_EQ(outcome.count(), 1u);
            EXPECT_EQ(outcome.error_output(), std::string(outcome.first() * 1000, 'e'));
            follower.told.push_back(outcome.first());
            ++in_this_call;
          }
        }
        if (in_this_call >= most) context.TryCancel();
        if (reader->Finish().ok()) return;
      }
    });
  };
  std::array<Follower, 4> followers;
  follow(followers[0], kTasks + 1);
  for (std::uint64_t task = 0; task < kTasks; ++task) {
    if (task == 5) follow(followers[1], 1);
    if (task == 15) follow(followers[2], kTasks + 1);
    if (task == 25) follow(followers[3], 3);
    End(kTasks - 1 - task, (kTasks - 1 - task) * 1000);
  }
  std::vector<std::uint64_t> expected(kTasks);
  std::iota(expected.rbegin(), expected.rend(), 0);
  for (Follower& follower : followers) {
    follower.thread.join();
    EXPECT_EQ(follower.told, expected);
  }
}

TEST_F(FollowTest, AFollowThatBreaksAnywhereIsResumedWithoutLossOrRepeat) {
  const std::uint64_t job = Running(12);
  for (std::uint64_t task = 0; task < 12; ++task) End(task, 300'000);
  std::map<std::uint64_t, int> told;
  std::uint64_t cursor = 0;
  bool complete = false;
  int calls = 0;
  while (!complete && ++calls < 20) {
    Context context;
    v1::FollowRequest request = Of(job, cursor);
    request.set_follow(true);
    const auto reader = jobs_->Follow(&context, request);
    v1::FollowReply reply;
    complete = true;
    while (reader->Read(&reply)) {
      cursor = reply.cursor();
      Count({reply}, told);
      if (reply.outcomes_size() == 0) continue;
      complete = false;  // one page, and then the connection breaks
      break;
    }
    context.TryCancel();
    reader->Finish();
  }
  EXPECT_GT(calls, 3) << "3.6 MB come in several pages";
  EXPECT_THAT(told, SizeIs(12));
  for (const auto& [task, times] : told) EXPECT_EQ(times, 1) << task;
}

TEST_F(FollowTest, PagesAreBoundedAndTogetherWhole) {
  const std::uint64_t job = Running(12);
  for (std::uint64_t task = 0; task < 12; ++task) End(task, 300'000);
  const auto replies = Follow(Of(job));
  std::map<std::uint64_t, int> told;
  Count(replies, told);
  EXPECT_THAT(told, SizeIs(12));
  std::uint64_t cursor = 0;
  for (const v1::FollowReply& reply : replies) {
    EXPECT_LT(reply.ByteSizeLong(), 2u << 20);
    EXPECT_GE(reply.cursor(), cursor);
    cursor = reply.cursor();
  }
  v1::FollowRequest bare = Of(job);
  bare.set_with_payload(false);
  for (const v1::FollowReply& reply : Follow(bare)) EXPECT_LT(reply.ByteSizeLong(), 10'000u);
}

TEST_F(FollowTest, CursorsAndRangesBeyondTheEndGiveNothing) {
  for (const bool is_volatile : {false, true}) {
    TestWorker worker(*sessions_);
    worker.Attach(TestWorker::Hello(absl::StrCat("w", is_volatile)));
    v1::JobSpec spec = ArrayJob(3);
    spec.set_volatile_job(is_volatile);
    const std::uint64_t job = Accepted(spec);
    worker.Report(worker.NextAssignment(), Succeeded(0, 3));
    worker.AwaitDurable();
    for (const bool in_order : {false, true}) {
      for (const std::uint64_t far : {1ull << 40, 1ull << 63, ~0ull}) {
        std::map<std::uint64_t, int> told;
        Count(Follow(Of(job, far, in_order)), told);
        EXPECT_THAT(told, SizeIs(0)) << far;
        v1::FollowRequest range = Of(job, 0, in_order);
        range.set_first(far);
        range.set_count(far);
        Count(Follow(range), told);
        EXPECT_THAT(told, SizeIs(0)) << far;
        range.set_first(0);
        Count(Follow(range), told);
        EXPECT_THAT(told, SizeIs(3)) << far;
      }
    }
  }
}

TEST_F(FollowTest, FollowersThatGoAwayCostNothing) {
  const std::uint64_t job = Running(3);
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::FollowReply>>> readers;
  v1::FollowRequest request = Of(job);
  request.set_follow(true);
  for (int i = 0; i < 50; ++i) {
    contexts.push_back(std::make_unique<Context>());
    readers.push_back(jobs_->Follow(contexts.back().get(), request));
  }
  v1::FollowReply reply;
  for (auto& reader : readers) ASSERT_TRUE(reader->Read(&reply));
  for (std::size_t i = 0; i < 49; ++i) {
    contexts[i]->TryCancel();
    EXPECT_EQ(readers[i]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  for (std::uint64_t task = 0; task < 3; ++task) End(task);
  std::map<std::uint64_t, int> told;
  while (readers.back()->Read(&reply)) Count({reply}, told);
  EXPECT_THAT(readers.back()->Finish(), Succeeds());
  EXPECT_THAT(told, ElementsAre(Pair(0, 1), Pair(1, 1), Pair(2, 1)));
  EXPECT_EQ(reply.status().state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(FollowTest, TheStatusThatIsToldIsSoonTheLatest) {
  const std::uint64_t job = Running(3);
  for (const bool status_only : {true, false}) {
    Context context;
    v1::FollowRequest request = Of(job);
    request.set_follow(true);
    request.set_status_only(status_only);
    const auto reader = jobs_->Follow(&context, request);
    v1::FollowReply reply;
    ASSERT_TRUE(reader->Read(&reply));
    const std::uint64_t before = reply.status().succeeded();
    End(before);  // at once, and then nothing happens any more
    std::uint64_t latest = before;
    while (latest == before && reader->Read(&reply)) {
      if (reply.has_status()) latest = reply.status().succeeded();
    }
    EXPECT_EQ(latest, before + 1) << "status_only: " << status_only;
    context.TryCancel();
    reader->Finish();
  }
}

TEST_F(FollowTest, AJobForgottenUnderItsFollowerIsNotFound) {
  const std::uint64_t job = Running(1);
  End(0);
  Context forget, again;
  v1::ForgetJobRequest request;
  *request.mutable_job() = Job(job);
  v1::ForgetJobReply reply;
  EXPECT_THAT(jobs_->Forget(&forget, request, &reply), Succeeds());
  EXPECT_THAT(jobs_->Forget(&again, request, &reply),
              Fails(grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no job ", job)));
  EXPECT_THAT(FollowError(Job(job)), Fails(grpc::StatusCode::NOT_FOUND, ""));
}

TEST_F(FollowTest, AJobThatGoesOnIsNotForgotten) {
  const std::uint64_t job = Accepted(ArrayJob(1));
  Context context;
  v1::ForgetJobRequest request;
  *request.mutable_job() = Job(job);
  v1::ForgetJobReply reply;
  EXPECT_THAT(jobs_->Forget(&context, request, &reply),
              Fails(grpc::StatusCode::FAILED_PRECONDITION, "has not ended; cancel it first"));
  EXPECT_EQ(Get(job).ready(), 1u);
}

// ---- naming a job ----

TEST_F(FollowTest, AJobThatIsNotThereIsNotFound) {
  v1::JobSelector by_name, last;
  by_name.set_name("nobody\n");
  last.set_last(true);
  v1::JobStatus status;
  for (const v1::JobSelector& job : {Job(0), Job(1), Job(~0ull), by_name, last}) {
    EXPECT_THAT(FollowError(job), Fails(grpc::StatusCode::NOT_FOUND, "job: there is no job"));
    EXPECT_THAT(Get(job, &status), Fails(grpc::StatusCode::NOT_FOUND, "job: there is no job"));
    EXPECT_THAT(Cancel(job), Fails(grpc::StatusCode::NOT_FOUND, "job: there is no job"));
  }
}

TEST_F(FollowTest, ASelectorThatNamesNothingIsRefused) {
  const std::uint64_t job = Accepted(ArrayJob(1));  // without a name
  v1::JobSelector no_name, not_last;
  no_name.set_name("");
  not_last.set_last(false);
  v1::JobStatus status;
  for (const v1::JobSelector& selector : {v1::JobSelector(), no_name, not_last}) {
    EXPECT_THAT(Cancel(selector), Fails(grpc::StatusCode::INVALID_ARGUMENT, "job: empty"));
    EXPECT_THAT(Get(selector, &status), Fails(grpc::StatusCode::INVALID_ARGUMENT, "job: empty"));
    EXPECT_THAT(FollowError(selector), Fails(grpc::StatusCode::INVALID_ARGUMENT, "job: empty"));
  }
  EXPECT_FALSE(Get(job).cancel_requested());
}

TEST_F(FollowTest, ANameIsItsNewestJobAndLastIsTheNewestOfAll) {
  v1::JobSpec named = ArrayJob(1);
  named.set_name("nightly");
  Accepted(named);
  const std::uint64_t newer = Accepted(named);
  const std::uint64_t newest = Accepted(ArrayJob(1));
  v1::JobSelector by_name, last;
  by_name.set_name("nightly");
  last.set_last(true);
  v1::JobStatus status;
  EXPECT_THAT(Get(by_name, &status), Succeeds());
  EXPECT_EQ(status.job_id(), newer);
  EXPECT_THAT(Get(last, &status), Succeeds());
  EXPECT_EQ(status.job_id(), newest);
}

TEST_F(FollowTest, TheListComesInPages) {
  for (int i = 0; i < 5; ++i) Accepted(ArrayJob(1));
  v1::ListJobsRequest request;
  request.set_limit(2);
  std::vector<std::uint64_t> ids;
  for (v1::ListJobsReply page = List(request); page.jobs_size() > 0; page = List(request)) {
    ASSERT_LE(page.jobs_size(), 2);
    for (const v1::JobStatus& job : page.jobs()) ids.push_back(job.job_id());
    request.set_before_id(ids.back());
  }
  EXPECT_THAT(ids, ElementsAre(5u, 4u, 3u, 2u, 1u));
  EXPECT_THAT(Cancel(Job(3)), Succeeds());
  request.set_before_id(5);
  request.set_active_only(true);
  const v1::ListJobsReply active = List(request);
  ASSERT_EQ(active.jobs_size(), 2);
  EXPECT_EQ(active.jobs(1).job_id(), 2u);

  Context context;
  v1::ListJobsReply reply;
  request.set_limit(1001);
  EXPECT_THAT(jobs_->List(&context, request, &reply),
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "limit: 1001 is over the limit of 1000"));
}

// ---- tasks that are cancelled alone ----

TEST_F(FollowTest, SomeTasksOfAJobAreCancelled) {
  const std::uint64_t job = Accepted(ArrayJob(10));
  EXPECT_THAT(Cancel(Job(job), "ada", {{2, 3}, {9, 50}}), Succeeds());
  EXPECT_EQ(Get(job).cancelled(), 4u);
  const std::uint64_t running = Running(2);
  EXPECT_THAT(Cancel(Job(running), "ada", {{1, 1}}), Succeeds());
  const v1::CoordinatorMessage told =
      worker_.ReadUntil([](const v1::CoordinatorMessage& m) { return m.cancels_size() > 0; });
  ASSERT_EQ(told.cancels(0).tasks_size(), 1);
  EXPECT_EQ(told.cancels(0).tasks(0).first(), 1u);
}

TEST_F(FollowTest, TasksToCancelThatAreNoRangesCancelNothing) {
  const std::uint64_t job = Accepted(ArrayJob(10));
  EXPECT_THAT(Cancel(Job(job), "", {{1, 0}}),
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "tasks: 0 tasks from 1 on"));
  EXPECT_THAT(Cancel(Job(job), "", {{2, ~0ull}}),
              Fails(grpc::StatusCode::INVALID_ARGUMENT, "are no range of tasks"));
  EXPECT_THAT(
      Cancel(Job(job), "", std::vector<TaskRange>(65'537, {1, 1})),
      Fails(grpc::StatusCode::INVALID_ARGUMENT, "65537 ranges are over the limit of 65536"));
  EXPECT_EQ(Get(job).cancelled(), 0u);
}

// ---- texts that are cut ----

TEST_F(FollowTest, ALongNameOfTheCancellerIsCutBetweenCharacters) {
  const std::uint64_t job = Running(1);
  const std::uint64_t waiting = Accepted(ArrayJob(100));
  std::string by = "x";
  while (by.size() < 600) by += "\xc3\xa9";
  EXPECT_THAT(Cancel(Job(job), by), Succeeds());
  // Its worker can read what it is told,
  const v1::CoordinatorMessage told =
      worker_.ReadUntil([](const v1::CoordinatorMessage& m) { return m.cancels_size() > 0; });
  EXPECT_TRUE(IsUtf8(told.cancels(0).by()));
  EXPECT_THAT(told.cancels(0).by(), SizeIs(255));
  // and so can whoever asks how it ended.
  EXPECT_THAT(Cancel(Job(waiting), by), Succeeds());
  const auto outcomes = Outcomes(waiting);
  EXPECT_THAT(outcomes, SizeIs(Ge(1u)));
  std::vector<std::string> messages;
  for (const v1::Outcome& outcome : outcomes) messages.push_back(outcome.message());
  EXPECT_THAT(messages, Each(by.substr(0, 255)));
}

TEST_F(FollowTest, ALongFunctionNameDoesNotSpoilTheList) {
  v1::Hello hello = TestWorker::Hello("one");
  v1::FunctionInfo& function = *hello.add_functions();
  std::string name;
  while (name.size() < 256) name += "\xc3\xa9";
  function.set_name(name);
  function.set_signature("u64(u64)");
  worker_.Attach(hello);
  v1::JobSpec spec = ArrayJob(1);
  *spec.mutable_function() = v1::FunctionCall();
  spec.mutable_function()->set_name(name);
  spec.mutable_function()->set_signature("u64(u64)");
  const std::uint64_t job = Accepted(spec);
  const v1::ListJobsReply list = List();
  ASSERT_EQ(list.jobs_size(), 1);
  EXPECT_EQ(list.jobs(0).job_id(), job);
  EXPECT_LE(list.jobs(0).description().size(), 200u);
}

}  // namespace
}  // namespace haul::coordinator
