// The power is cut at every write, truncation, sync and rename of a recorded workload, and the
// store is opened anew on what a disk may then hold: everything that was acknowledged is there,
// what was under way is there as a whole or not at all, nothing else is, and the store goes on.
//
// HAUL_TEST_LONG=1 runs many seeds; HAUL_POWER_CUT_SEED=N runs one.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/absl_view.h"
#include "coordinator/store/disk_model_for_test.h"
#include "coordinator/store/power_cut_recorder_for_test.h"
#include "coordinator/store/power_cut_workload_for_test.h"
#include "coordinator/store/store_process_for_test.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace haul::coordinator {
namespace {

using Kind = DiskOperation::Kind;

bool IsLong() { return std::getenv("HAUL_TEST_LONG") != nullptr; }

std::vector<std::uint64_t> Seeds() {
  if (const char* seed = std::getenv("HAUL_POWER_CUT_SEED")) {
    return {std::strtoull(seed, nullptr, 10)};
  }
  std::vector<std::uint64_t> seeds;
  for (std::uint64_t seed = 1; seed <= (IsLong() ? 20 : 1); ++seed) seeds.push_back(seed);
  return seeds;
}

// What had been said to the outside when a process had done so many operations.
struct Acknowledged {
  std::size_t operations = 0;
  std::size_t commits = 0;
  std::uint64_t epoch = 0;
};

// A whole life, undisturbed.
struct Recording {
  std::uint64_t seed = 0;
  std::vector<DiskOperation> operations;
  std::vector<Acknowledged> acknowledged;
};

Recording Record(std::uint64_t seed, const std::vector<WorkloadStep>& steps,
                 PowerCutRecorder::IgnoredSync ignored = nullptr) {
  const MemoryDisk disk;
  SeedPowerCutVfs(seed);
  PowerCutRecorder recorder(disk.path(), std::move(ignored));
  Recording recording{.seed = seed, .operations = {}, .acknowledged = {{}}};
  {
    Process process(disk.data_dir());
    std::size_t commits = 0;
    const auto acknowledge = [&] {
      recording.acknowledged.push_back({recorder.operations().size(), commits, process.epoch()});
    };
    absl::Status status = process.Start();
    if (status.ok()) acknowledge();
    for (const WorkloadStep& step : steps) {
      if (!status.ok()) break;
      status = step.restarts ? process.Start() : RunStep(step, process);
      if (!step.restarts) ++commits;
      if (status.ok()) acknowledge();
    }
    EXPECT_TRUE(status.ok()) << status;
  }
  recording.operations = recorder.operations();
  return recording;
}

// What may be found after a cut.
struct Expectation {
  std::set<std::string> dumps;
  std::uint64_t least_epoch = 0;
};

class PowerCut {
 public:
  explicit PowerCut(const std::vector<WorkloadStep>& steps)
      : plain_(ExpectedDumps(steps, {})), with_one_more_(ExpectedDumps(steps, OneMoreCommit())) {}

  Expectation After(const Acknowledged& acknowledged) const {
    Expectation expected{{plain_[acknowledged.commits]}, acknowledged.epoch + 1};
    if (acknowledged.commits + 1 < plain_.size()) {
      expected.dumps.insert(plain_[acknowledged.commits + 1]);
    }
    return expected;
  }

  // Starts on what is left, and goes on; then starts once more. What is wrong with that, or
  // nothing.
  std::string Examine(const DiskImage& image, const Expectation& expected, bool starts_again) {
    ++examined_;
    const MemoryDisk disk;
    image.Materialise(disk.path());
    Process process(disk.data_dir());
    std::string dump;
    if (std::string wrong = ExamineStart(process, expected, dump); !wrong.empty()) return wrong;
    // Where there is one more commit already, this is yet another.
    const absl::Status went_on =
        process.store().Commit(OneMoreCommit(starts_again ? 1'000'000 : 2'000'000));
    if (!went_on.ok()) return absl::StrCat("cannot go on: ", went_on.message());
    if (!starts_again) return "";
    const Expectation all{{WithOneMore(dump)}, process.epoch() + 1};
    return ExamineStart(process, all, dump);
  }

