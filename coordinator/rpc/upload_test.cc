// Large outputs: on their way in by WorkerSession.Upload, and out again by Jobs.FetchOutput.
#include "absl/strings/str_cat.h"
#include "coordinator/rpc/server_fixture.h"

namespace haul::coordinator {
namespace {

class UploadTest : public ServerTest {
 protected:
  UploadTest() {
    worker_.Attach(TestWorker::Hello("one"));
    job_ = Accepted(ArrayJob(2));
    assignment_ = worker_.NextAssignment();
  }
  v1::UploadRequest First(std::uint64_t total_bytes, const std::string& data) {
    v1::UploadRequest request;
    request.set_job_id(job_);
    request.set_assignment_id(assignment_.assignment_id());
    request.set_task(1);
    request.set_total_bytes(total_bytes);
    request.set_data(data);
    return request;
  }
  static v1::UploadRequest More(const std::string& data) {
    v1::UploadRequest request;
    request.set_data(data);
    return request;
  }
  grpc::Status Upload(const std::vector<v1::UploadRequest>& messages, std::string* file = nullptr) {
    Context context;
    v1::UploadReply reply;
    const auto writer = sessions_->Upload(&context, &reply);
    for (const v1::UploadRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    grpc::Status status = writer->Finish();
    if (file != nullptr) *file = reply.file();
    return status;
  }
  grpc::Status Fetch(std::uint64_t job, const std::string& file, std::uint64_t offset = 0,
                     std::string* bytes = nullptr) {
    Context context;
    v1::FetchOutputRequest request;
    request.set_job_id(job);
    request.set_file(file);
    request.set_offset(offset);
    const auto reader = jobs_->FetchOutput(&context, request);
    for (v1::OutputPiece piece; reader->Read(&piece);) {
      if (bytes != nullptr) *bytes += piece.data();
    }
    return reader->Finish();
  }
  // Files below outputs/, also unfinished ones.
  int Files() const {
    int files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(options_.data_dir + "/outputs")) {
      if (entry.is_regular_file()) ++files;
    }
    return files;
  }

