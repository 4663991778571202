// What the tests of this room share: a directory of their own, and values to commit.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/store/store.h"
#include "gtest/gtest.h"

namespace haul::coordinator {

class ScratchDirectory {
 public:
  ScratchDirectory()
      : path_((std::filesystem::temp_directory_path() / "haul-store-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no scratch directory: " << path_;
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Writes in their order, by value: Writes(a, b, c).
template <typename... Each>
std::vector<Write> Writes(Each... writes) {
  std::vector<Write> all;
  (all.emplace_back(std::move(writes)), ...);
  return all;
}

inline PackedBytes Pack(const std::vector<std::string>& values) {
  PackedBytes packed;
  for (const std::string& value : values) packed.Append(value);
  return packed;
}

inline AddJob Job(std::uint64_t id, std::uint64_t task_count = 1000, std::uint64_t input_set = 0) {
  return {.record = {.job = JobId(id),
                     .spec = {.name = "job",
                              .owner = "me",
                              .description = "noop.v1",
                              .kind = WorkKind::kFunction,
                              .function = "noop.v1",
                              .task_count = task_count,
                              .input_set = InputSetId(input_set)},
                     .unix_us = 1'700'000'000'000'000},
          .job_template = "template of " + std::to_string(id)};
}

// A run of tasks without payload. Its assignment is its own, so that no store may join it with
// another.
inline AddOutcome Ended(std::uint64_t job, TaskIndex first, std::uint64_t count,
                        TaskStatus status = TaskStatus::kSucceeded) {
  AddOutcome write{.job = JobId(job), .outcome = {}};
  write.outcome.tasks = {first, count};
  write.outcome.status = status;
  if (status != TaskStatus::kSucceeded) write.outcome.cause = Cause::kExitCode;
  write.outcome.finished_unix_us = 1'700'000'001'000'000;
  write.outcome.assignment = AssignmentId(1, first + 1);
  write.outcome.worker = WorkerId(1);
  return write;
}

inline std::vector<Outcome> OutcomesOf(const OutcomePage& page) {
  std::vector<Outcome> outcomes;
  for (const OutcomePage::Entry& entry : page.entries) outcomes.push_back(entry.outcome);
  return outcomes;
}

inline std::vector<TaskRange> RangesOf(const OutcomePage& page) {
  std::vector<TaskRange> ranges;
  for (const OutcomePage::Entry& entry : page.entries) ranges.push_back(entry.outcome.tasks);
  return ranges;
}

// The records of one kind.
template <typename Record>
std::vector<Record> Only(const std::vector<DurableRecord>& records) {
  std::vector<Record> found;
  for (const DurableRecord& record : records) {
    if (const Record* one = std::get_if<Record>(&record)) found.push_back(*one);
  }
  return found;
}

}  // namespace haul::coordinator
