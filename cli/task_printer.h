// Prints what tasks wrote and returned: as bytes or text, or as JSON objects. A task's output is
// written in one piece, so that lines of different tasks never mix. One thread.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/function_text.h"
#include "common/units.h"
#include "haul/client.h"

namespace haul::cli {

struct PrintOptions {
  bool json = false;
  bool with_stderr = true;  // text only: what tasks wrote to stderr, to stderr
  Selector selector;        // other tasks are not printed
};

class TaskPrinter {
 public:
  // Borrows `client`. A function's signature that cannot be read leaves its results as bytes.
  TaskPrinter(Client& client, client::JobId job, const client::JobSpec& spec, PrintOptions options);

  // Fetches large outputs, piece by piece, as it goes. kStopped when `stop` was requested.
  client::Status Print(const client::Outcome& outcome, std::stop_token stop = {});

  std::uint64_t unsuccessful_count() const { return unsuccessful_count_; }
  // What was written to stdout last was no whole line.
  bool is_within_line() const { return is_within_line_; }
  // One line on stderr for each of the first ten tasks that did not succeed, and one for the rest.
  void PrintFailures() const;

 private:
  client::Status PrintTask(const client::Outcome& outcome, std::uint64_t task,
                           std::stop_token stop);
  client::Status PrintTaskJson(const client::Outcome& outcome, std::uint64_t task,
                               std::stop_token stop);
  client::Status PrintText(const client::Outcome& outcome, std::uint64_t task,
                           std::stop_token stop);
  client::Status Copy(const std::string& file, FILE* to, std::stop_token stop);
  // A function's result, wherever it is.
  client::Result<std::string> ResultBytes(const client::Outcome& outcome, std::uint64_t task,
                                          std::stop_token stop);
  void WriteOutput(std::string_view bytes);
  void NoteFailure(const client::Outcome& outcome);

  Client& client_;
  const client::JobId job_;
  const PrintOptions options_;
  std::string function_;  // empty: commands
  std::optional<FunctionSignature> signature_;
  std::uint64_t unsuccessful_count_ = 0;
  bool is_within_line_ = false;
  std::vector<std::string> first_failures_;
};

}  // namespace haul::cli
