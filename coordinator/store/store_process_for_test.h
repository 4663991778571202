// A coordinator's store and output files as one process after another has them, on a disk that
// costs tests no time.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "coordinator/store/disk_model_for_test.h"
#include "coordinator/store/output_files.h"
#include "coordinator/store/power_cut_workload_for_test.h"
#include "coordinator/store/sqlite_store.h"
#include "gtest/gtest.h"

namespace haul::coordinator {

// In memory where that is possible: the real syncs of thousands of starts would only take time.
class MemoryDisk {
 public:
  MemoryDisk() {
    const bool in_memory = ::access("/dev/shm", W_OK) == 0;
    path_ = in_memory ? "/dev/shm/haul-power-cut-XXXXXX"
                      : (std::filesystem::temp_directory_path() / "haul-power-cut-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no directory: " << path_;
  }
  ~MemoryDisk() { std::filesystem::remove_all(path_); }
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;
  const std::string& path() const { return path_; }
  std::string data_dir() const { return path_ + "/data"; }

 private:
  std::string path_;
};

// The stores of one process after another over a directory.
class Process {
 public:
  explicit Process(std::string data_dir) : data_dir_(std::move(data_dir)) {}

  absl::Status Start() {
    store_.reset();
    auto store = SqliteStore::Open(data_dir_, kSmallLog);
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    auto recovered = store_->Recover();
    if (!recovered.ok()) return recovered.status();
    recovered_ = *std::move(recovered);
    auto files = OutputFiles::Open(data_dir_);
    if (!files.ok()) return files.status();
    files_ = *std::move(files);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> DumpAll() {
    auto reader = store_->NewReader();
    if (!reader.ok()) return reader.status();
    // What a coordinator does at its start; it must take only what nobody refers to.
    const auto garbage = files_->CollectGarbage(
        [&](const OutputName& name) -> absl::StatusOr<bool> { return RefersTo(**reader, name); });
    if (!garbage.ok()) return garbage.status();
    return Dump(recovered_, **reader, files_.get());
  }
  void Stop() { store_.reset(); }
  const Recovered& recovered() const { return recovered_; }
  SqliteStore& store() { return *store_; }
  OutputFiles& files() { return *files_; }
  std::uint64_t epoch() const { return recovered_.epoch; }

 private:
  const std::string data_dir_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<OutputFiles> files_;
  Recovered recovered_;
};

inline absl::Status RunStep(const WorkloadStep& step, Process& process) {
  for (const OutputName& name : step.outputs) {
    if (absl::Status written = WriteOutput(process.files(), name); !written.ok()) return written;
  }
  return process.store().Commit(step.writes);
}

// What is in a directory now; the lock and SQLite's shared memory mean nothing after a restart.
inline DiskImage ImageOf(const std::string& root) {
  DiskImage image;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string path = std::filesystem::relative(entry.path(), root).string();
    if (entry.is_directory()) {
      image.directories.push_back(path);
    } else if (path != "data/lock" && !path.ends_with("-shm")) {
      std::ifstream file(entry.path(), std::ios::binary);
      image.files[path] = {std::istreambuf_iterator<char>(file), {}};
    }
  }
  return image;
}

}  // namespace haul::coordinator