  TestWorker worker_{*sessions_};
  std::uint64_t job_ = 0;
  v1::Assignment assignment_;
};

TEST_F(UploadTest, WhatWasUploadedIsFetchedFromAnyOffset) {
  std::string output;
  while (output.size() < 3'000'000) absl::StrAppend(&output, output.size(), ",");
  std::vector<v1::UploadRequest> messages = {First(output.size(), "")};
  for (std::size_t at = 0; at < output.size(); at += 1 << 20) {
    messages.push_back(More(output.substr(at, 1 << 20)));
  }
  std::string file, again, fetched;
  ASSERT_THAT(Upload(messages, &file), Succeeds());
  ASSERT_THAT(Upload(messages, &again), Succeeds());
  EXPECT_EQ(file, again) << "the reply of the first may have been lost";
  EXPECT_EQ(Files(), 1);
  EXPECT_THAT(Fetch(job_, file, 0, &fetched), Succeeds());
  EXPECT_TRUE(fetched == output);
  fetched.clear();
  EXPECT_THAT(Fetch(job_, file, output.size() - 5, &fetched), Succeeds());
  EXPECT_EQ(fetched, output.substr(output.size() - 5));
  fetched.clear();
  EXPECT_THAT(Fetch(job_, file, ~0ull, &fetched), Succeeds());
  EXPECT_EQ(fetched, "");
}

TEST_F(UploadTest, MoreOrFewerBytesThanAnnouncedLeaveNoFile) {
  EXPECT_THAT(Upload({First(5, "abc"), More("def")}),
              Fails(kInvalid, "data: more than total_bytes, which is 5"));
  EXPECT_THAT(Upload({First(0, "abc")}), Fails(kInvalid, "data: more than total_bytes"));
  EXPECT_THAT(Upload({First(5, "abc"), More("d")}), Fails(kInvalid, "total_bytes: 5, but 4 came"));
  EXPECT_THAT(Upload({First(~0ull, "abc")}), Fails(kInvalid, "total_bytes: "));
  EXPECT_THAT(Upload({}), Fails(kInvalid, ""));
  EXPECT_THAT(Upload({First(2 << 20, std::string(2 << 20, 'x'))}), Fails(kInvalid, "1048576"));
  EXPECT_TRUE(Eventually([this] { return Files() == 0; })) << Files();
}

TEST_F(UploadTest, WhatIsTooLargeIsRefusedBeforeItCame) {
  EXPECT_THAT(Upload({First((1ull << 30) + 1, "abc")}),
              Fails(kInvalid, "total_bytes: 1073741825 is over the limit of 1073741824"));
  EXPECT_EQ(Files(), 0);
}

TEST_F(UploadTest, AnUploadThatBreaksOffLeavesNoFile) {
  Context context;
  v1::UploadReply reply;
  const auto writer = sessions_->Upload(&context, &reply);
  ASSERT_TRUE(writer->Write(First(10, "abc")));
  ASSERT_TRUE(Eventually([this] { return Files() == 1; }));
  context.TryCancel();
  EXPECT_FALSE(writer->Finish().ok());
  EXPECT_TRUE(Eventually([this] { return Files() == 0; }));
}

TEST_F(UploadTest, WhatNobodyHoldsIsNotTaken) {
  v1::UploadRequest request = First(3, "abc");
  request.set_task(2);  // beyond it
  EXPECT_THAT(Upload({request}), Fails(grpc::StatusCode::NOT_FOUND, "task: 2"));
  request = First(3, "abc");
  request.set_assignment_id(assignment_.assignment_id() + 1);
  EXPECT_THAT(Upload({request}), Fails(grpc::StatusCode::NOT_FOUND, "assignment_id"));
  request = First(3, "abc");
  request.set_job_id(job_ + 1);
  EXPECT_THAT(Upload({request}), Fails(grpc::StatusCode::NOT_FOUND, "assignment_id"));
  EXPECT_EQ(Files(), 0);
  EXPECT_FALSE(std::filesystem::exists(absl::StrCat(options_.data_dir, "/outputs/", job_ + 1)));
}

TEST_F(UploadTest, WhatWasHandedOverOutlivesARestartBeforeItsOutcome) {
  std::string file, fetched;
  ASSERT_THAT(Upload({First(3, "abc")}, &file), Succeeds());
  v1::UploadRequest error_output = First(4, "oops");
  error_output.set_error_output(true);
  ASSERT_THAT(Upload({error_output}), Succeeds());
  coordinator_.reset();
  Start();

  v1::Hello hello = TestWorker::Hello("one");
  *hello.add_held() = Held(assignment_);
  TestWorker worker(*sessions_);
  EXPECT_EQ(worker.Attach(hello).dropped_assignments_size(), 0);
  v1::Outcome outcome = Succeeded(1);
  outcome.set_output_file(file);
  outcome.set_output_bytes(3);
  worker.Report(assignment_, outcome);
  worker.AwaitDurable();
  EXPECT_THAT(Fetch(job_, file, 0, &fetched), Succeeds());
  EXPECT_EQ(fetched, "abc");

  coordinator_.reset();
  Start();
  EXPECT_THAT(Fetch(job_, file), Succeeds());
  EXPECT_EQ(Files(), 1) << "its task has ended, and the outcome names one";
}

TEST_F(UploadTest, OnlyAnOutputOfTheJobIsFetched) {
  std::string file;
  ASSERT_THAT(Upload({First(3, "abc")}, &file), Succeeds());
  const std::uint64_t other = Accepted(ArrayJob(1));
  for (const std::string& wrong :
       {std::string("../token"), absl::StrCat(job_, "/../../token"), std::string("/etc/passwd"),
        "./" + file, file + "/..", file + std::string("\0", 1), std::string(), "0" + file,
        absl::StrCat(other, "/", file)}) {
    EXPECT_THAT(Fetch(job_, wrong), Fails(kInvalid, "file: not an output of this job")) << wrong;
  }
  EXPECT_THAT(Fetch(other, file), Fails(kInvalid, "file: not an output of this job"));
  EXPECT_THAT(Fetch(77, file), Fails(grpc::StatusCode::NOT_FOUND, "there is no job 77"));
  EXPECT_THAT(Fetch(job_, absl::StrCat(job_, "/1-1.out")), Fails(grpc::StatusCode::NOT_FOUND, ""));
}

}  // namespace
}  // namespace haul::coordinator
