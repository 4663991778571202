// The tables, and how a database file becomes one of Haul's. docs/store.md describes them for
// people.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "coordinator/store/sqlite.h"

namespace haul::coordinator {

inline constexpr std::int64_t kApplicationId = 0x4861756c;  // "Haul"
inline constexpr std::int64_t kSchemaVersion = 4;
inline constexpr char kDatabaseName[] = "haul.db";

// Opens the database for writing, makes its tables if it is new, and brings an older schema to this
// one. FAILED_PRECONDITION for a newer schema or another program's database; DATA_LOSS for a
// damaged file, and for one that is missing or empty where other files say that there was one. What
// is refused is left as it is. The log is kept when it closes, until the caller says otherwise.
// A database of up to so many pages is checked as a whole.
absl::StatusOr<sqlite::Connection> OpenDatabase(const std::string& path,
                                                std::int64_t integrity_check_pages);

// A step from the schema version before. Steps are never changed once released.
struct Migration {
  std::int64_t to;
  const char* sql;  // statements, each with its semicolon
};
absl::Span<const Migration> Migrations();
// All steps from `version` on, in one transaction; DATA_LOSS for a version that they do not know.
absl::Status Migrate(sqlite::Connection& database, const std::string& path, std::int64_t version,
                     absl::Span<const Migration> migrations);

// SQLite's word for statements that a schema does not allow, formats that it does not know and
// databases that call themselves read-only is an error of the program; here the file is damaged.
absl::Status AsDamage(const absl::Status& status);

// One more connection, which only reads. While the first one is open.
absl::StatusOr<sqlite::Connection> OpenForReading(const std::string& path);

}  // namespace haul::coordinator
