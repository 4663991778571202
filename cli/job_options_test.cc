#include "cli/job_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace haul::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

client::Command CommandOf(const PreparedJob& job) {
  return std::get<client::Command>(job.spec.work);
}

std::string ErrorOf(const absl::StatusOr<PreparedJob>& job) {
  EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(job.status().message());
}

const client::FunctionInfo kPrimes = {
    .name = "count_primes.v1", .signature = "u64(u64,u64)", .library = "", .workers = 1};
const client::FunctionInfo kNoop = {
    .name = "noop.v1", .signature = "void()", .library = "", .workers = 1};

TEST(JobOptionsTest, OptionsBecomeTheSpec) {
  JobOptions options;
  options.name = "n";
  options.cpus = "0.1";
  options.timeout = "1m30s";
  options.memory = "64MiB";
  options.retries = 2;
  options.environment = {"A=b=c", "EMPTY="};
  options.volatile_job = true;
  const absl::StatusOr<PreparedJob> job = PrepareCommand(options, {"--", "ls", "-l"}, true);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec.cpus_milli, 100u);
  EXPECT_EQ(job->spec.timeout_ms, 90'000u);
  EXPECT_EQ(job->spec.memory_bytes, 67'108'864u);
  EXPECT_EQ(job->spec.max_attempts, 3u);
  EXPECT_TRUE(job->spec.volatile_job);
  EXPECT_THAT(CommandOf(*job).arguments, ElementsAre("ls", "-l"));
  EXPECT_EQ(CommandOf(*job).environment[0].second, "b=c");
  EXPECT_EQ(CommandOf(*job).environment[1].second, "");
  EXPECT_EQ(CommandOf(*job).directory, std::filesystem::current_path().string());
  EXPECT_EQ(job->inputs, nullptr) << "one task";
}

TEST(JobOptionsTest, DirectoriesAreMadeAbsolute) {
  JobOptions options;
  options.directory = "sub";
  EXPECT_EQ(CommandOf(*PrepareCommand(options, {"--", "ls"}, true)).directory,
            (std::filesystem::current_path() / "sub").string());
  options.directory = "/tmp/{/.}";
  EXPECT_EQ(CommandOf(*PrepareCommand(options, {"--", "ls", ":::", "a"}, true)).directory,
            "/tmp/{/.}");
  options.directory = "temp";
  EXPECT_TRUE(CommandOf(*PrepareCommand(options, {"--", "ls"}, true)).temporary_directory);
}

TEST(JobOptionsTest, APlaceholderWithoutASourceReadsStandardInput) {
  EXPECT_NE(PrepareCommand({}, {"--", "echo", "{}"}, false)->inputs, nullptr);
  EXPECT_THAT(ErrorOf(PrepareCommand({}, {"--", "echo", "{}"}, true)),
              HasSubstr("no input values"));
  EXPECT_EQ(PrepareCommand({}, {"--", "awk", "{print}"}, false)->inputs, nullptr);
}

TEST(JobOptionsTest, ArraysExcludeValues) {
  JobOptions options;
  options.array = "0-99:2";
  EXPECT_EQ(PrepareCommand(options, {"--", "echo", "{}"}, true)->spec.array->count, 50u);
  EXPECT_THAT(ErrorOf(PrepareCommand(options, {"--", "echo", ":::", "a"}, true)),
              HasSubstr("--array"));
}

TEST(JobOptionsTest, MistakesNameTheirOption) {
  EXPECT_THAT(ErrorOf(PrepareCommand({}, {}, true)), HasSubstr("no command"));
  EXPECT_THAT(ErrorOf(PrepareCommand({}, {"--"}, true)), HasSubstr("no command"));
  EXPECT_THAT(ErrorOf(PrepareCommand({}, {"--", "echo", "{2}", ":::", "a"}, true)),
              HasSubstr("{2}"));
  JobOptions options;
  options.timeout = "5";
  EXPECT_THAT(ErrorOf(PrepareCommand(options, {"--", "ls"}, true)), HasSubstr("--timeout: \"5\""));
  options = {};
  options.memory = "64Mi";
  EXPECT_THAT(ErrorOf(PrepareCommand(options, {"--", "ls"}, true)),
              HasSubstr("--memory: \"64Mi\""));
  options.memory = "0";
  EXPECT_THAT(ErrorOf(PrepareCommand(options, {"--", "ls"}, true)), HasSubstr("--memory: 0"));
  options = {};
  options.environment = {"HAUL_SURELY_NOT_SET"};
  EXPECT_THAT(ErrorOf(PrepareCommand(options, {"--", "ls"}, true)), HasSubstr("--env"));
}

TEST(JobOptionsTest, FunctionArgumentsAreEncodedByTheSignature) {
  std::string value;
  const std::string expected = std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16);
  absl::StatusOr<PreparedJob> job = PrepareCall({}, kPrimes, {":::", "1,2"});
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_TRUE(job->inputs->Next(&value));
  EXPECT_EQ(value, expected);
  job = PrepareCall({}, kPrimes, {":::", "1", ":::", "2"});
  ASSERT_TRUE(job->inputs->Next(&value));
  EXPECT_EQ(value, expected);
}

TEST(JobOptionsTest, AWrongArgumentStopsWithItsNumber) {
  const absl::StatusOr<PreparedJob> job = PrepareCall({}, kPrimes, {":::", "1,2", "1,x"});
  std::string value;
  EXPECT_TRUE(job->inputs->Next(&value));
  EXPECT_FALSE(job->inputs->Next(&value));
  EXPECT_EQ(job->inputs->status().kind(), client::ErrorKind::kInvalid);
  EXPECT_THAT(job->inputs->status().message(), HasSubstr("input 2"));
}

TEST(JobOptionsTest, AFunctionIsCalledOnceOrNeedsArguments) {
  EXPECT_EQ(PrepareCall({}, kNoop, {})->inputs, nullptr);
  EXPECT_THAT(ErrorOf(PrepareCall({}, kPrimes, {})), HasSubstr("u64(u64,u64)"));
  JobOptions options;
  options.array = "0-9";
  EXPECT_EQ(PrepareCall(options, kNoop, {})->spec.array->count, 10u);
  EXPECT_THAT(ErrorOf(PrepareCall(options, kPrimes, {})), HasSubstr("--array"));
  options.memory = "1GiB";
  EXPECT_THAT(ErrorOf(PrepareCall(options, kNoop, {})), HasSubstr("--memory: 1GiB"));
}

TEST(JobOptionsTest, IsolationIsByThreadOrProcess) {
  JobOptions options;
  options.tasks_per_process = 5;
  EXPECT_THAT(ErrorOf(PrepareCall(options, kNoop, {})), HasSubstr("--tasks-per-process: 5"));
  options.isolation = "process";
  const absl::StatusOr<PreparedJob> job = PrepareCall(options, kNoop, {});
  const auto& call = std::get<client::FunctionCall>(job->spec.work);
  EXPECT_EQ(call.isolation, Isolation::kProcess);
  EXPECT_EQ(call.tasks_per_process, 5u);
  options.isolation = "container";
  EXPECT_THAT(ErrorOf(PrepareCall(options, kNoop, {})),
              HasSubstr("--isolation: 'container', must be thread or process"));
}

}  // namespace
}  // namespace haul::cli
