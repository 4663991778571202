#include "coordinator/store/output_files.h"

#include <fstream>

#include "absl/container/flat_hash_set.h"
#include "coordinator/store/memory_store.h"
#include "coordinator/store/store_test_util.h"
#include "gmock/gmock.h"

namespace haul::coordinator {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr OutputName kName{JobId(7), AssignmentId(3, 5), 42, OutputStream::kOutput};

class OutputFilesTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen(std::uint64_t limit = OutputFiles::kDefaultFileLimitBytes) {
    auto files = OutputFiles::Open(directory_.path(), limit);
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
  }
  std::unique_ptr<OutputFiles::Writer> NewWriter(const OutputName& name) {
    auto writer = files_->NewWriter(name);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }
  std::string Upload(const OutputName& name, std::string_view bytes) {
    auto writer = NewWriter(name);
    EXPECT_TRUE(writer->Append(bytes).ok());
    const auto reference = writer->Finish();
    EXPECT_TRUE(reference.ok()) << reference.status();
    return reference.ok() ? *reference : "";
  }
  // Paths of all files below outputs/.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    const std::filesystem::path root = directory_.path() + "/outputs";
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (entry.is_regular_file()) {
        files.push_back(std::filesystem::relative(entry.path(), root).string());
      }
    }
    return files;
  }
  absl::StatusCode ReadError(std::string_view reference) const {
    return files_->Read(reference, 0, 10).status().code();
  }

  ScratchDirectory directory_;
  std::unique_ptr<OutputFiles> files_;
};

