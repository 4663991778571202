// SQLite as the store uses it: a connection, and prepared statements whose errors are absl
// statuses.
//
// Threads: a connection and its statements are used by one thread at a time. Statements must not
// outlive their connection.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace haul::coordinator::sqlite {

// A person who looks at the database, or backs it up, may hold it for a moment.
inline constexpr int kBusyTimeoutMs = 10'000;

// Bytes, as opposed to text.
struct Blob {
  std::string_view bytes;
};

class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept { *this = std::move(other); }
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Starts anew, with all parameters in their order. Text and blobs are borrowed until the next
  // Reset.
  template <typename... Values>
  void Bind(const Values&... values) {
    Reset();
    int position = 0;
    (BindOne(++position, values), ...);
  }

  // Steps to the next row; false at the end, which resets, and on an error, which status() then
  // tells.
  bool Next();
  const absl::Status& status() const { return status_; }
  // For what gives no rows.
  absl::Status Run();
  // Ends the read that a half-stepped statement holds open; harmless otherwise.
  void Reset();

  // Columns of the current row, from 0. What is NULL reads as 0 or empty.
  std::int64_t Signed(int column) const;
  std::uint64_t Unsigned(int column) const { return static_cast<std::uint64_t>(Signed(column)); }
  std::uint32_t Unsigned32(int column) const { return static_cast<std::uint32_t>(Signed(column)); }
  std::string_view Bytes(int column) const;  // valid until the next step
  std::string Text(int column) const { return std::string(Bytes(column)); }
  bool IsNull(int column) const;

 private:
  friend class Connection;
  Statement(sqlite3* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}

  template <typename T>
  void BindOne(int position, const std::optional<T>& value) {
    if (value) {
      BindOne(position, *value);
    } else {
      BindNull(position);
    }
  }
  template <typename T>
  requires std::is_integral_v<T>
  void BindOne(int position, T value) { BindInteger(position, static_cast<std::int64_t>(value)); }
  void BindOne(int position, std::string_view text);
  void BindOne(int position, Blob blob);
  void BindNull(int position);
  void BindInteger(int position, std::int64_t value);
  void Note(int code);

  sqlite3* database_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  absl::Status status_;
};

// Resets a statement when a scope ends before its rows do.
class ScopedReset {
 public:
  explicit ScopedReset(Statement& statement) : statement_(statement) {}
  ~ScopedReset() { statement_.Reset(); }
  ScopedReset(const ScopedReset&) = delete;
  ScopedReset& operator=(const ScopedReset&) = delete;

 private:
  Statement& statement_;
};

class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  static absl::StatusOr<Connection> Open(const std::string& path, Mode mode);

  // SQL without parameters, any number of statements; rows are ignored.
  absl::Status Execute(const char* sql);
  absl::StatusOr<Statement> Prepare(std::string_view sql);
  // The first column of the first row.
  absl::StatusOr<std::int64_t> ReadInteger(std::string_view sql);
  absl::StatusOr<std::string> ReadText(std::string_view sql);
  // Whether the last connection leaves the log beside the database when it closes, instead of
  // moving it in.
  void KeepLogOnClose(bool keep);
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// The status of what a connection has just been told by SQLite.
absl::Status ErrorOf(sqlite3* database, int code);

// NULL where a column holds what it holds by default.
template <typename T>
std::optional<std::int64_t> NullIf(T value, std::type_identity_t<T> ordinary) {
  if (value == ordinary) return std::nullopt;
  return static_cast<std::int64_t>(value);
}
inline std::optional<std::string_view> NullIfEmpty(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace haul::coordinator::sqlite
