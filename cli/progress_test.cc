#include "cli/progress.h"

#include <gtest/gtest.h>

namespace haul::cli {
namespace {

client::JobStatus Job(std::uint64_t done, std::uint64_t total) {
  client::JobStatus job;
  job.id = {7};
  job.state = client::JobState::kRunning;
  job.assigned = 2;
  job.task_count = total;
  job.succeeded = done;
  return job;
}

TEST(ProgressTest, ItTellsWhatIsDoneHowFastAndHowLongItTakes) {
  EXPECT_EQ(ProgressLine(Job(5000, 10'000), 250, 200),
            "job 7 [##########..........] 5000/10000  250/s  ETA 20.0s");
  EXPECT_EQ(ProgressLine(Job(0, 10), 0, 200), "job 7 [....................] 0/10");
  EXPECT_EQ(ProgressLine(Job(10, 10), 2, 200), "job 7 [####################] 10/10  2.0/s");
}

TEST(ProgressTest, FailuresAndReasonsToWaitAreNamed) {
  client::JobStatus job = Job(0, 10);
  job.failed = 1;
  job.assigned = 0;
  job.waiting_reason = "no worker is connected";
  EXPECT_EQ(ProgressLine(job, 3, 200),
            "job 7 [##..................] 1/10  1 failed  waiting: no worker is connected");
}

TEST(ProgressTest, ItFitsTheTerminal) {
  EXPECT_EQ(ProgressLine(Job(0, 10), 0, 11), "job 7 0/10");
  client::JobStatus job = Job(0, 10);
  job.assigned = 0;
  job.waiting_reason = std::string(40, 'x') + "für";
  const std::string whole = ProgressLine(job, 0, 200);
  EXPECT_EQ(ProgressLine(job, 0, whole.size() - 1), whole.substr(0, whole.size() - 3));
}

TEST(ProgressTest, RatesAreShort) {
  EXPECT_EQ(FormatRate(0.25), "0.2");
  EXPECT_EQ(FormatRate(950), "950");
  EXPECT_EQ(FormatRate(12'345), "12.3k");
  EXPECT_EQ(FormatRate(4'560'000), "4.56M");
}

}  // namespace
}  // namespace haul::cli
