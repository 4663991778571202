#include "coordinator/store/sqlite.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace haul::coordinator::sqlite {
namespace {

bool IsSpace(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

absl::StatusCode CodeOf(int code, int system_error) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::StatusCode::kUnavailable;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_IOERR:
      return IsSpace(system_error) ? absl::StatusCode::kResourceExhausted
                                   : absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

// SQLite's own answer is often lost on the way up; the files remember theirs.
int LastErrno(sqlite3* database) {
  int error = sqlite3_system_errno(database);
  if (error != 0) return error;
  sqlite3_file* log = nullptr;
  if (sqlite3_file_control(database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
      log != nullptr && log->pMethods != nullptr) {
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
  }
  if (error == 0) sqlite3_file_control(database, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
  return error;
}

}  // namespace

absl::Status ErrorOf(sqlite3* database, int code) {
  const int system_error = LastErrno(database);
  const char* path = sqlite3_db_filename(database, "main");
  std::string text = absl::StrCat(path != nullptr ? path : "the database", ": ");
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
      absl::StrAppend(&text, "the file is damaged: ");
      break;
    case SQLITE_NOTADB:
      absl::StrAppend(&text, "the file is damaged, or no database: ");
      break;
    case SQLITE_BUSY:
      absl::StrAppend(&text, "another program holds it: ");
      break;
    default:
      break;
  }
  // It may quote the damaged text of a table.
  absl::StrAppend(&text, absl::StrReplaceAll(sqlite3_errmsg(database), {{"\n", " "}}));
  const int primary = code & 0xff;
  if (system_error != 0 && (primary == SQLITE_IOERR || primary == SQLITE_FULL ||
                            primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY)) {
    absl::StrAppend(&text, " (", std::strerror(system_error), ")");
  }
  return absl::Status(CodeOf(code, system_error), text);
}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(database_, other.database_);
  std::swap(statement_, other.statement_);
  std::swap(status_, other.status_);
  return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::Note(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = ErrorOf(database_, code);
}

void Statement::BindOne(int position, std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.empty() ? "" : text.data();
  Note(sqlite3_bind_text64(statement_, position, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Statement::BindOne(int position, Blob blob) {
  const char* data = blob.bytes.empty() ? "" : blob.bytes.data();
  Note(sqlite3_bind_blob64(statement_, position, data, blob.bytes.size(), SQLITE_STATIC));
}

void Statement::BindNull(int position) { Note(sqlite3_bind_null(statement_, position)); }

void Statement::BindInteger(int position, std::int64_t value) {
  Note(sqlite3_bind_int64(statement_, position, value));
}

bool Statement::Next() {
  if (!status_.ok()) return false;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) Note(code);
  sqlite3_reset(statement_);
  return false;
}

absl::Status Statement::Run() {
  while (Next()) continue;
  return status_;
}

void Statement::Reset() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
  status_ = absl::OkStatus();
}

std::int64_t Statement::Signed(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Statement::Bytes(int column) const {
  // The pointer first: the size is that of the form it was asked in.
  const void* data = sqlite3_column_blob(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

void Connection::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

absl::StatusOr<Connection> Connection::Open(const std::string& path, Mode mode) {
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Connection connection;
  connection.handle_.reset(handle);
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for the database");
  if (code != SQLITE_OK) return ErrorOf(handle, code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  return connection;
}

absl::Status Connection::Execute(const char* sql) {
  const int code = sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : ErrorOf(handle(), code);
}

void Connection::KeepLogOnClose(bool keep) {
  sqlite3_db_config(handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep ? 1 : 0, nullptr);
}

absl::StatusOr<Statement> Connection::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return ErrorOf(handle(), code);
  return Statement(handle(), statement);
}

absl::StatusOr<std::int64_t> Connection::ReadInteger(std::string_view sql) {
  absl::StatusOr<Statement> statement = Prepare(sql);
  if (!statement.ok()) return statement.status();
  const std::int64_t value = statement->Next() ? statement->Signed(0) : 0;
  if (!statement->status().ok()) return statement->status();
  return value;
}

absl::StatusOr<std::string> Connection::ReadText(std::string_view sql) {
  absl::StatusOr<Statement> statement = Prepare(sql);
  if (!statement.ok()) return statement.status();
  std::string value = statement->Next() ? statement->Text(0) : "";
  if (!statement->status().ok()) return statement->status();
  return value;
}

}  // namespace haul::coordinator::sqlite
