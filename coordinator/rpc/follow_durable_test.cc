// That a job has ended is told when that is on the disk. The real server and loop, over a store
// whose commits wait for the test.
#include <thread>

#include "common/time.h"
#include "coordinator/loop/loop_fixture.h"
#include "coordinator/rpc/server.h"
#include "coordinator/rpc/server_fixture.h"
#include "coordinator/store/output_files.h"

namespace haul::coordinator {
namespace {

using ::testing::IsEmpty;

class FollowDurableTest : public ::testing::Test {
 protected:
  FollowDurableTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "haul-test-XXXXXX";
    HAUL_CHECK(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    files_ = *OutputFiles::Open(directory_);
    loop_ = *Loop::Create({}, store_, memory_, poller_);
    server_ =
        *Server::Start({.listen = "127.0.0.1:0", .token = kToken}, *loop_, *files_, poller_, [] {});
    thread_ = std::thread([this] { loop_->Run().IgnoreError(); });
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    jobs_ = v1::Jobs::NewStub(channel_);
    sessions_ = v1::WorkerSession::NewStub(channel_);
    cluster_ = v1::Cluster::NewStub(channel_);
  }
  ~FollowDurableTest() override {
    End();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  // What is not committed by now never will be.
  void End() {
    if (loop_ == nullptr) return;
    loop_->Stop();
    store_.Set(true, absl::DataLossError("the disk is gone"));
    thread_.join();
    server_->Shutdown();
    loop_.reset();
  }

  std::uint64_t Submitted(const v1::JobSpec& spec) {
    Context context;
    v1::SubmitReply reply;
    const auto writer = jobs_->Submit(&context, &reply);
    writer->Write(Whole(spec));
    EXPECT_THAT(writer->Finish(), Succeeds());
    return reply.job_id();
  }
  // What waits for no disk is answered, in some turns of the loop.
  void TakeTurns(std::int64_t us) {
    const std::int64_t until_us = ReadClocks().monotonic_us + us;
    do {
      Context context;
      v1::ListFunctionsReply reply;
      ASSERT_THAT(cluster_->ListFunctions(&context, {}, &reply), Succeeds());
    } while (ReadClocks().monotonic_us < until_us);
  }

  std::string directory_;
  GatedStore store_;
  MemoryStore memory_{1 << 30};
  ServerPoller poller_;
  std::unique_ptr<OutputFiles> files_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Jobs::Stub> jobs_;
  std::unique_ptr<v1::WorkerSession::Stub> sessions_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
};

struct Follower {
  Follower(v1::Jobs::Stub& jobs, std::uint64_t job, bool status_only, bool follow) {
    v1::FollowRequest request;
    request.mutable_job()->set_job_id(job);
    request.set_status_only(status_only);
    request.set_follow(follow);
    request.set_with_payload(true);
    reader = jobs.Follow(&context, request);
  }
  Context context;
  std::unique_ptr<grpc::ClientReader<v1::FollowReply>> reader;
};

TEST_F(FollowDurableTest, AnEndThatIsNotOnTheDiskIsToldToNobody) {
  TestWorker worker(*sessions_);
  worker.Attach(TestWorker::Hello("w"));
  const std::uint64_t job = Submitted(ArrayJob(2));
  const v1::Assignment assignment = worker.NextAssignment();
  std::deque<Follower> followers;
  const auto add_followers = [&] {
    for (const bool status_only : {true, false}) {
      for (const bool follow : {true, false})
        followers.emplace_back(*jobs_, job, status_only, follow);
    }
  };
  add_followers();
  for (Follower& follower : followers) {
    v1::FollowReply first;
    ASSERT_TRUE(follower.reader->Read(&first));
  }
  worker.Report(assignment, Succeeded(0));
  worker.AwaitDurable();
  store_.Set(false);
  worker.Report(assignment, Succeeded(1));
  while (!store_.HasCommitAtGate()) std::this_thread::yield();
  add_followers();  // and those who come now
  // Longer than a status waits to be told.
  TakeTurns(150'000);
  End();
  std::vector<std::string> told;
  for (Follower& follower : followers) {
    for (v1::FollowReply reply; follower.reader->Read(&reply);) {
      if (reply.status().state() >= v1::JOB_STATE_SUCCEEDED) told.push_back("the end");
      for (const v1::Outcome& outcome : reply.outcomes()) {
        if (outcome.first() > 0) told.push_back("the last outcome");
      }
    }
    follower.reader->Finish();
  }
  EXPECT_THAT(told, IsEmpty());
}

}  // namespace
}  // namespace haul::coordinator
