// The coordinator's data directory: made if it is missing, and held by one process at a time.
//
// The hold ends with the object, or with the process, however that ends. One thread at a time.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace haul::coordinator {

// Where large outputs are.
inline constexpr char kOutputsName[] = "outputs";

class DataDirectory {
 public:
  // FAILED_PRECONDITION, naming the directory and the holder's pid, where another process holds it.
  static absl::StatusOr<std::unique_ptr<DataDirectory>> Hold(const std::string& path);
  ~DataDirectory();
  DataDirectory(const DataDirectory&) = delete;
  DataDirectory& operator=(const DataDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  DataDirectory(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;
  const int lock_fd_;
};

// Makes names in a directory durable: what was created, renamed or removed there.
absl::Status SyncDirectory(const std::string& path);

// A status that says what was tried, on what, and what errno says of it.
absl::Status ErrnoStatus(int error, const char* what, const std::string& path);

// DATA_LOSS with what can be done about it; any other status as it is.
absl::Status WithAdvice(const absl::Status& status, const std::string& data_dir);

}  // namespace haul::coordinator
