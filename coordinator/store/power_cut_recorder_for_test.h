// Records what this process does to the files below one directory, as operations of a DiskModel:
//
// - SQLite's files through a VFS that passes everything on to the one of the system and notes each
//   write, truncation, sync and deletion (power_cut_vfs_for_test.cc);
// - the store's own calls (mkdir, open, write, fsync, rename, unlink), which the linker wraps in
//   the program that asks for it (wrapped_calls_for_test.cc, and --wrap in CMakeLists.txt).
//
// The lock and SQLite's shared memory mean nothing after a restart and are left out.
//
// One recorder at a time, used by one thread; SQLite connections are opened and closed within its
// life.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "coordinator/store/disk_model_for_test.h"

namespace haul::coordinator {

class PowerCutRecorder {
 public:
  // Syncs of which nothing is noted, so that what they should have made durable is lost: for
  // proving that a test notices.
  using IgnoredSync = std::function<bool(const DiskOperation&)>;

  explicit PowerCutRecorder(std::string root, IgnoredSync ignored = nullptr);
  ~PowerCutRecorder();
  PowerCutRecorder(const PowerCutRecorder&) = delete;
  PowerCutRecorder& operator=(const PowerCutRecorder&) = delete;

  static PowerCutRecorder* current();

  const std::vector<DiskOperation>& operations() const { return operations_; }

  // By absolute path; what is not below the root is not noted.
  void Note(DiskOperation::Kind kind, const std::string& path, std::uint64_t offset = 0,
            std::string_view bytes = {});
  void NoteRename(const std::string& from, const std::string& to);

 private:
  bool IsWatched(const std::string& path) const;
  std::string Relative(const std::string& path) const;

  const std::string root_;
  const IgnoredSync ignored_;
  std::vector<DiskOperation> operations_;
};

// Of power_cut_vfs_for_test.cc: the default VFS from here on, and no longer.
void InstallPowerCutVfs();
// SQLite takes its randomness from here on from the seed.
void SeedPowerCutVfs(std::uint64_t seed);
void RemovePowerCutVfs();

}  // namespace haul::coordinator
