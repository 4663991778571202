// The tables, and how a database file becomes one of Haul's. docs/store.md describes them for
// people.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/store/sqlite.h"

namespace haul::coordinator {

inline constexpr std::int64_t kApplicationId = 0x4861756c;  // "Haul"
inline constexpr std::int64_t kSchemaVersion = 1;
inline constexpr char kDatabaseName[] = "haul.db";

// Opens the database for writing and makes its tables if it is new. FAILED_PRECONDITION for a newer
// schema or another program's database, DATA_LOSS for a damaged file.
absl::StatusOr<sqlite::Connection> OpenDatabase(const std::string& path);

// One more connection, which only reads. While the first one is open.
absl::StatusOr<sqlite::Connection> OpenForReading(const std::string& path);

}  // namespace haul::coordinator
