#include "cli/task_printer.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/format.h"
#include "cli/status.h"

namespace haul::cli {
namespace {

using client::Outcome;
using client::Status;

constexpr std::size_t kFailuresNamed = 10;

// What the JSON object of a task says of its result: a number or a boolean as such, a str as it is,
// everything else in its text form.
void SetResult(Json& object, const FunctionType& type, const std::string& text) {
  switch (type.kind) {
    case FunctionType::Kind::kBool:
    case FunctionType::Kind::kSigned:
    case FunctionType::Kind::kUnsigned:
    case FunctionType::Kind::kFloat: {
      // inf and nan have no number in JSON; they stay text.
      Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      object["result"] = value.is_discarded() ? Json(text) : std::move(value);
      return;
    }
    case FunctionType::Kind::kVoid:
    case FunctionType::Kind::kString:
    case FunctionType::Kind::kBytes:
    case FunctionType::Kind::kVector:
    case FunctionType::Kind::kOptional:
    case FunctionType::Kind::kTuple:
    case FunctionType::Kind::kOther:
      SetBytes(object, "result", text);
      return;
  }
}

}  // namespace

TaskPrinter::TaskPrinter(Client& client, client::JobId job, const client::JobSpec& spec,
                         PrintOptions options)
    : client_(client), job_(job), options_(std::move(options)) {
  const auto* function = std::get_if<client::FunctionCall>(&spec.work);
  if (function == nullptr) return;
  function_ = function->name;
  absl::StatusOr<FunctionSignature> signature = ParseFunctionSignature(function->signature);
  if (signature.ok()) signature_ = *std::move(signature);
}

Status TaskPrinter::Print(const Outcome& outcome, std::stop_token stop) {
  if (outcome.state != client::TaskState::kSucceeded) NoteFailure(outcome);
  const bool nothing_returned = !function_.empty() &&
                                outcome.state == client::TaskState::kSucceeded && signature_ &&
                                signature_->result.kind == FunctionType::Kind::kVoid;
  if (nothing_returned && options_.selector.strides.empty()) {
    if (options_.json) PrintJson(ToJson(job_, outcome, outcome.first, outcome.count));
    return Status();
  }
  for (std::uint64_t task = outcome.first; task < outcome.first + outcome.count; ++task) {
    if (!options_.selector.Contains(task)) continue;
    if (Status printed = PrintTask(outcome, task, stop); !printed.ok()) return printed;
  }
  return Status();
}

Status TaskPrinter::PrintTask(const Outcome& outcome, std::uint64_t task, std::stop_token stop) {
  return options_.json ? PrintTaskJson(outcome, task, stop) : PrintText(outcome, task, stop);
}

Status TaskPrinter::PrintTaskJson(const Outcome& outcome, std::uint64_t task,
                                  std::stop_token stop) {
  Json object = ToJson(job_, outcome, task, 1);
  if (!outcome.output_file.empty()) {
    object["output_file"] = outcome.output_file;
    object["output_bytes"] = outcome.output_bytes;
  }
  if (!outcome.error_file.empty()) {
    object["error_file"] = outcome.error_file;
    object["error_bytes"] = outcome.error_bytes;
  }
  if (function_.empty()) {
    if (outcome.output_file.empty())
      SetBytes(object, "stdout", outcome.results[task - outcome.first]);
    if (outcome.error_file.empty()) SetBytes(object, "stderr", outcome.error_output);
  } else if (outcome.state == client::TaskState::kSucceeded && outcome.output_file.empty()) {
    const client::Result<std::string> bytes = ResultBytes(outcome, task, stop);
    if (!bytes.ok()) return bytes.status();
    absl::StatusOr<std::string> text = signature_
                                           ? ResultText(function_, *signature_, *bytes)
                                           : absl::InvalidArgumentError("the signature is unknown");
    if (text.ok()) {
      SetResult(object, signature_->result, *text);
    } else {
      SetBytes(object, "result_bytes", *bytes);
    }
  }
  PrintJson(object);
  return Status();
}

Status TaskPrinter::PrintText(const Outcome& outcome, std::uint64_t task, std::stop_token stop) {
  if (function_.empty()) {
    if (outcome.output_file.empty()) {
      WriteOutput(outcome.results[task - outcome.first]);
    } else if (Status copied = Copy(outcome.output_file, stdout, stop); !copied.ok()) {
      return copied;
    }
    if (!options_.with_stderr) return Status();
    if (!outcome.error_file.empty()) return Copy(outcome.error_file, stderr, stop);
    const std::string_view errors = outcome.error_output;
    const bool written = std::fwrite(errors.data(), 1, errors.size(), stderr) == errors.size();
    return written ? Status() : FlushOutput(stderr);
  }
  if (outcome.state != client::TaskState::kSucceeded) return Status();
  const bool as_it_is = !signature_;
  if (as_it_is && !outcome.output_file.empty()) {
    Status copied = Copy(outcome.output_file, stdout, stop);
    WriteOutput("\n");
    return copied;
  }
  const client::Result<std::string> bytes = ResultBytes(outcome, task, stop);
  if (!bytes.ok()) return bytes.status();
  const absl::StatusOr<std::string> text =
      as_it_is ? *bytes : ResultText(function_, *signature_, *bytes);
  // What has no text form is written as it is, too.
  WriteOutput(text.ok() ? *text : *bytes);
  WriteOutput("\n");
  return Status();
}

void TaskPrinter::WriteOutput(std::string_view bytes) {
  if (bytes.empty()) return;
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  is_within_line_ = bytes.back() != '\n';
}

Status TaskPrinter::Copy(const std::string& file, FILE* to, std::stop_token stop) {
  Status fetched = client_.FetchOutput(
      job_, file,
      [this, to](std::string_view piece) {
        if (to == stdout) {
          WriteOutput(piece);
        } else {
          std::fwrite(piece.data(), 1, piece.size(), to);
        }
        return std::ferror(to) == 0;
      },
      0, std::move(stop));
  // A failed write stops the fetch as Ctrl-C does, but it is none.
  return std::ferror(to) == 0 ? fetched : FlushOutput(to);
}

client::Result<std::string> TaskPrinter::ResultBytes(const Outcome& outcome, std::uint64_t task,
                                                     std::stop_token stop) {
  if (outcome.output_file.empty()) return std::string(outcome.results[task - outcome.first]);
  std::string bytes;
  Status fetched = client_.FetchOutput(
      job_, outcome.output_file,
      [&bytes](std::string_view piece) {
        bytes += piece;
        return true;
      },
      0, std::move(stop));
  if (!fetched.ok()) return fetched;
  return bytes;
}

void TaskPrinter::NoteFailure(const Outcome& outcome) {
  unsuccessful_count_ += outcome.count;
  if (first_failures_.size() >= kFailuresNamed) return;
  std::string line = outcome.count == 1 ? absl::StrCat("task ", outcome.first)
                                        : absl::StrCat("tasks ", outcome.first, "-",
                                                       outcome.first + outcome.count - 1);
  absl::StrAppend(&line, outcome.state == client::TaskState::kFailed ? " failed: " : ": ",
                  DescribeFailure(outcome));
  if (!outcome.worker_name.empty()) {
    absl::StrAppend(&line, " (worker ", Printable(outcome.worker_name), ", attempt ",
                    outcome.attempt, ")");
  }
  first_failures_.push_back(std::move(line));
}

void TaskPrinter::PrintFailures() const {
  for (const std::string& line : first_failures_) std::fprintf(stderr, "haul: %s\n", line.c_str());
  if (first_failures_.size() < unsuccessful_count_ && first_failures_.size() == kFailuresNamed) {
    std::fprintf(
        stderr,
        "haul: … %llu tasks did not succeed; `haul job tasks %llu --task failed` names all\n",
        static_cast<unsigned long long>(unsuccessful_count_),
        static_cast<unsigned long long>(job_.value));
  }
}

}  // namespace haul::cli
