// Outputs and results that are too large for the database: files below outputs/ in the data
// directory, named by job, assignment and task. An outcome holds the reference, a path relative to
// outputs/.
//
// A file is complete and durable from the moment its reference is given out. Files that the outcome
// of their task does not refer to are garbage, collected at a start once the task has ended.
//
// Threads: belongs to one thread, its writers too; Read and Parse may be called on any. Writers
// must not outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "coordinator/store/store.h"

namespace haul::coordinator {

enum class OutputStream : std::uint8_t { kOutput = 1, kError = 2 };

struct OutputName {
  JobId job;
  AssignmentId assignment;
  TaskIndex task = 0;
  OutputStream stream = OutputStream::kOutput;

  // "<job>/<assignment>-<task>.out" or ".err".
  std::string Reference() const;
  // Accepts what Reference gives and nothing else; INVALID_ARGUMENT.
  static absl::StatusOr<OutputName> Parse(std::string_view reference);
  friend bool operator==(const OutputName&, const OutputName&) = default;
};

class OutputFiles {
 public:
  static constexpr std::size_t kPieceLimitBytes = 1 << 20;
  static constexpr std::uint64_t kDefaultFileLimitBytes = 1 << 30;

  class Writer {
   public:
    ~Writer();  // aborts what was not finished
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // RESOURCE_EXHAUSTED past the limit of a file or of the disk. After an error only Abort is
    // left.
    absl::Status Append(std::string_view piece);
    // Makes it durable under its name, and gives the reference. If an earlier upload of the same
    // output got there first, that one stays: the same reference, ALREADY_EXISTS if its size
    // differs.
    absl::StatusOr<std::string> Finish();
    void Abort();
    std::uint64_t bytes() const { return bytes_; }

   private:
    friend class OutputFiles;
    Writer(OutputFiles& files, OutputName name, std::string path, int fd);
    absl::Status Publish();

    OutputFiles& files_;
    const OutputName name_;
    const std::string path_;  // the temporary one
    int fd_;                  // -1 once finished or aborted
    std::uint64_t bytes_ = 0;
    absl::Status status_;
  };

  static absl::StatusOr<std::unique_ptr<OutputFiles>> Open(
      const std::string& data_dir, std::uint64_t file_limit_bytes = kDefaultFileLimitBytes);

  absl::StatusOr<std::unique_ptr<Writer>> NewWriter(const OutputName& name);
  // Up to `length` bytes (a piece at most) from `offset`; empty at the end. NOT_FOUND.
  absl::StatusOr<std::string> Read(std::string_view reference, std::uint64_t offset,
                                   std::size_t length) const;
  std::uint64_t file_limit_bytes() const { return file_limit_bytes_; }
  // All outputs of a job; OK if there are none.
  absl::Status RemoveJob(JobId job);

  struct Garbage {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  // At start, before there are writers: removes temporary files and those that are not needed.
  // Files that Haul did not name are left alone.
  using IsNeeded = absl::FunctionRef<absl::StatusOr<bool>(const OutputName&)>;
  absl::StatusOr<Garbage> CollectGarbage(IsNeeded is_needed);

 private:
  OutputFiles(std::string root, std::uint64_t file_limit_bytes)
      : root_(std::move(root)), file_limit_bytes_(file_limit_bytes) {}
  absl::Status MakeJobDirectory(JobId job);
  std::string JobPath(JobId job) const;
  absl::Status CollectJob(JobId job, IsNeeded is_needed, Garbage& garbage);

  const std::string root_;
  const std::uint64_t file_limit_bytes_;
  std::uint64_t last_temporary_ = 0;
  JobId durable_job_;  // whose directory was synced last, so that most uploads need not
};

// Whether the recorded outcome of that task refers to that output.
absl::StatusOr<bool> RefersTo(StoreReader& reader, const OutputName& name);

}  // namespace haul::coordinator
