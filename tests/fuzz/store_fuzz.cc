// A database whose rows hold anything: opening it gives a clear error, or what a coordinator can
// start from and followers can read. The tables are the store's own but for STRICT, so that values
// of wrong types get in, as they do when a page is damaged.
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/check.h"
#include "common/utf8.h"
#include "coordinator/core/core.h"
#include "coordinator/rpc/convert.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/store.h"
#include "tests/fuzz/inputs.pb.h"
#include "tests/fuzz/message_mutator.h"

namespace haul::fuzz {
namespace {

constexpr int kMostRows = 40;
constexpr int kMostPages = 50;
constexpr std::uint64_t kMostTasks = std::uint64_t{1} << 40;
constexpr std::uint64_t kMostInputs = 5000;  // read at once

using Value = StoreInput::Value;

Value Integer(std::int64_t integer) {
  Value value;
  value.set_integer(integer);
  return value;
}
Value Text(const std::string& text) {
  Value value;
  value.set_text(text);
  return value;
}
Value Bytes(const std::string& bytes) {
  Value value;
  value.set_blob(bytes);
  return value;
}

struct Column {
  const char* name;
  Value usual = {};          // in a row as a store would write it
  bool is_numbered = false;  // and then another in each row
};
struct Table {
  const char* name;
  std::vector<Column> columns;
  sqlite3_stmt* insert = nullptr;
};

std::vector<Column> OutcomeColumns() {
  constexpr bool kNumbered = true;
  return {{"sequence", {}, kNumbered},
          {"job", Integer(1)},
          {"first", {}, kNumbered},
          {"count", Integer(1)},
          {"status", Integer(1)},
          {"cause"},
          {"code"},
          {"worker", Integer(1)},
          {"assignment"},
          {"attempt"},
          {"pid"},
          {"culprit"},
          {"started_unix_us"},
          {"finished_unix_us"},
          {"busy_ns"},
          {"output_file"},
          {"output_bytes"},
          {"error_file"},
          {"error_bytes"},
          {"message"},
          {"result_size", Integer(2)},
          {"result_ends"},
          {"results", Bytes("ab")},
          {"error_output"}};
}

std::vector<Column> JobColumns() {
  return {{"id", {}, true},
          {"name", Text("job")},
          {"owner", Text("me")},
          {"request_id"},
          {"kind", Text("command")},
          {"function"},
          {"signature"},
          {"task_count", Integer(10)},
          {"priority", Integer(0)},
          {"cpus_milli", Integer(1000)},
          {"max_running", Integer(0)},
          {"max_attempts", Integer(1)},
          {"input_set"},
          {"input_bytes", Integer(0)},
          {"accepted_unix_us", Integer(1)},
          {"cancel_by"},
          {"cancel_unix_us"},
          {"state", Text("accepted")},
          {"ended_unix_us"},
          {"succeeded"},
          {"failed"},
          {"cancelled"},
          {"lost"},
          {"description", Text("true")},
          {"template", Bytes("")},
          {"at_most_once", Integer(0)},
          {"is_open", Integer(0)},
          {"parent_assignment"},
          {"parent_job"},
          {"parent_task"},
          {"depth", Integer(0)}};
}

std::vector<Table> MakeTables() {
  constexpr bool kNumbered = true;
  return {{"jobs", JobColumns()},
          {"inputs",
           {{"set_id", Integer(1)},
            {"first", Integer(0)},
            {"count", Integer(10)},
            {"uniform_size", Integer(1)},
            {"end_offsets"},
            {"data", Bytes("0123456789")}}},
          {"outcomes", OutcomeColumns()},
          {"attempts",
           {{"id", {}, kNumbered},
            {"job", Integer(1)},
            {"task", Integer(5)},
            {"attempts", Integer(1)},
            {"crashes", Integer(0)},
            {"run_alone", Integer(0)}}},
          {"workers",
           {{"id", {}, kNumbered},
            {"name", Text("w"), kNumbered},
            {"incarnation", Text("i"), kNumbered},
            {"host", Text("h")},
            {"joined_unix_us", Integer(1)},
            {"joined_after", Integer(0)},
            {"left_unix_us"},
            {"left_reason"}}},
          {"meta", {{"name", Text("epoch")}, {"value", Integer(3)}}},
          {"starts",
           {{"id", {}, kNumbered},
            {"job", Integer(1)},
            {"first", Integer(5)},
            {"count", Integer(1)},
            {"assignment", Integer(1)},
            {"withdrawn", Integer(0)}}},
          {"extensions",
           {{"id", {}, kNumbered},
            {"job", Integer(1)},
            {"count", Integer(3)},
            {"input_bytes", Integer(0)},
            {"closed", Integer(0)}}}};
}

Value UsualIn(int row, const Column& column) {
  if (!column.is_numbered) return column.usual;
  return column.usual.has_text() ? Text(column.usual.text() + std::to_string(row)) : Integer(row);
}

// A data directory whose rows change from input to input.
class Database {
 public:
  Database() {
    const char* temporary = std::getenv("TMPDIR");
    std::string path =
        std::string(temporary == nullptr ? "/tmp" : temporary) + "/haul-fuzz-store-XXXXXX";
    HAUL_CHECK(::mkdtemp(path.data()) != nullptr);
    directory_ = path;
    HAUL_CHECK(coordinator::SqliteStore::Open(path).ok());
    HAUL_CHECK(sqlite3_open((path + "/" + FileName()).c_str(), &handle_) == SQLITE_OK);
    sqlite3_busy_timeout(handle_, 60'000);
    MakeLenient();
    PrepareInserts();
    Execute("PRAGMA synchronous=OFF");
  }
  ~Database() {
    for (const Table& table : tables_) sqlite3_finalize(table.insert);
    sqlite3_close(handle_);
    std::filesystem::remove_all(directory_);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& directory() const { return directory_; }

  void Fill(const StoreInput& input) {
    // How many commits an earlier input made.
    std::filesystem::remove(directory_ + "/" + FileName() + "-commits");
    Execute("BEGIN IMMEDIATE");
    for (const Table& table : tables_) Execute("DELETE FROM " + std::string(table.name));
    Execute(
        "INSERT INTO meta VALUES ('epoch', 3), ('last_job', 30), ('last_worker', 30), "
        "('last_input_set', 30), ('commits', 0)");
    int number = 0;
    for (const StoreInput::Row& row : input.rows()) {
      if (++number > kMostRows) break;
      Insert(number, row);
    }
    Execute("COMMIT");
    if (++filled_ % 64 == 0) Execute("PRAGMA wal_checkpoint(TRUNCATE)");
  }

 private:
  std::string FileName() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".db") return entry.path().filename().string();
    }
    HAUL_UNREACHABLE("the store has no database");
  }

