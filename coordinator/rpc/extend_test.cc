// Jobs.Extend: an open job grows over the wire, and what is said again changes nothing.
#include "coordinator/rpc/server_fixture.h"

namespace haul::coordinator {
namespace {

// A stream of Extend, in the words of the test.
class Extending {
 public:
  Extending(v1::Jobs::Stub& jobs, std::uint64_t job) : stream_(jobs.Extend(&context_)), job_(job) {}

  void Say(std::uint64_t first, const std::vector<std::string>& values, bool close = false) {
    v1::ExtendRequest request;
    request.set_job_id(std::exchange(job_, 0));
    request.set_first(first);
    for (const std::string& value : values) {
      request.mutable_inputs()->mutable_data()->append(value);
      request.mutable_inputs()->add_end_offsets(
          static_cast<std::uint32_t>(request.inputs().data().size()));
    }
    request.set_input_count(values.size());
    request.set_close(close);
    stream_->Write(request);
  }
  // The reply that says that it has so many tasks; one reply may stand for several.
  v1::ExtendReply AwaitTasks(std::uint64_t count) {
    v1::ExtendReply reply;
    while (stream_->Read(&reply)) {
      if (reply.task_count() >= count) return reply;
    }
    ADD_FAILURE() << "the stream ended: " << stream_->Finish().error_message();
    return {};
  }
  grpc::Status End() {
    stream_->WritesDone();
    for (v1::ExtendReply reply; stream_->Read(&reply);) continue;
    return stream_->Finish();
  }

 private:
  Context context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ExtendRequest, v1::ExtendReply>> stream_;
  std::uint64_t job_;
};

class ExtendTest : public ServerTest {
 protected:
  std::uint64_t OpenJob() {
    v1::JobSpec spec = ArrayJob(0);
    spec.clear_array();
    spec.set_open(true);
    return Accepted(spec);
  }
};

TEST_F(ExtendTest, TasksGoToWorkersWithTheirInputsAsTheyCome) {
  const std::uint64_t job = OpenJob();
  EXPECT_TRUE(Get(job).spec().open());
  TestWorker worker(*sessions_);
  worker.Attach(TestWorker::Hello("w"));
  Extending extending(*jobs_, job);
  extending.Say(0, {"a", "bc"});
  EXPECT_TRUE(extending.AwaitTasks(2).open());
  const v1::Assignment first = worker.NextAssignment();
  EXPECT_EQ(first.count(), 2u);
  EXPECT_EQ(first.inputs().data(), "abc");
  extending.Say(2, {"def"}, true);
  EXPECT_FALSE(extending.AwaitTasks(3).open());
  EXPECT_THAT(extending.End(), Succeeds());
  const v1::Assignment second = worker.NextAssignment();
  EXPECT_EQ(second.first(), 2u);
  EXPECT_EQ(second.inputs().data(), "def");
  const v1::JobStatus status = Get(job);
  EXPECT_EQ(status.spec().task_count(), 3u);
  EXPECT_FALSE(status.spec().open());
}

TEST_F(ExtendTest, AClientThatCameBackGoesOnWhereTheJobIs) {
  const std::uint64_t job = OpenJob();
  {
    Extending extending(*jobs_, job);
    extending.Say(0, {"a", "b"});
    extending.AwaitTasks(2);
  }
  coordinator_.reset();
  Start();
  Extending again(*jobs_, job);
  again.Say(0, {});
  EXPECT_EQ(again.AwaitTasks(0).task_count(), 2u);
  again.Say(0, {"a", "b"});
  again.Say(2, {"c"}, true);
  EXPECT_EQ(again.AwaitTasks(3).task_count(), 3u);
  EXPECT_THAT(again.End(), Succeeds());
}

TEST_F(ExtendTest, ClosedWithoutTasksItHasEnded) {
  const std::uint64_t job = OpenJob();
  Extending extending(*jobs_, job);
  extending.Say(0, {}, true);
  EXPECT_THAT(extending.End(), Succeeds());
  EXPECT_EQ(Get(job).state(), v1::JOB_STATE_SUCCEEDED);
}

TEST_F(ExtendTest, WhatIsAcceptedIsSaidBeforeTheNextIsRefused) {
  const std::uint64_t job = OpenJob();
  Extending extending(*jobs_, job);
  // Much to write to the disk, and the refusal on its heels.
  extending.Say(0, std::vector<std::string>(8, std::string(100 << 10, 'x')));
  extending.Say(99, {"a"});
  EXPECT_EQ(extending.AwaitTasks(8).task_count(), 8u);
  EXPECT_THAT(extending.End(), Fails(grpc::StatusCode::OUT_OF_RANGE, "first: 99, must be 8"));
}

TEST_F(ExtendTest, WhatIsWrongIsSaid) {
  const std::uint64_t job = OpenJob();
  const auto say = [this](std::uint64_t id, std::uint64_t first,
                          const std::vector<std::string>& values) {
    Extending extending(*jobs_, id);
    extending.Say(first, values);
    return extending.End();
  };
  EXPECT_THAT(say(0, 0, {}), Fails(kInvalid, "job_id: missing in the first message"));
  EXPECT_THAT(say(job, 5, {"a"}), Fails(grpc::StatusCode::OUT_OF_RANGE, "first: 5, must be 0"));
  EXPECT_THAT(say(job, 0, {std::string(200 << 10, 'x')}), Fails(kInvalid, "inputs"));
  EXPECT_THAT(say(999, 0, {"a"}), Fails(grpc::StatusCode::NOT_FOUND, "job 999"));
  EXPECT_THAT(Cancel(Job(job)), Succeeds());
  EXPECT_THAT(say(job, 0, {"a"}), Fails(grpc::StatusCode::FAILED_PRECONDITION, "cancelled"));
  v1::JobSpec array = ArrayJob(3);
  array.set_open(true);
  EXPECT_THAT(Submit(array), Fails(kInvalid, "open"));
}

}  // namespace
}  // namespace haul::coordinator
