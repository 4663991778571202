// `haul bench run` as it is typed, against a cluster that it did not start.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "cli/bench/part.h"
#include "cli/child.h"
#include "cli/format.h"
#include "gtest/gtest.h"
#include "haul/client.h"

namespace haul::cli {
namespace {

constexpr std::chrono::seconds kPatience{120};

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Up to the end of a line, or of all that it prints.
std::string ReadFrom(int descriptor, bool line_only) {
  std::string text;
  char byte = 0;
  while (read(descriptor, &byte, 1) == 1) {
    if (line_only && byte == '\n') break;
    text += byte;
  }
  return text;
}

class BenchRunTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string library = Variable("HAUL_TEST_LIB_DIR") + "/libexamples.so";
    up_ = Start({"--output", "json", "up", "--private", "--workers", "1", "--threads", "1",
                 "--functions", library});
    const Json ready =
        Json::parse(ReadFrom(up_->output, true), nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(ready.is_object() && ready.contains("data_directory"));
    options_.coordinator = ready["address"].get<std::string>();
    options_.token_file = ready["data_directory"].get<std::string>() + "/token";
    auto client = Client::Connect(options_);
    ASSERT_TRUE(client.ok()) << client.status().message();
    client_ = *std::move(client);
  }
  void TearDown() override {
    client_.reset();
    if (!up_.has_value()) return;
    kill(up_->pid, SIGTERM);
    EXPECT_EQ(WaitForChild(*up_), 0);
  }

  static std::optional<Child> Start(std::vector<std::string> words) {
    words.insert(words.begin(), Variable("HAUL_TEST_BIN_DIR") + "/haul");
    absl::StatusOr<Child> child = StartChild(words, /*read_output=*/true);
    EXPECT_TRUE(child.ok()) << child.status();
    if (!child.ok()) return std::nullopt;
    return *child;
  }
  // Here, of these parts.
  std::optional<Child> StartBench(const std::string& parts, std::vector<std::string> further) {
    std::vector<std::string> words = {"--output",      "json",
                                      "--coordinator", options_.coordinator,
                                      "--token-file",  options_.token_file,
                                      "bench",         "run",
                                      "--tasks",       "100000",
                                      "--only",        parts};
    words.insert(words.end(), further.begin(), further.end());
    return Start(words);
  }

  client::ConnectOptions options_;
  std::optional<Child> up_;
  std::unique_ptr<Client> client_;
};

TEST_F(BenchRunTest, NamedClusterHasNoFloorOfThisMachine) {
  std::optional<Child> bench = StartBench("callers,tasks_tenth", {"--calls", "10", "--repeat=1"});
  ASSERT_TRUE(bench.has_value());
  std::istringstream lines(ReadFrom(bench->output, false));
  ASSERT_EQ(WaitForChild(*bench), 0);
  std::vector<Json> parts;
  for (std::string line; std::getline(lines, line);) parts.push_back(Json::parse(line));
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0]["measurement"], "callers");
  EXPECT_TRUE(parts[0]["to_reach"].is_null());
  EXPECT_TRUE(parts[0]["against"].empty());
  EXPECT_EQ(parts[1]["measurement"], "tasks_tenth");
  EXPECT_EQ(parts[1]["against"].size(), 1u);
  EXPECT_EQ(parts[1]["options"]["tasks"], 100'000);
  EXPECT_EQ(parts[1]["options"]["coordinator"], options_.coordinator);
}

TEST_F(BenchRunTest, JobsOfTheCallersHaveEndedWithThem) {
  std::optional<Child> bench = StartBench("callers", {"--calls", "50", "--repeat=1"});
  ASSERT_TRUE(bench.has_value());
  ASSERT_EQ(WaitForChild(*bench), 0);
  const auto info = client_->Info();
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->jobs_active, 0u);
  EXPECT_EQ(info->jobs_ended, 500u);
}

TEST_F(BenchRunTest, FewCommandsWaitOneRound) {
  std::optional<Child> bench =
      Start({"bench", "run", "--only", "waiting_commands", "--commands", "1", "--repeat=1"});
  ASSERT_TRUE(bench.has_value());
  EXPECT_EQ(WaitForChild(*bench), 0);
}

TEST_F(BenchRunTest, InterruptedItDoesNotKeepTheClusterBusy) {
  std::optional<Child> bench = StartBench("jobs_1000", {"--repeat=1000"});
  ASSERT_TRUE(bench.has_value());
  std::optional<client::JobId> holder;
  const client::Status submits =
      AwaitThat("it submitted", kPatience, [&]() -> client::Result<bool> {
        const auto jobs = client_->ListJobs(1000);
        if (!jobs.ok()) return jobs.status();
        for (const client::JobStatus& job : *jobs) {
          if (job.spec.priority > 0) holder = job.id;
        }
        return jobs->size() > 1;
      });
  EXPECT_TRUE(submits.ok()) << submits.message();
  kill(bench->pid, SIGINT);
  EXPECT_EQ(WaitForChild(*bench), 130);
  ASSERT_TRUE(holder.has_value());
  const auto ended = client_->Wait(*holder, kPatience);
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(ended->state, client::JobState::kCancelled);
}

}  // namespace
}  // namespace haul::cli
