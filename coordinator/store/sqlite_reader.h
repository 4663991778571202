// Reads the database beside the store, on a connection of its own: neither waits for the other.
//
// One thread. Each call reads what is committed then and holds no snapshot afterwards.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

class SqliteReader final : public StoreReader {
 public:
  static absl::StatusOr<std::unique_ptr<StoreReader>> Open(const std::string& database_path);

  absl::StatusOr<PackedBytes> ReadInputs(InputSetId set, TaskRange range) override;
  absl::StatusOr<OutcomePage> ReadOutcomes(const OutcomeQuery& query) override;
  absl::StatusOr<std::string> ReadTemplate(JobId job) override;

  // The plans of all queries, one step a line, for a test that none of them reads a whole table.
  absl::StatusOr<std::string> ExplainQueries();

 private:
  // Each query once with and once without the payload columns.
  struct OutcomeStatements {
    sqlite::Statement completed, unsuccessful, one, in_order;
  };

  explicit SqliteReader(sqlite::Connection database) : database_(std::move(database)) {}
  absl::Status Prepare();

  absl::StatusOr<OutcomePage> ReadCompleted(const OutcomeQuery& query);
  // In order of completion among few tasks.
  absl::StatusOr<OutcomePage> ReadNarrow(const OutcomeQuery& query);
  absl::StatusOr<OutcomePage> ReadInOrder(const OutcomeQuery& query);
  // The first task of the run that holds `task`, or the task itself where it has no outcome.
  absl::StatusOr<TaskIndex> StartOfRun(JobId job, TaskIndex task);

  bool must_have_check_ = false;  // no rows are from before there were checks
  sqlite::Connection database_;
  sqlite::Statement inputs_start_, inputs_, run_start_, narrow_, template_;
  OutcomeStatements plain_, with_payload_;
};

}  // namespace haul::coordinator