  // Like Examine, but records the start, and cuts the power once more within it. Where everything
  // survives, the process was only killed: what it had not synced still is not.
  std::string ExamineTwice(const DiskModel& model, Survival survival, const Expectation& expected,
                           std::mt19937_64& random) {
    const bool is_killed = survival == Survival::kEverything;
    const DiskImage image = model.Cut(survival, random);
    const MemoryDisk disk;
    image.Materialise(disk.path());
    std::string dump;
    std::size_t recovered_at = 0;
    std::size_t committed_at = 0;
    std::vector<DiskOperation> operations;
    {
      PowerCutRecorder recorder(disk.path());
      Process process(disk.data_dir());
      if (std::string wrong = ExamineStart(process, expected, dump); !wrong.empty()) return wrong;
      recovered_at = recorder.operations().size();
      const absl::Status went_on = process.store().Commit(OneMoreCommit());
      if (!went_on.ok()) return absl::StrCat("cannot go on: ", went_on.message());
      committed_at = recorder.operations().size();
      operations = recorder.operations();
    }
    DiskModel second = is_killed ? model : DiskModel(image);
    const std::size_t cut = random() % (operations.size() + 1);
    for (std::size_t i = 0; i < cut; ++i) second.Apply(operations[i]);
    Expectation then = expected;
    if (cut >= recovered_at) then = {{dump, WithOneMore(dump)}, expected.least_epoch + 1};
    if (cut >= committed_at) then.dumps = {WithOneMore(dump)};
    const Survival again[] = {Survival::kNothing, Survival::kEverything, Survival::kAnything};
    const std::string wrong = Examine(second.Cut(again[random() % 3], random), then, false);
    if (wrong.empty()) return "";
    return absl::StrCat("after a second cut, at operation ", cut, " of the next start: ", wrong);
  }

  std::uint64_t examined() const { return examined_; }

 private:
  static std::string ExamineStart(Process& process, const Expectation& expected,
                                  std::string& dump) {
    if (absl::Status started = process.Start(); !started.ok()) {
      return absl::StrCat("does not start: ", started.message());
    }
    const absl::StatusOr<std::string> found = process.DumpAll();
    if (!found.ok()) return absl::StrCat("cannot be read: ", found.status().message());
    if (!expected.dumps.contains(*found)) {
      return absl::StrCat("expected\n", *expected.dumps.begin(), "found\n", *found);
    }
    if (process.epoch() < expected.least_epoch) {
      return absl::StrCat("epoch ", process.epoch(), ", not ", expected.least_epoch, " or more");
    }
    dump = *found;
    return "";
  }

  const std::string& WithOneMore(const std::string& dump) const {
    for (std::size_t i = 0; i < plain_.size(); ++i) {
      if (plain_[i] == dump) return with_one_more_[i];
    }
    ADD_FAILURE() << "not a state of the workload";
    return dump;
  }

