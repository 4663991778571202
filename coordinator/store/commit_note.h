// How many commits the database has acknowledged, in a file beside it: one line, written over in
// place after each commit and before anybody hears of it.
//
// A log that was cut off, damaged or removed looks to SQLite like one that had not got further:
// what it held would be gone without a word. The line costs no sync: after a power cut it may be an
// older one or none, and never says more than was acknowledged. That the file is there at all says
// that there was a database, with tables, before it.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul::coordinator {

class CommitNote {
 public:
  // Beside the database: "haul.db-commits".
  static std::string PathOf(const std::string& database_path);

  struct Content {
    bool exists = false;
    std::optional<std::uint64_t> commits;  // none where the line cannot be relied on
  };
  static absl::StatusOr<Content> Read(const std::string& database_path);

  // Makes it if it is missing, and durable: the database must have its tables by then.
  static absl::StatusOr<std::unique_ptr<CommitNote>> Open(const std::string& database_path);
  ~CommitNote();
  CommitNote(const CommitNote&) = delete;
  CommitNote& operator=(const CommitNote&) = delete;

  void Write(std::uint64_t commits);

 private:
  explicit CommitNote(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace haul::coordinator
