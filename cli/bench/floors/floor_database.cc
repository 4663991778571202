#include "cli/bench/floors/floor_database.h"

#include "absl/status/statusor.h"
#include "cli/worker_command.h"

namespace haul::cli {

namespace {

std::filesystem::path MakeDirectory() {
  const absl::StatusOr<std::string> directory = MakeTemporaryDirectory("haul-floor");
  if (!directory.ok()) throw FloorError(std::string(directory.status().message()));
  return *directory;
}

}  // namespace

FloorDatabase::FloorDatabase() : FloorDatabase(MakeDirectory()) {
  const std::string path = (directory_ / "floor.db").string();
  if (sqlite3_open_v2(path.c_str(), &database_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK) {
    throw FloorError(path + " cannot be made");
  }
  Execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
  Execute("CREATE TABLE chunks (number INTEGER PRIMARY KEY, data BLOB)");
  sqlite3_prepare_v2(database_, "INSERT INTO chunks (data) VALUES (?)", -1, &insert_, nullptr);
}

FloorDatabase::~FloorDatabase() {
  sqlite3_finalize(insert_);
  sqlite3_close(database_);
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

void FloorDatabase::Insert(std::string_view chunk) {
  sqlite3_bind_blob64(insert_, 1, chunk.data(), chunk.size(), SQLITE_STATIC);
  const int status = sqlite3_step(insert_);
  sqlite3_reset(insert_);
  if (status != SQLITE_DONE) throw FloorError(sqlite3_errmsg(database_));
}

std::uint64_t FloorDatabase::ReadBack() {
  sqlite3_stmt* select = nullptr;
  sqlite3_prepare_v2(database_, "SELECT data FROM chunks ORDER BY number", -1, &select, nullptr);
  std::uint64_t bytes = 0;
  while (sqlite3_step(select) == SQLITE_ROW) {
    bytes += static_cast<std::uint64_t>(sqlite3_column_bytes(select, 0));
  }
  sqlite3_finalize(select);
  return bytes;
}

void FloorDatabase::Execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    throw FloorError(sqlite3_errmsg(database_));
  }
}

}  // namespace haul::cli