  const std::vector<std::string> plain_;
  const std::vector<std::string> with_one_more_;
  std::uint64_t examined_ = 0;
};

// Calls `cut` with the disk before each operation and after the last, and with what had been
// acknowledged by then; ends early when that gives false.
template <typename Cut>
void AtEveryOperation(const Recording& recording, Cut cut) {
  DiskModel model;
  auto acknowledged = recording.acknowledged.begin();
  for (std::size_t n = 0; n <= recording.operations.size(); ++n) {
    while (std::next(acknowledged) != recording.acknowledged.end() &&
           std::next(acknowledged)->operations <= n) {
      ++acknowledged;
    }
    if (!cut(n, model, *acknowledged)) return;
    if (n < recording.operations.size()) model.Apply(recording.operations[n]);
  }
}

bool IsSync(const DiskOperation& operation) {
  return operation.kind == Kind::kSyncFile || operation.kind == Kind::kSyncDirectory;
}

std::string Where(const Recording& recording, std::size_t n) {
  std::string text = absl::StrCat("HAUL_POWER_CUT_SEED=", recording.seed, ", cut before operation ",
                                  n, " of ", recording.operations.size(), "; the last were\n");
  for (std::size_t i = n < 12 ? 0 : n - 12; i < n; ++i) {
    absl::StrAppend(&text, "  ", ToString(recording.operations[i]), "\n");
  }
  return text;
}

constexpr std::size_t kCommits = 58;

// ---- what must hold ----

TEST(PowerCutTest, NothingAcknowledgedIsLostWhereverThePowerIsCut) {
  for (const std::uint64_t seed : Seeds()) {
    const std::vector<WorkloadStep> steps = MakeWorkload(seed, kCommits);
    const Recording recording = Record(seed, steps);
    PowerCut power_cut(steps);
    std::mt19937_64 random(seed);
    const int tries = IsLong() ? 4 : 1;
    AtEveryOperation(recording, [&](std::size_t n, const DiskModel& model, const Acknowledged& a) {
      const Expectation expected = power_cut.After(a);
      std::vector<Survival> survivals;
      // Without a sync or an acknowledgement since, it is the disk of the last cut.
      if (n == 0 || IsSync(recording.operations[n - 1]) || a.operations == n) {
        survivals.push_back(Survival::kNothing);
      }
      if (IsLong() || n % 4 == 0) survivals.push_back(Survival::kEverything);
      survivals.insert(survivals.end(), static_cast<std::size_t>(tries), Survival::kAnything);
      for (const Survival survival : survivals) {
        const std::string wrong =
            power_cut.Examine(model.Cut(survival, random), expected, random() % 16 == 0);
        EXPECT_EQ(wrong, "") << Where(recording, n) << "survival " << static_cast<int>(survival);
        if (!wrong.empty()) return false;
      }
      return true;
    });
    std::printf("seed %llu: %zu operations on the disk, %llu power cuts\n",
                static_cast<unsigned long long>(seed), recording.operations.size(),
                static_cast<unsigned long long>(power_cut.examined()));
    if (HasFailure()) return;
  }
}

TEST(PowerCutTest, NorWhereItIsCutAgainDuringRecoveryOrTheProcessWasOnlyKilled) {
  for (const std::uint64_t seed : Seeds()) {
    const std::vector<WorkloadStep> steps = MakeWorkload(seed, kCommits);
    const Recording recording = Record(seed, steps);
    PowerCut power_cut(steps);
    std::mt19937_64 random(seed);
    AtEveryOperation(recording, [&](std::size_t n, const DiskModel& model, const Acknowledged& a) {
      if (!IsLong() && random() % 8 != 0) return true;
      for (const Survival survival : {Survival::kEverything, Survival::kAnything}) {
        const std::string wrong =
            power_cut.ExamineTwice(model, survival, power_cut.After(a), random);
        EXPECT_EQ(wrong, "") << Where(recording, n) << "survival " << static_cast<int>(survival);
        if (!wrong.empty()) return false;
      }
      return true;
    });
    std::printf("seed %llu: %llu second power cuts\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(power_cut.examined()));
    if (HasFailure()) return;
  }
}

// ---- that it would be noticed ----

struct IgnoredSyncCase {
  const char* name;
  PowerCutRecorder::IgnoredSync ignored;
};

bool IsSyncOf(const DiskOperation& operation, std::string_view end) {
  return operation.kind == Kind::kSyncFile && absl::EndsWith(operation.path, AbslView(end));
}

class IgnoredSyncTest : public ::testing::TestWithParam<IgnoredSyncCase> {};

TEST_P(IgnoredSyncTest, IsFoundAsALoss) {
  const std::vector<WorkloadStep> steps = MakeWorkload(1, kCommits);
  const Recording recording = Record(1, steps, GetParam().ignored);
  PowerCut power_cut(steps);
  std::mt19937_64 random(1);
  std::string found;
  AtEveryOperation(recording, [&](std::size_t n, const DiskModel& model, const Acknowledged& a) {
    if (n % 5 != 0 && n != recording.operations.size()) return true;
    for (const Survival survival : {Survival::kNothing, Survival::kAnything}) {
      found = power_cut.Examine(model.Cut(survival, random), power_cut.After(a), false);
      if (!found.empty()) return false;
    }
    return true;
  });
  EXPECT_NE(found, "") << power_cut.examined() << " power cuts, and no loss";
}

INSTANTIATE_TEST_SUITE_P(
    Of, IgnoredSyncTest,
    ::testing::Values(
        IgnoredSyncCase{"TheLog", [](const auto& o) { return IsSyncOf(o, "haul.db-wal"); }},
        IgnoredSyncCase{"TheDatabase", [](const auto& o) { return IsSyncOf(o, "haul.db"); }},
        IgnoredSyncCase{"Outputs", [](const auto& o) { return IsSyncOf(o, ".part"); }},
        IgnoredSyncCase{
            "TheDataDirectory",
            [](const auto& o) { return o.kind == Kind::kSyncDirectory && o.path == "data"; }},
        IgnoredSyncCase{
            "TheDirectoryAbove",
            [](const auto& o) { return o.kind == Kind::kSyncDirectory && o.path.empty(); }},
        IgnoredSyncCase{"TheDirectoryOfOutputs",
                        [](const auto& o) {
                          return o.kind == Kind::kSyncDirectory && o.path == "data/outputs";
                        }},
        IgnoredSyncCase{"TheDirectoriesOfJobs",
                        [](const auto& o) {
                          return o.kind == Kind::kSyncDirectory &&
                                 absl::StartsWith(o.path, "data/outputs/");
                        }}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace haul::coordinator
