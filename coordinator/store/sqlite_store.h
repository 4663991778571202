// The store of durable jobs: one SQLite database in the data directory, which is this process's
// alone while the store lives. What a commit wrote survives kill -9 and power loss.
//
// Threads and errors as in store.h. May be opened on another thread than the one that then uses it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/store/commit_note.h"
#include "coordinator/store/data_directory.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

struct SqliteStoreOptions {
  // A checkpoint copies pages and syncs twice, so it is done once for many commits: 16 MiB of log.
  int checkpoint_pages = 4096;
  // Up to this size, 32 MiB, the whole database is checked at a start: a few tenths of a second.
  int integrity_check_pages = 8192;
};

class SqliteStore final : public Store {
 public:
  // FAILED_PRECONDITION where another coordinator uses the directory or a newer haul wrote the
  // database; DATA_LOSS, here or from Recover, for damaged files and for ones that lack what was
  // acknowledged. Then nothing is changed.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& data_dir,
                                                           const SqliteStoreOptions& options = {});
  ~SqliteStore() override;

  absl::StatusOr<Recovered> Recover() override;
  absl::Status Commit(const std::vector<Write>& writes) override;
  const std::vector<std::uint64_t>& outcome_sequences() const override {
    return outcome_sequences_;
  }
  absl::StatusOr<std::unique_ptr<StoreReader>> NewReader() override;

 private:
  struct Statements {
    sqlite::Statement begin, commit, rollback, set_meta;
    sqlite::Statement last_inputs, add_inputs, drop_inputs;
    sqlite::Statement has_job, add_job, cancel_job, end_job, input_set_of_job, forget_job;
    sqlite::Statement outcome_before, add_outcome, forget_outcomes;
    sqlite::Statement add_attempts, forget_attempts, add_starts, forget_starts;
    sqlite::Statement add_extension, forget_extensions;
    sqlite::Statement add_worker, end_worker;
  };
  struct LastIds {
    std::uint64_t job = 0;
    std::uint64_t worker = 0;
    std::uint64_t input_set = 0;
  };

  SqliteStore(std::unique_ptr<DataDirectory> directory, sqlite::Connection database,
              std::unique_ptr<CommitNote> note, const SqliteStoreOptions& options);

  absl::Status Prepare();
  absl::Status Fail(absl::Status status);

  // One write within the open transaction.
  absl::Status Apply(const AppendInputs& write);
  absl::Status Apply(const DropInputs& write);
  absl::Status Apply(const AddJob& write);
  absl::Status Apply(const JobExtended& write);
  absl::Status Apply(const AddOutcome& write);
  absl::Status Apply(const AttemptsCharged& write);
  absl::Status Apply(const StartsRecorded& write);
  absl::Status Apply(const JobCancelRequested& write);
  absl::Status Apply(const JobEnded& write);
  absl::Status Apply(const JobForgotten& write);
  absl::Status Apply(const WorkerJoined& write);
  absl::Status Apply(const WorkerLeft& write);
  absl::Status ApplyAll(const std::vector<Write>& writes);
  absl::Status AppendRow(InputSetId set, TaskIndex first, const PackedBytes& values);
  absl::Status CheckJob(JobId job);
  absl::Status SetMeta(const char* name, std::uint64_t value);
  absl::Status SetLastIds();
  absl::Status EndTransaction();
  std::uint32_t CheckOfMeta() const;
  bool ChangedNothing() const;

  // Recovery, in one transaction.
  absl::Status RecoverAll(Recovered& recovered);
  absl::Status ReadMeta(Recovered& recovered);
  absl::Status CheckCommits() const;
  absl::Status ReadWorkers(Recovered& recovered);
  absl::Status ReadJobs(Recovered& recovered);
  absl::Status ReadJob(const sqlite::Statement& row, Recovered& recovered);
  absl::Status ReadUnfinished(JobAccepted accepted, Recovered& recovered);
  absl::Status ReadExtensions(JobAccepted& accepted, Recovered& recovered);
  absl::Status ReadInputSizes(JobAccepted& accepted);
  absl::Status CheckInputsOf(const JobAccepted& accepted);
  absl::Status ReadAttempts(const JobAccepted& accepted, Recovered& recovered);
  absl::Status ReadStarts(const JobAccepted& accepted, Recovered& recovered);
  absl::Status ReadOutcomes(const JobAccepted& accepted, Recovered& recovered);
  absl::Status CheckOutcomeCount(JobId job, std::int64_t row_count);
  absl::Status DropLooseInputs(const absl::flat_hash_set<std::uint64_t>& used);

  // Moves what the log holds into the database before the log grows long.
  absl::Status BoundLog();

  // Destroyed from the end: statements, then the connection, then the hold on the directory.
  const std::unique_ptr<DataDirectory> directory_;
  sqlite::Connection database_;
  Statements statements_;
  std::vector<std::uint64_t> outcome_sequences_;
  absl::Status broken_;  // why nothing can be committed any more
  const std::unique_ptr<CommitNote> note_;
  std::uint64_t commits_ = 0;  // in the database, ever; of the open transaction, once it ends
  std::uint64_t epoch_ = 0;
  std::uint64_t job_count_ = 0;
  std::uint64_t stored_job_count_ = 0;
  bool must_have_check_ = false;  // no rows are from before there were checks
  LastIds last_ids_;
  LastIds stored_last_ids_;
  JobId checked_job_;  // known to be there, within the open transaction
  int log_pages_ = 0;  // set by SQLite with every commit
  const int checkpoint_pages_;
  int next_checkpoint_pages_;
};

}  // namespace haul::coordinator
