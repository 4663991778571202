// A disk as a crash of the machine finds it: what was synced, and what was only written. Tests of
// the store record what a process did (power_cut_recorder_for_test.h), cut the power after any of
// it, and look at what can be left.
//
// Of files: the content at the last fsync, and the writes and truncations since. Of directories:
// the names at the last fsync of the directory, and the names made, moved and removed since.
// Syncing a file does not make its name durable.
//
// Plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace haul::coordinator {

// One thing that a process did to its files. Paths are relative to the directory that is watched;
// the directory itself is "".
struct DiskOperation {
  enum class Kind {
    kMakeFile,
    kMakeDirectory,
    kWrite,
    kTruncate,
    kSyncFile,
    kSyncDirectory,
    kRename,
    kRemove,
  };
  Kind kind = Kind::kWrite;
  std::string path;
  std::string to;            // kRename
  std::uint64_t offset = 0;  // kWrite; the new size for kTruncate
  std::string bytes;         // kWrite
};
std::string ToString(const DiskOperation& operation);

// What of the unsynced is left.
enum class Survival {
  kNothing,
  kEverything,
  // Any of it: later without earlier, and of a write any sectors, or some bytes of one. Where a
  // file grew and what it grew by is lost, there are zeros or garbage.
  kAnything,
};

// Files and directories that are left.
struct DiskImage {
  std::map<std::string, std::string> files;
  std::vector<std::string> directories;  // parents first
  // Writes it below `root`, which exists and is empty.
  void Materialise(const std::string& root) const;
};

class DiskModel {
 public:
  DiskModel() = default;
  // Everything in it is durable.
  explicit DiskModel(const DiskImage& image);

  void Apply(const DiskOperation& operation);
  DiskImage Cut(Survival survival, std::mt19937_64& random) const;

 private:
  static constexpr int kDirectory = -1;  // in place of a file's number
  static constexpr int kNone = -2;

  struct Change {
    bool truncates = false;
    std::uint64_t offset = 0;
    std::string bytes;
  };
  struct File {
    std::string durable;
    std::vector<Change> pending;
  };
  // A name that now means another file, or none. A rename is two that come together.
  struct NameChange {
    std::string path;
    int node = kNone;
    std::uint64_t group = 0;
  };
  using Names = std::map<std::string, int>;

  File& FileAt(const std::string& path);
  void ChangeName(const std::string& path, int node, std::uint64_t group);
  static void ApplyWhole(const Change& change, std::string& content);
  static std::string ContentAfterCut(const File& file, Survival survival, std::mt19937_64& random);
  Names NamesAfterCut(Survival survival, std::mt19937_64& random) const;

  std::vector<File> files_;
  Names live_;
  Names durable_;
  std::vector<NameChange> pending_names_;
  std::uint64_t last_group_ = 0;
};

// The directory that holds a path.
std::string ParentOf(const std::string& path);

}  // namespace haul::coordinator