  void Execute(const std::string& sql) {
    const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) HAUL_UNREACHABLE(sqlite3_errmsg(handle_));
  }

  // Makes the tables anew from their own text.
  void MakeLenient() {
    std::vector<std::pair<std::string, std::string>> tables;
    const auto add = [](void* all, int, char** values, char**) {
      static_cast<std::vector<std::pair<std::string, std::string>>*>(all)->emplace_back(values[0],
                                                                                        values[1]);
      return 0;
    };
    // Indices last, as they were made.
    HAUL_CHECK(sqlite3_exec(handle_,
                            "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql NOT NULL "
                            "AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
                            add, &tables, nullptr) == SQLITE_OK);
    for (const auto& [name, sql] : tables) {
      if (!name.starts_with("index ")) Execute("DROP " + name);
    }
    for (auto& [name, sql] : tables) {
      const std::size_t strict = sql.rfind("STRICT");
      if (strict != std::string::npos)
        sql.erase(strict, sql.compare(strict, 7, "STRICT,") == 0 ? 7 : 6);
      Execute(sql);
    }
  }

  void PrepareInserts() {
    for (Table& table : tables_) {
      std::string names;
      std::string marks;
      for (const Column& column : table.columns) {
        names += (names.empty() ? "" : ",") + std::string(column.name);
        marks += marks.empty() ? "?" : ",?";
      }
      const std::string sql = "INSERT OR REPLACE INTO " + std::string(table.name) + "(" + names +
                              ") VALUES(" + marks + ")";
      HAUL_CHECK(sqlite3_prepare_v2(handle_, sql.c_str(), -1, &table.insert, nullptr) == SQLITE_OK);
    }
  }

  // What breaks a key is not there.
  void Insert(int number, const StoreInput::Row& row) {
    const Table& table = tables_[row.table() % tables_.size()];
    std::vector<Value> values;
    for (const Column& column : table.columns) values.push_back(UsualIn(number, column));
    for (const StoreInput::Change& change : row.changes()) {
      values[change.column() % values.size()] = change.value();
    }
    int position = 0;
    for (const Value& value : values) Bind(table.insert, ++position, value);
    sqlite3_step(table.insert);
    sqlite3_reset(table.insert);
  }

  static void Bind(sqlite3_stmt* insert, int position, const Value& value) {
    const auto size = [](const std::string& bytes) { return static_cast<int>(bytes.size()); };
    switch (value.is_case()) {
      case Value::kInteger:
        sqlite3_bind_int64(insert, position, value.integer());
        return;
      case Value::kText:
        sqlite3_bind_text(insert, position, value.text().data(), size(value.text()), SQLITE_STATIC);
        return;
      case Value::kBlob:
        sqlite3_bind_blob(insert, position, value.blob().data(), size(value.blob()), SQLITE_STATIC);
        return;
      case Value::kReal:
        sqlite3_bind_double(insert, position, value.real());
        return;
      case Value::kNull:
      case Value::IS_NOT_SET:
        sqlite3_bind_null(insert, position);
        return;
    }
  }

