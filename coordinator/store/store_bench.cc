// Measures the SQLite store: store_bench [directory]. Prints one figure a line.
//
// The directory stands on the disk to be measured; what is made there is removed.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "common/check.h"
#include "coordinator/store/sqlite_store.h"

namespace haul::coordinator {
namespace {

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Print(const char* what, double count, double seconds) {
  std::printf("%-62s %12.0f a second  (%.3f s)\n", what, count / seconds, seconds);
}

AddJob Job(std::uint64_t id, std::uint64_t tasks, std::uint64_t inputs) {
  return {.record = {.job = JobId(id),
                     .spec = {.name = "bench",
                              .owner = "me",
                              .kind = WorkKind::kFunction,
                              .task_count = tasks,
                              .input_set = InputSetId(inputs)},
                     .unix_us = 1'700'000'000'000'000},
          .job_template = "template"};
}

AddOutcome Run(std::uint64_t job, TaskIndex first, std::uint64_t count) {
  return {.job = JobId(job),
          .outcome = {.tasks = {first, count},
                      .started_unix_us = 1'700'000'000'000'000,
                      .finished_unix_us = 1'700'000'000'100'000,
                      .busy_ns = 1000 * count,
                      .assignment = AssignmentId(3, 1000 + first),
                      .worker = WorkerId(1)}};
}

class Bench {
 public:
  explicit Bench(std::string data_dir) : data_dir_(std::move(data_dir)) { Open(); }

  void SingleCommits(std::uint64_t commits) {
    Commit({Job(1, 1 << 30, 0)});
    Print("commits of one outcome", static_cast<double>(commits), SecondsOf([&] {
            for (std::uint64_t i = 0; i < commits; ++i) Commit({Run(1, 100 * i, 100)});
          }));
  }

  // `make` gives the outcome of a run by its number.
  void Batches(const char* what, std::uint64_t job, std::uint64_t rows, std::uint64_t batch_rows,
               std::uint64_t units_a_row, const std::function<AddOutcome(std::uint64_t)>& make) {
    Commit({Job(job, 1 << 30, 0)});
    double seconds = 0;
    for (std::uint64_t i = 0; i < rows; i += batch_rows) {
      std::vector<Write> batch;
      for (std::uint64_t k = i; k < i + batch_rows; ++k) batch.emplace_back(make(k));
      seconds += SecondsOf([&] { Commit(batch); });
    }
    Print(what, static_cast<double>(rows * units_a_row), seconds);
  }

  void Inputs(std::uint64_t set, std::uint64_t chunks, std::uint64_t count, std::size_t bytes) {
    AppendInputs chunk{.set = InputSetId(set), .values = {}};
    for (std::uint64_t i = 0; i < count; ++i) chunk.values.Append(std::string(bytes, 'i'));
    const double seconds = SecondsOf([&] {
      for (std::uint64_t i = 0; i < chunks; ++i) {
        chunk.first = i * count;
        Commit({chunk});
      }
      Commit({Job(100 + set, chunks * count, set)});
    });
    const std::string what =
        "inputs of " + std::to_string(bytes) + " bytes, " + std::to_string(count) + " in a commit";
    Print(what.c_str(), static_cast<double>(chunks * count), seconds);
    auto reader = *store_->NewReader();
    const std::uint64_t reads = 2000;
    Print("  reads of 100 inputs anywhere", static_cast<double>(reads), SecondsOf([&] {
            for (std::uint64_t i = 0; i < reads; ++i) {
              const TaskIndex first = (i * 7919 * 100) % (chunks * count - 100);
              HAUL_CHECK(reader->ReadInputs(InputSetId(set), {first, 100}).ok());
            }
          }));
  }

  void ReadAll(const char* what, std::uint64_t job, bool in_order) {
    auto reader = *store_->NewReader();
    OutcomeQuery query{.job = JobId(job), .in_order = in_order};
    std::uint64_t rows = 0;
    Print(what, 1, SecondsOf([&] {
                     bool complete = false;
                     while (!complete) {
                       const auto page = reader->ReadOutcomes(query);
                       HAUL_CHECK(page.ok());
                       rows += page->entries.size();
                       query.cursor = page->next_cursor;
                       complete = page->complete;
                     }
                   }) / static_cast<double>(rows));
  }

  void Restart(const char* what) {
    store_.reset();
    std::printf("%-62s %12.3f s\n", what, SecondsOf([this] { Open(); }));
  }
  void EndJob(std::uint64_t job) { Commit({JobEnded{JobId(job), JobState::kSucceeded, {}, 1}}); }
  void Forget(const char* what, std::uint64_t job) {
    std::printf("%-62s %12.3f s\n", what, SecondsOf([&] { Commit({JobForgotten{JobId(job)}}); }));
  }

 private:
  void Open() {
    auto store = SqliteStore::Open(data_dir_);
    HAUL_CHECK(store.ok());
    store_ = *std::move(store);
    HAUL_CHECK(store_->Recover().ok());
  }
  void Commit(const std::vector<Write>& writes) { HAUL_CHECK(store_->Commit(writes).ok()); }

  const std::string data_dir_;
  std::unique_ptr<SqliteStore> store_;
};

void Measure(const std::string& data_dir) {
  Bench bench(data_dir);
  bench.SingleCommits(500);
  bench.Batches("outcome rows in batches of 500", 2, 200'000, 500, 1,
                [](std::uint64_t i) { return Run(2, 100 * i, 100); });
  bench.Batches("single small outcomes with output in batches of 4000", 3, 200'000, 4000, 1,
                [](std::uint64_t i) {
                  AddOutcome outcome = Run(3, i, 1);
                  outcome.outcome.results.Append("a line of output\n");
                  return outcome;
                });
  constexpr std::uint64_t kChunk = 16 << 10;
  PackedBytes values;
  for (std::uint64_t i = 0; i < kChunk; ++i) values.Append("12345678");
  bench.Batches("results of 8 bytes in chunks of 16 Ki, a chunk a commit", 4, 600, 1, kChunk,
                [&values](std::uint64_t i) {
                  AddOutcome outcome = Run(4, kChunk * i, kChunk);
                  outcome.outcome.results = values;
                  return outcome;
                });
  bench.Inputs(1, 62, 16 << 10, 32);
  bench.Inputs(2, 10, 100'000, 32);
  bench.ReadAll("outcome rows read in order of completion", 3, false);
  bench.ReadAll("outcome rows read in index order", 3, true);
  bench.Restart("start over 400,000 rows of jobs that go on");
  for (const std::uint64_t job : {1, 2, 3, 4}) bench.EndJob(job);
  bench.Restart("start when those have ended");
  bench.Forget("forgetting a job of 200,000 rows", 3);
}

}  // namespace
}  // namespace haul::coordinator

int main(int argc, char** argv) {
  std::string directory = argc > 1 ? argv[1] : std::filesystem::temp_directory_path().string();
  directory += "/haul-bench-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    std::perror(directory.c_str());
    return 1;
  }
  haul::coordinator::Measure(directory + "/data");
  std::filesystem::remove_all(directory);
  return 0;
}
