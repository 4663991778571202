// How Haul shows things: the JSON objects of docs/cli.md, tables, and sentences for people. Pure
// functions but for the writing ones; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "haul/client.h"

namespace haul::cli {

using Json = nlohmann::ordered_json;

bool IsUtf8(std::string_view bytes);
// Sets object[key], or, where `bytes` are no UTF-8, object[key + "_base64"] in the base64 of RFC
// 4648.
void SetBytes(Json& object, const std::string& key, std::string_view bytes);
// RFC 3339 in UTC, or null where it is 0.
Json TimeOrNull(std::int64_t unix_us);

Json ToJson(const client::JobStatus& job);
Json ToJson(const client::WorkerStatus& worker);
Json ToJson(const client::FunctionInfo& function);
Json ToJson(const client::CoordinatorInfo& info);
// How the tasks [first, first + count) of an outcome ended, without what they wrote.
Json ToJson(client::JobId job, const client::Outcome& outcome, std::uint64_t first,
            std::uint64_t count);
// Writes one object on one line to stdout.
void PrintJson(const Json& object);

// Why it did not succeed: "exit code 3", "signal 11 (Segmentation fault)", "function error: …"; ""
// if it did.
std::string DescribeFailure(const client::Outcome& outcome);
// At most `most_bytes` of a text on one line, cut between characters, with "…" where something is
// missing.
std::string Shorten(const std::string& text, std::size_t most_bytes);
// "7 tasks: 5 succeeded, 2 failed".
std::string DescribeCounts(const client::JobStatus& job);
// What may be shown on a terminal: no control characters, "?" for what is no UTF-8.
std::string Printable(std::string_view bytes);
// For tables: local date and time to the second, or "-".
std::string LocalTime(std::int64_t unix_us);

// Rows with aligned columns, two spaces apart; numbers are right-aligned.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string ToString() const;
  void Print() const;  // to stdout

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace haul::cli