  std::vector<Table> tables_ = MakeTables();
  std::string directory_;
  sqlite3* handle_ = nullptr;
  std::uint64_t filled_ = 0;
};

// What is wrong with the rows is no defect of the program, and is said.
void CheckRefusal(const absl::Status& status) {
  HAUL_CHECK(status.code() == absl::StatusCode::kDataLoss ||
             status.code() == absl::StatusCode::kNotFound ||
             status.code() == absl::StatusCode::kOutOfRange);
  HAUL_CHECK(!status.message().empty());
}

void CheckEntry(const Outcome& outcome) {
  HAUL_CHECK(outcome.tasks.count > 0 && outcome.tasks.end() > outcome.tasks.first);
  HAUL_CHECK(outcome.status >= TaskStatus::kSucceeded && outcome.status <= TaskStatus::kLost);
  HAUL_CHECK(CauseName(outcome.cause) != "unknown");
  HAUL_CHECK(outcome.results.count() == 0 || outcome.results.count() == outcome.tasks.count);
  HAUL_CHECK(IsUtf8(outcome.output_file) && IsUtf8(outcome.error_file));
}

// Page by page, as a follower reads: each page brings it on.
void Follow(coordinator::StoreReader& reader, coordinator::OutcomeQuery query) {
  for (int pages = 0; pages < kMostPages; ++pages) {
    const auto page = reader.ReadOutcomes(query);
    if (!page.ok()) return CheckRefusal(page.status());
    for (const auto& entry : page->entries) CheckEntry(entry.outcome);
    HAUL_CHECK(page->next_cursor >= query.cursor);
    if (page->complete) return;
    HAUL_CHECK(page->next_cursor > query.cursor);
    query.cursor = page->next_cursor;
  }
}

void Read(coordinator::StoreReader& reader, const StoreInput::Query& asked) {
  const JobId job(asked.job());
  coordinator::OutcomeQuery query = coordinator::ToQuery(job, asked.follow());
  query.byte_limit = 500;
  query.row_limit = 5;
  Follow(reader, query);
  // As a job of the core's would have them.
  const TaskRange range{asked.follow().first() % kMostTasks, asked.follow().count() % kMostInputs};
  const auto inputs = reader.ReadInputs(InputSetId(asked.job()), range);
  if (inputs.ok()) {
    HAUL_CHECK(inputs->count() == range.count);
  } else {
    CheckRefusal(inputs.status());
  }
  const auto job_template = reader.ReadTemplate(job);
  if (!job_template.ok()) CheckRefusal(job_template.status());
}

// As Loop::Recover, and then some time.
void Serve(const coordinator::Recovered& recovered) {
  coordinator::Core core({}, recovered.epoch);
  core.RecoverLastIds(recovered.last_job, recovered.last_worker);
  for (const coordinator::RecoveredJob& job : recovered.jobs) core.Recover(job.record);
  for (const coordinator::DurableRecord& record : recovered.records) core.Recover(record);
  std::int64_t now_us = 1'000'000;
  const auto step = [&](const coordinator::Event& event) {
    core.Step(event, {.monotonic_us = now_us, .unix_us = now_us});
    coordinator::CheckInvariants(core.state());
    now_us += 2'000'000;
  };
  step(coordinator::ServingStarted{});
  coordinator::WorkerConnected worker{.session = SessionId(1)};
  worker.profile = {.name = "new", .incarnation = "new", .cpus_milli = 4000};
  step(worker);
  for (int second = 0; second < 40; second += 2) step(coordinator::TimePassed{});
  for (const auto& [id, job] : core.state().jobs()) {
    const v1::JobStatus status = coordinator::ToWire(core.state(), job);
    v1::JobStatus again;
    HAUL_CHECK(again.ParseFromString(status.SerializeAsString()));
  }
}

void Run(StoreInput input) {
  static Database database;
  database.Fill(input);
  // The rows are what is looked at, not the pages.
  auto store = coordinator::SqliteStore::Open(database.directory(), {.integrity_check_pages = 0});
  if (!store.ok()) return CheckRefusal(store.status());
  const auto recovered = (*store)->Recover();
  if (!recovered.ok()) {
    HAUL_CHECK(recovered.status().code() == absl::StatusCode::kDataLoss);
    return CheckRefusal(recovered.status());
  }
  Serve(*recovered);
  auto reader = (*store)->NewReader();
  HAUL_CHECK(reader.ok());
  for (const StoreInput::Query& query : input.queries()) Read(**reader, query);
}

}  // namespace
}  // namespace haul::fuzz

HAUL_FUZZ_MESSAGE(haul::fuzz::StoreInput, haul::fuzz::Run)
