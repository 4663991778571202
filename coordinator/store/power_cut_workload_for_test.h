// What a coordinator does to its data directory in a little life, for tests that break that life
// off: commits of every kind, large outputs, clean restarts. And what must be there afterwards,
// told by the memory store from the same commits.
//
// Everything follows from the seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/output_files.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

struct WorkloadStep {
  bool restarts = false;            // instead of a commit
  std::vector<OutputName> outputs;  // written before the commit that refers to them
  std::vector<Write> writes;
};

std::vector<WorkloadStep> MakeWorkload(std::uint64_t seed, std::size_t commits);

// A commit that can follow on any part of a workload.
std::vector<Write> OneMoreCommit(std::uint64_t job = 1'000'000);

// Of a large output; follows from its name.
std::string OutputContent(const OutputName& name);
absl::Status WriteOutput(OutputFiles& files, const OutputName& name);

// All that a store has, but for its epoch: as text that is equal when they hold the same. With
// `files`, large outputs are read and held against what was written.
absl::StatusOr<std::string> Dump(const Recovered& recovered, StoreReader& reader,
                                 const OutputFiles* files);

// Dumps after the first 0, 1, … commits of a workload and a restart; `last` is one more commit, if
// any.
std::vector<std::string> ExpectedDumps(const std::vector<WorkloadStep>& steps,
                                       const std::vector<Write>& last);

// A small log, so that a short workload has many checkpoints.
inline constexpr SqliteStoreOptions kSmallLog{.checkpoint_pages = 60};

}  // namespace haul::coordinator
