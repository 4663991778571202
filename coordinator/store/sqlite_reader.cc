#include "coordinator/store/sqlite_reader.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/store/page_builder.h"
#include "coordinator/store/row_check.h"
#include "coordinator/store/sqlite_rows.h"
#include "coordinator/store/sqlite_schema.h"
#include "coordinator/store/write_checks.h"

namespace haul::coordinator {
namespace {

using sqlite::ScopedReset;
using sqlite::Statement;

// Up to so many tasks are looked up by index and then sorted, instead of reading all that
// completed.
constexpr std::uint64_t kNarrow = 10'000;

constexpr char kInputsStart[] =
    "SELECT first FROM inputs WHERE set_id=? AND first<=? ORDER BY first DESC LIMIT 1";
constexpr char kInputs[] =
    "SELECT first,count,uniform_size,end_offsets,data,row_check,rowid FROM inputs WHERE set_id=? "
    "AND first>=? "
    "ORDER BY first";
constexpr char kRunStart[] =
    "SELECT first,count FROM outcomes WHERE job=? AND first<=? ORDER BY first DESC LIMIT 1";
constexpr char kTemplate[] = "SELECT template,row_check FROM jobs WHERE id=?";

// The indices are named, so that no statistics and no later version ever reads a table instead.
// Only numbers are sorted, and their rows then read one by one: a sort of rows would hold the
// results of all of them, for each page anew.
constexpr char kNarrowSequences[] =
    "SELECT sequence FROM outcomes INDEXED BY outcomes_by_index WHERE job=? AND first>=? AND "
    "first<? AND +sequence>? ORDER BY +sequence";
constexpr char kOne[] = " FROM outcomes WHERE sequence=?";
constexpr char kCompleted[] =
    " FROM outcomes INDEXED BY outcomes_by_completion WHERE job=? AND sequence>? ORDER BY sequence";
constexpr char kUnsuccessful[] =
    " FROM outcomes INDEXED BY outcomes_unsuccessful WHERE job=? AND sequence>? AND status<>1 "
    "ORDER BY sequence";
constexpr char kInOrder[] =
    " FROM outcomes INDEXED BY outcomes_by_index WHERE job=? AND first>=? AND first<? ORDER BY "
    "first";

std::string OutcomeQueryText(const char* rest, bool with_payload) {
  return absl::StrCat("SELECT ", kOutcomeColumns, with_payload ? kPayloadColumns : "", rest);
}

// SQLite's integers are signed; no task index comes near.
std::int64_t Clamp(std::uint64_t value) {
  return static_cast<std::int64_t>(
      std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
}

// Adds the current row if it is wanted. False: the page is full, and ends before it.
absl::StatusOr<bool> AddRow(const OutcomeQuery& query, const OutcomeHead& head,
                            const Statement& row, bool must_have_check, PageBuilder& page) {
  if (!page.Wants(head.tasks, head.status)) return true;
  absl::StatusOr<Outcome> outcome =
      ReadOutcome(query.job, row, query.with_payload, must_have_check);
  if (!outcome.ok()) return outcome.status();
  return page.Add(row.Unsigned(0), *std::move(outcome));
}

// The same in order of completion, with the cursor.
absl::StatusOr<bool> AddCompleted(const OutcomeQuery& query, const Statement& row,
                                  bool must_have_check, PageBuilder& page) {
  const absl::StatusOr<OutcomeHead> head = ReadHead(row);
  if (!head.ok()) return head.status();
  const absl::StatusOr<bool> went_on = AddRow(query, *head, row, must_have_check, page);
  if (went_on.ok() && *went_on) page.MoveCursor(row.Unsigned(0));
  return went_on;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreReader>> SqliteReader::Open(const std::string& database_path) {
  absl::StatusOr<sqlite::Connection> database = OpenForReading(database_path);
  if (!database.ok()) return database.status();
  std::unique_ptr<SqliteReader> reader(new SqliteReader(*std::move(database)));
  if (absl::Status prepared = reader->Prepare(); !prepared.ok()) return prepared;
  return reader;
}

absl::Status SqliteReader::Prepare() {
  const auto checked = database_.ReadInteger("SELECT value FROM meta WHERE name='rows_checked'");
  if (!checked.ok()) return checked.status();
  must_have_check_ = *checked != 0;
  std::vector<std::pair<Statement*, std::string>> wanted = {{&inputs_start_, kInputsStart},
                                                            {&inputs_, kInputs},
                                                            {&run_start_, kRunStart},
                                                            {&narrow_, kNarrowSequences},
                                                            {&template_, kTemplate}};
  for (const bool payload : {false, true}) {
    OutcomeStatements& statements = payload ? with_payload_ : plain_;
    wanted.emplace_back(&statements.completed, OutcomeQueryText(kCompleted, payload));
    wanted.emplace_back(&statements.unsuccessful, OutcomeQueryText(kUnsuccessful, payload));
    wanted.emplace_back(&statements.one, OutcomeQueryText(kOne, payload));
    wanted.emplace_back(&statements.in_order, OutcomeQueryText(kInOrder, payload));
  }
  for (auto& [statement, sql] : wanted) {
    absl::StatusOr<Statement> prepared = database_.Prepare(sql);
    if (!prepared.ok()) return AsDamage(prepared.status());
    *statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

absl::StatusOr<PackedBytes> SqliteReader::ReadInputs(InputSetId set, TaskRange range) {
  PackedBytes values;
  if (range.count == 0) return values;
  inputs_start_.Bind(set.value(), Clamp(range.first));
  const TaskIndex start = inputs_start_.Next() ? inputs_start_.Unsigned(0) : range.first;
  if (!inputs_start_.status().ok()) return inputs_start_.status();
  inputs_start_.Reset();

  inputs_.Bind(set.value(), Clamp(start));
  const ScopedReset reset(inputs_);
  TaskIndex next = range.first;
  while (next < EndOf(range) && inputs_.Next()) {
    const TaskRange row{inputs_.Unsigned(0), inputs_.Unsigned(1)};
    if (row.first > next || row.end() <= next) break;
    absl::Status checked = CheckRow(inputs_, 5,
                                    CheckOfInputs(set, row.first, row.count, inputs_.Unsigned32(2),
                                                  inputs_.Bytes(3), inputs_.Bytes(4)),
                                    "inputs", inputs_.Unsigned(6), must_have_check_);
    if (!checked.ok()) return checked;
    absl::StatusOr<PackedBytes> chunk =
        DecodePacked(row.count, inputs_.Unsigned32(2), inputs_.Bytes(3), inputs_.Bytes(4));
    if (!chunk.ok()) return chunk.status();
    const std::uint64_t count = std::min(row.end(), EndOf(range)) - next;
    PackedBytes part = chunk->Slice(next - row.first, count);
    if (values.byte_count() + part.byte_count() > std::numeric_limits<std::uint32_t>::max()) {
      return absl::OutOfRangeError("inputs of 4 GiB or more must be read in parts");
    }
    values.Append(part);
    next += count;
  }
  if (!inputs_.status().ok()) return inputs_.status();
  if (next < EndOf(range)) {
    return absl::NotFoundError(absl::StrCat("no input of task ", next, " in set ", set.value()));
  }
  return values;
}

absl::StatusOr<OutcomePage> SqliteReader::ReadOutcomes(const OutcomeQuery& query) {
  return query.in_order ? ReadInOrder(query) : ReadCompleted(query);
}

absl::StatusOr<OutcomePage> SqliteReader::ReadCompleted(const OutcomeQuery& query) {
  if (query.only.count <= kNarrow) return ReadNarrow(query);
  OutcomeStatements& statements = query.with_payload ? with_payload_ : plain_;
  Statement& rows = query.unsuccessful_only ? statements.unsuccessful : statements.completed;
  rows.Bind(query.job.value(), Clamp(query.cursor));
  const ScopedReset reset(rows);
  PageBuilder page(query);
  while (rows.Next() && page.MayLook()) {
    const absl::StatusOr<bool> went_on = AddCompleted(query, rows, must_have_check_, page);
    if (!went_on.ok()) return went_on.status();
    if (!*went_on) break;
  }
  if (!rows.status().ok()) return rows.status();
  return std::move(page).Finish();
}

absl::StatusOr<OutcomePage> SqliteReader::ReadNarrow(const OutcomeQuery& query) {
  const absl::StatusOr<TaskIndex> start = StartOfRun(query.job, query.only.first);
  if (!start.ok()) return start.status();
  narrow_.Bind(query.job.value(), Clamp(*start), Clamp(EndOf(query.only)), Clamp(query.cursor));
  const ScopedReset reset(narrow_);
  Statement& row = query.with_payload ? with_payload_.one : plain_.one;
  PageBuilder page(query);
  while (narrow_.Next() && page.MayLook()) {
    const std::uint64_t sequence = narrow_.Unsigned(0);
    row.Bind(sequence);
    const ScopedReset reset_row(row);
    if (!row.Next()) {
      return row.status().ok() ? DamagedRow("outcomes", sequence, "is not there") : row.status();
    }
    const absl::StatusOr<bool> went_on = AddCompleted(query, row, must_have_check_, page);
    if (!went_on.ok()) return went_on.status();
    if (!*went_on) break;
  }
  if (!narrow_.status().ok()) return narrow_.status();
  return std::move(page).Finish();
}

absl::StatusOr<OutcomePage> SqliteReader::ReadInOrder(const OutcomeQuery& query) {
  const TaskIndex from = std::max(query.cursor, query.only.first);
  const absl::StatusOr<TaskIndex> start = StartOfRun(query.job, from);
  if (!start.ok()) return start.status();
  Statement& rows = query.with_payload ? with_payload_.in_order : plain_.in_order;
  rows.Bind(query.job.value(), Clamp(*start), Clamp(EndOf(query.only)));
  const ScopedReset reset(rows);
  PageBuilder page(query);
  TaskIndex next = from;
  while (rows.Next()) {
    const absl::StatusOr<OutcomeHead> head = ReadHead(rows);
    if (!head.ok()) return head.status();
    if (head->tasks.first > next) break;  // a gap: what stands there has not ended
    if (!page.MayLook()) break;
    const absl::StatusOr<bool> went_on = AddRow(query, *head, rows, must_have_check_, page);
    if (!went_on.ok()) return went_on.status();
    if (!*went_on) break;
    next = head->tasks.end();
    page.MoveCursor(next);
  }
  if (!rows.status().ok()) return rows.status();
  return std::move(page).Finish();
}

absl::StatusOr<TaskIndex> SqliteReader::StartOfRun(JobId job, TaskIndex task) {
  run_start_.Bind(job.value(), Clamp(task));
  const ScopedReset reset(run_start_);
  TaskIndex start = task;
  if (run_start_.Next()) {
    const TaskRange run{run_start_.Unsigned(0), run_start_.Unsigned(1)};
    if (absl::Status sound = CheckRun(run); !sound.ok()) return sound;
    if (run.end() > task) start = run.first;
  }
  if (!run_start_.status().ok()) return run_start_.status();
  return start;
}

absl::StatusOr<std::string> SqliteReader::ReadTemplate(JobId job) {
  template_.Bind(job.value());
  const ScopedReset reset(template_);
  if (template_.Next()) {
    const bool as_written = template_.IsNull(1) || SplitCheck::Unpack(template_.Signed(1)).rest ==
                                                       CheckOfTemplate(job, template_.Bytes(0));
    if (!as_written) return DamagedRow("jobs", job.value(), "has not the template it had");
    return template_.Text(0);
  }
  if (!template_.status().ok()) return template_.status();
  return absl::NotFoundError(absl::StrCat("no job ", job.value()));
}

absl::StatusOr<std::string> SqliteReader::ExplainQueries() {
  std::string plans;
  std::vector<std::string> queries = {kInputsStart, kInputs, kRunStart, kNarrowSequences,
                                      kTemplate};
  for (const char* rest : {kCompleted, kUnsuccessful, kOne, kInOrder}) {
    queries.push_back(OutcomeQueryText(rest, true));
  }
  for (const std::string& query : queries) {
    absl::StatusOr<Statement> plan = database_.Prepare(absl::StrCat("EXPLAIN QUERY PLAN ", query));
    if (!plan.ok()) return plan.status();
    while (plan->Next()) absl::StrAppend(&plans, plan->Text(3), "\n");
    if (!plan->status().ok()) return plan->status();
  }
  return plans;
}

}  // namespace haul::coordinator