TEST_F(OutputFilesTest, AnOutputIsReadBackInPieces) {
  std::string expected;
  auto writer = NewWriter(kName);
  for (int piece = 0; piece < 3; ++piece) {
    const std::string bytes(OutputFiles::kPieceLimitBytes - 1, static_cast<char>('a' + piece));
    ASSERT_TRUE(writer->Append(bytes).ok());
    expected += bytes;
  }
  EXPECT_EQ(writer->bytes(), expected.size());
  const auto reference = writer->Finish();
  ASSERT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(*reference, "7/3298534883333-42.out");
  std::string read;
  while (true) {
    const auto piece = files_->Read(*reference, read.size(), 777'777);
    ASSERT_TRUE(piece.ok()) << piece.status();
    if (piece->empty()) break;
    read += *piece;
  }
  EXPECT_EQ(read, expected);
  EXPECT_EQ(*files_->Read(*reference, ~0ull, 10), "");
  EXPECT_EQ(files_->Read(*reference, 0, 1 << 30)->size(), OutputFiles::kPieceLimitBytes);
}

TEST_F(OutputFilesTest, NothingIsSeenBeforeItIsFinished) {
  auto writer = NewWriter(kName);
  ASSERT_TRUE(writer->Append("half").ok());
  EXPECT_EQ(ReadError(kName.Reference()), absl::StatusCode::kNotFound);
  writer->Abort();
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_EQ(writer->Append("more").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(writer->Finish().status().code(), absl::StatusCode::kFailedPrecondition);
  NewWriter(kName).reset();
  EXPECT_THAT(Files(), IsEmpty()) << "a writer that is dropped leaves nothing";
}

TEST_F(OutputFilesTest, AnUploadRepeatedAfterALostReplyIsHarmless) {
  auto broken_off = NewWriter(kName);
  ASSERT_TRUE(broken_off->Append("con").ok());
  const std::string reference = Upload(kName, "content");
  EXPECT_EQ(Upload(kName, "content"), reference);
  broken_off.reset();
  EXPECT_EQ(*files_->Read(reference, 0, 100), "content");
  EXPECT_THAT(Files(), UnorderedElementsAre(reference));
}

TEST_F(OutputFilesTest, WhatIsThereNeverChanges) {
  const std::string reference = Upload(kName, "content");
  auto writer = NewWriter(kName);
  ASSERT_TRUE(writer->Append("another").ok());
  ASSERT_TRUE(writer->Append(" length").ok());
  EXPECT_EQ(writer->Finish().status().code(), absl::StatusCode::kAlreadyExists);
  writer.reset();
  EXPECT_EQ(*files_->Read(reference, 0, 100), "content");
  EXPECT_THAT(Files(), UnorderedElementsAre(reference));
}

TEST_F(OutputFilesTest, AFileHasALimitAndAPieceToo) {
  Reopen(10);
  auto writer = NewWriter(kName);
  EXPECT_TRUE(writer->Append("0123456789").ok());
  EXPECT_EQ(writer->Append("x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(writer->Finish().status().code(), absl::StatusCode::kResourceExhausted);
  writer.reset();
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_EQ(NewWriter(kName)->Append(std::string(OutputFiles::kPieceLimitBytes + 1, 'x')).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Upload(kName, "0123456789"), kName.Reference());
}

TEST_F(OutputFilesTest, OnlyReferencesThatHaulGivesAreRead) {
  const std::string reference = Upload(kName, "content");
  EXPECT_EQ(*OutputName::Parse(reference), kName);
  const OutputName error{JobId(7), AssignmentId(1), 0, OutputStream::kError};
  EXPECT_EQ(*OutputName::Parse("7/1-0.err"), error);
  std::ofstream(directory_.path() + "/secret.out") << "secret";
  for (const std::string_view wrong : {"",
                                       "/",
                                       "..",
                                       "../secret.out",
                                       "7/../../secret.out",
                                       "/etc/passwd",
                                       "7/1-0",
                                       "7/1-0.",
                                       "7/1-0.part",
                                       "7/1-0.out.1.part",
                                       "7/1-0.out/",
                                       "07/1-0.out",
                                       "7/01-0.out",
                                       "7/1-00.out",
                                       "+7/1-0.out",
                                       " 7/1-0.out",
                                       "7/1-0.out ",
                                       "7/-1-0.out",
                                       "7/1-0.OUT",
                                       "7//1-0.out",
                                       "./7/1-0.out",
                                       "7/1-99999999999999999999.out"}) {
    EXPECT_EQ(ReadError(wrong), absl::StatusCode::kInvalidArgument) << wrong;
  }
  EXPECT_EQ(ReadError(std::string_view("7/1-0.out\0", 10)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadError("8/1-0.out"), absl::StatusCode::kNotFound);
  // Not through a link either.
  std::filesystem::create_symlink(directory_.path() + "/secret.out",
                                  directory_.path() + "/outputs/7/1-0.out");
  EXPECT_NE(ReadError("7/1-0.out"), absl::StatusCode::kOk);
}

TEST_F(OutputFilesTest, AJobsOutputsGoWithIt) {
  Upload(kName, "a");
  OutputName other = kName;
  other.job = JobId(8);
  const std::string kept = Upload(other, "b");
  ASSERT_TRUE(files_->RemoveJob(kName.job).ok());
  EXPECT_THAT(Files(), UnorderedElementsAre(kept));
  EXPECT_TRUE(files_->RemoveJob(JobId(99)).ok());
}

TEST_F(OutputFilesTest, AtStartWhatNoOutcomeRefersToIsRemoved) {
  const auto named = [](std::uint64_t job, TaskIndex task, OutputStream stream) {
    return OutputName{JobId(job), AssignmentId(1, 1), task, stream};
  };
  const std::string output = Upload(named(1, 0, OutputStream::kOutput), "kept");
  const std::string error = Upload(named(1, 0, OutputStream::kError), "kept too");
  Upload(named(1, 1, OutputStream::kOutput), "its outcome names another");
  Upload(named(1, 2, OutputStream::kOutput), "no outcome");
  Upload(named(2, 0, OutputStream::kOutput), "no job");
  const std::string root = directory_.path() + "/outputs/";
  std::ofstream(root + "1/1-0.out.1.part") << "left by a crash";
  std::ofstream(root + "1/notes") << "not Haul's";

  MemoryStore store(1 << 20);
  AddOutcome with_files = Ended(1, 0, 1);
  with_files.outcome.output_file = output;
  with_files.outcome.error_file = error;
  ASSERT_TRUE(store.Commit(Writes(Job(1), with_files, Ended(1, 1, 1))).ok());
  auto reader = *store.NewReader();
  const auto garbage =
      files_->CollectGarbage([&](const OutputName& name) { return RefersTo(*reader, name); });
  ASSERT_TRUE(garbage.ok()) << garbage.status();
  EXPECT_EQ(garbage->files, 4u);
  EXPECT_GT(garbage->bytes, 20u);
  EXPECT_THAT(Files(), UnorderedElementsAre(output, error, "1/notes"));
  EXPECT_FALSE(std::filesystem::exists(root + "2"));

  const auto again = files_->CollectGarbage(
      [](const OutputName&) { return absl::UnavailableError("no database"); });
  EXPECT_EQ(again.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Files(), UnorderedElementsAre(output, error, "1/notes")) << "when in doubt, kept";
}

}  // namespace
}  // namespace haul::coordinator
