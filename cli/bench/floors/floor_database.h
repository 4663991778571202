// The SQLite database of a floor: one table of chunks, durable as the coordinator's. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <sqlite3.h>

namespace haul::cli {

// Floors end by this where something of the machine refuses.
class FloorError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class FloorDatabase {
 public:
  FloorDatabase();
  ~FloorDatabase();
  FloorDatabase(const FloorDatabase&) = delete;
  FloorDatabase& operator=(const FloorDatabase&) = delete;

  void Begin() { Execute("BEGIN"); }
  void Insert(std::string_view chunk);
  void Commit() { Execute("COMMIT"); }
  // The bytes of all chunks, read one after the other.
  std::uint64_t ReadBack();

 private:
  // By which a database that cannot be opened is destroyed too.
  explicit FloorDatabase(std::filesystem::path directory) : directory_(std::move(directory)) {}
  void Execute(const char* sql);

  std::filesystem::path directory_;
  sqlite3* database_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
};

}  // namespace haul::cli
