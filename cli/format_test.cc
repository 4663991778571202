#include "cli/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace haul::cli {
namespace {

TEST(FormatTest, BytesThatAreNoUtf8GetTheirOwnKey) {
  Json object;
  SetBytes(object, "stdout", "Grüße\n");
  SetBytes(object, "stderr", "\xff\xfe");
  EXPECT_EQ(object.dump(), R"({"stdout":"Grüße\n","stderr_base64":"//4="})");
}

TEST(FormatTest, Utf8IsCheckedToTheLetter) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("a\u00fc\u20ac\U0001F682"));
  for (const char* bytes : {"\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(IsUtf8(bytes)) << Printable(bytes);
  }
}

TEST(FormatTest, AJobsObjectHasItsDocumentedKeys) {
  client::JobStatus job;
  job.id = {7};
  job.state = client::JobState::kRunning;
  job.description = "ls \xff";
  job.spec.cpus_milli = 100;
  job.task_count = 10;
  job.accepted_unix_us = 1;
  const Json object = ToJson(job);
  EXPECT_EQ(object["object"], "job");
  EXPECT_EQ(object["job"], 7);
  EXPECT_EQ(object["state"], "running");
  EXPECT_EQ(object["kind"], "command");
  EXPECT_EQ(object["description_base64"], "bHMg/w==");
  EXPECT_EQ(object["cpus"], 0.1);
  EXPECT_EQ(object["accepted"], "1970-01-01T00:00:00.000001Z");
  EXPECT_TRUE(object["ended"].is_null());
}

TEST(FormatTest, AFailureIsSaidInWords) {
  client::Outcome outcome;
  EXPECT_EQ(DescribeFailure(outcome), "");
  outcome.state = client::TaskState::kFailed;
  outcome.cause = client::FailureCause::kExitCode;
  outcome.code = 3;
  EXPECT_EQ(DescribeFailure(outcome), "exit code 3");
  outcome.cause = client::FailureCause::kSignal;
  outcome.code = 11;
  EXPECT_EQ(DescribeFailure(outcome), "signal 11 (Segmentation fault)");
  outcome.cause = client::FailureCause::kFunctionError;
  outcome.message = "no\nprime";
  EXPECT_EQ(DescribeFailure(outcome), "function error: no prime");
}

TEST(FormatTest, TablesAlignWhatTheyHold) {
  Table table({"ID", "NAME", "TASKS"});
  table.Add({"7", "Grüße", "10"});
  table.Add({"12", "x", "1000000"});
  EXPECT_EQ(table.ToString(),
            "ID  NAME     TASKS\n"
            " 7  Grüße       10\n"
            "12  x      1000000\n");
}

TEST(FormatTest, NothingReachesTheTerminalThatCouldSteerIt) {
  EXPECT_EQ(Printable("a\x1b[31m\xff\u009b\tü"), "a?[31m?? ü");
}

TEST(FormatTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(Shorten("echo ü", 6), "echo …");
  EXPECT_EQ(Shorten("echo ü", 7), "echo ü");
  EXPECT_EQ(Shorten("a\nb", 7), "a b");
}

TEST(FormatTest, CountsNameWhatThereIs) {
  client::JobStatus job;
  job.task_count = 10;
  job.succeeded = 5;
  job.failed = 2;
  EXPECT_EQ(DescribeCounts(job), "10 tasks: 5 succeeded, 2 failed, 3 to do");
}

}  // namespace
}  // namespace haul::cli
