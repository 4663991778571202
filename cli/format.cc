#include "cli/format.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/absl_view.h"
#include "common/units.h"

namespace haul::cli {
namespace {

// The length of the UTF-8 sequence at the start of `bytes`, 0 when there is none: neither overlong
// forms, surrogates nor what lies beyond U+10FFFF count.
std::size_t Utf8Length(std::string_view bytes) {
  const auto byte = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
      (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return length;
}

// Columns on a terminal; good for what has one column a code point.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool IsNumber(std::string_view text) {
  return !text.empty() &&
         (text == "-" || text.find_first_not_of("0123456789.,%") == std::string_view::npos);
}

Json CpusJson(std::uint64_t cpus_milli) { return static_cast<double>(cpus_milli) / 1000; }

void SetWork(Json& object, const client::JobStatus& job) {
  const auto* function = std::get_if<client::FunctionCall>(&job.spec.work);
  object["kind"] = function == nullptr ? "command" : "function";
  SetBytes(object, "description", job.description);
  if (function == nullptr) return;
  SetBytes(object, "function", function->name);
  SetBytes(object, "signature", function->signature);
}

}  // namespace

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = Utf8Length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

void SetBytes(Json& object, const std::string& key, std::string_view bytes) {
  if (IsUtf8(bytes)) {
    object[key] = bytes;
  } else {
    object[key + "_base64"] = absl::Base64Escape(AbslView(bytes));
  }
}

Json TimeOrNull(std::int64_t unix_us) {
  if (unix_us == 0) return nullptr;
  return FormatRfc3339(unix_us);
}

Json ToJson(const client::JobStatus& job) {
  Json object;
  object["object"] = "job";
  object["job"] = job.id.value;
  SetBytes(object, "name", job.spec.name);
  object["state"] = client::Name(job.state);
  SetWork(object, job);
  object["tasks"] = job.task_count;
  object["succeeded"] = job.succeeded;
  object["failed"] = job.failed;
  object["cancelled"] = job.cancelled;
  object["lost"] = job.lost;
  object["assigned"] = job.assigned;
  object["ready"] = job.ready;
  object["retried"] = job.retried;
  SetBytes(object, "owner", job.owner);
  object["priority"] = job.spec.priority;
  object["max_running"] = job.spec.max_running;
  object["cpus"] = CpusJson(job.spec.cpus_milli);
  object["max_attempts"] = job.spec.max_attempts;
  object["open"] = job.spec.open;
  object["at_most_once"] = job.spec.at_most_once;
  if (job.spec.parent.has_value()) {
    object["parent"] = {{"job", job.spec.parent->job.value}, {"task", job.spec.parent->task}};
  }
  object["volatile"] = job.spec.volatile_job;
  object["accepted"] = TimeOrNull(job.accepted_unix_us);
  object["ended"] = TimeOrNull(job.ended_unix_us);
  SetBytes(object, "waiting_reason", job.waiting_reason);
  if (!job.progress.empty()) {
    Json& progress = object["progress"] = Json::array();
    for (const client::RunningTask& running : job.progress) {
      progress.push_back({{"task", running.task},
                          {"done", running.permille / 1000.0},
                          {"worker", running.worker_id}});
    }
  }
  object["cancel_requested"] = job.cancel_requested;
  return object;
}

Json ToJson(const client::WorkerStatus& worker) {
  Json object;
  object["object"] = "worker";
  object["worker"] = worker.id;
  SetBytes(object, "name", worker.name);
  SetBytes(object, "host", worker.host);
  object["pid"] = worker.pid;
  object["state"] = client::Name(worker.state);
  SetBytes(object, "version", worker.version);
  object["cpus"] = CpusJson(worker.cpus_milli);
  object["cpus_reserved"] = CpusJson(worker.cpus_milli_reserved);
  object["processes"] = worker.processes;
  object["threads"] = worker.threads;
  object["tasks_assigned"] = worker.tasks_assigned;
  object["tasks_ended"] = worker.tasks_ended;
  object["joined"] = TimeOrNull(worker.joined_unix_us);
  object["last_heard"] = TimeOrNull(worker.last_heard_unix_us);
  Json functions = Json::array();
  for (const client::FunctionInfo& function : worker.functions) {
    Json& item = functions.emplace_back(Json::object());
    SetBytes(item, "name", function.name);
    SetBytes(item, "signature", function.signature);
    SetBytes(item, "library", function.library);
  }
  object["functions"] = std::move(functions);
  Json assignments = Json::array();
  for (const client::WorkerAssignment& assignment : worker.assignments) {
    assignments.push_back({{"assignment", assignment.assignment_id},
                           {"job", assignment.job.value},
                           {"first", assignment.first},
                           {"remaining", assignment.remaining},
                           {"width", assignment.width}});
  }
  object["assignments"] = std::move(assignments);
  return object;
}

Json ToJson(const client::FunctionInfo& function) {
  Json object;
  object["object"] = "function";
  SetBytes(object, "name", function.name);
  SetBytes(object, "signature", function.signature);
  SetBytes(object, "library", function.library);
  object["workers"] = function.workers;
  return object;
}

Json ToJson(const client::CoordinatorInfo& info) {
  Json object;
  object["object"] = "coordinator";
  object["version"] = info.version;
  object["address"] = info.address;
  object["pid"] = info.pid;
  SetBytes(object, "data_directory", info.data_directory);
  object["epoch"] = info.epoch;
  object["started"] = TimeOrNull(info.started_unix_us);
  object["jobs_active"] = info.jobs_active;
  object["jobs_ended"] = info.jobs_ended;
  object["workers_connected"] = info.workers_connected;
  object["cpus"] = CpusJson(info.cpus_milli);
  object["tasks_ready"] = info.tasks_ready;
  object["tasks_assigned"] = info.tasks_assigned;
  object["resident_bytes"] = info.resident_bytes;
  object["adopting"] = info.adopting;
  return object;
}

Json ToJson(client::JobId job, const client::Outcome& outcome, std::uint64_t first,
            std::uint64_t count) {
  Json object;
  object["object"] = "tasks";
  object["job"] = job.value;
  object["first"] = first;
  object["count"] = count;
  object["status"] = client::Name(outcome.state);
  object["cause"] = client::Name(outcome.cause);
  object["code"] = outcome.code;
  SetBytes(object, "message", outcome.message);
  object["worker"] = outcome.worker_id;
  SetBytes(object, "worker_name", outcome.worker_name);
  SetBytes(object, "host", outcome.host);
  object["pid"] = outcome.pid;
  object["attempt"] = outcome.attempt;
  object["fencing_token"] = outcome.fencing_token;
  object["queued"] = TimeOrNull(outcome.queued_unix_us);
  object["started"] = TimeOrNull(outcome.started_unix_us);
  object["finished"] = TimeOrNull(outcome.finished_unix_us);
  object["busy_ns"] = outcome.busy_ns;
  object["user_cpu_us"] = outcome.user_cpu_us;
  object["system_cpu_us"] = outcome.system_cpu_us;
  object["peak_memory_bytes"] = outcome.peak_memory_bytes;
  return object;
}

void PrintJson(const Json& object) {
  const std::string line = object.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  std::fwrite(line.data(), 1, line.size(), stdout);
}

std::string DescribeFailure(const client::Outcome& outcome) {
  const auto with_message = [&outcome](const std::string& text) {
    return outcome.message.empty() ? text : absl::StrCat(text, ": ", Printable(outcome.message));
  };
  switch (outcome.cause) {
    case client::FailureCause::kNone:
      return outcome.state == client::TaskState::kSucceeded
                 ? ""
                 : with_message(std::string(client::Name(outcome.state)));
    case client::FailureCause::kExitCode:
      return absl::StrCat("exit code ", outcome.code);
    case client::FailureCause::kSignal:
      return with_message(
          absl::StrCat("signal ", outcome.code, " (", strsignal(outcome.code), ")"));
    case client::FailureCause::kTimeout:
      return "timeout";
    case client::FailureCause::kMemoryLimit:
      return with_message("memory limit");
    case client::FailureCause::kOutputLimit:
      return with_message("output limit");
    case client::FailureCause::kWorkerLost:
      return with_message("worker lost");
    case client::FailureCause::kCancelled:
      return outcome.message.empty() ? "cancelled"
                                     : absl::StrCat("cancelled by ", Printable(outcome.message));
    case client::FailureCause::kFunctionError:
      return with_message("function error");
    case client::FailureCause::kStartFailed:
      return with_message("could not be started");
    case client::FailureCause::kExecutorExit:
      return absl::StrCat("the function ended its process with exit code ", outcome.code);
    case client::FailureCause::kProcessLimit:
      return with_message("process limit");
  }
  return with_message("failed");
}

std::string Shorten(const std::string& text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return Printable(text);
  std::size_t end = most_bytes;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;
  return Printable(text.substr(0, end)) + "…";
}

std::string DescribeCounts(const client::JobStatus& job) {
  std::string text = absl::StrCat(job.task_count, job.task_count == 1 ? " task" : " tasks", ": ",
                                  job.succeeded, " succeeded");
  if (job.failed > 0) absl::StrAppend(&text, ", ", job.failed, " failed");
  if (job.cancelled > 0) absl::StrAppend(&text, ", ", job.cancelled, " cancelled");
  if (job.lost > 0) absl::StrAppend(&text, ", ", job.lost, " lost");
  const std::uint64_t open = job.task_count - std::min(job.done(), job.task_count);
  if (open > 0) absl::StrAppend(&text, ", ", open, " to do");
  return text;
}

std::string Printable(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::size_t length = Utf8Length(bytes);
    const auto lead = static_cast<unsigned char>(bytes[0]);
    if (length == 0 || (length == 1 && (lead < 0x20 || lead == 0x7F))) {
      text += lead == '\n' || lead == '\t' ? ' ' : '?';
    } else if (length == 2 && lead == 0xC2 && static_cast<unsigned char>(bytes[1]) < 0xA0) {
      text += '?';  // the other control characters, U+0080 to U+009F
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text;
}

std::string LocalTime(std::int64_t unix_us) {
  if (unix_us == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMicros(unix_us),
                          absl::LocalTimeZone());
}

std::string Table::ToString() const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  std::vector<bool> numeric(widths.size(), rows_.size() > 1);
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    for (std::size_t column = 0; column < widths.size(); ++column) {
      widths[column] = std::max(widths[column], Width(rows_[row][column]));
      if (row > 0 && !IsNumber(rows_[row][column])) numeric[column] = false;
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    for (std::size_t column = 0; column < widths.size(); ++column) {
      const std::string padding(widths[column] - Width(row[column]), ' ');
      if (column > 0) text += "  ";
      text += numeric[column] ? padding + row[column] : row[column] + padding;
    }
    text.resize(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

void Table::Print() const {
  const std::string text = ToString();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace haul::cli
