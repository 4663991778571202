// The VFS of power_cut_recorder_for_test.h: SQLite's own for this system, with notes.
#include <sqlite3.h>
#include <unistd.h>

#include <random>
#include <string>

#include "common/check.h"
#include "coordinator/store/power_cut_recorder_for_test.h"

namespace haul::coordinator {
namespace {

using Kind = DiskOperation::Kind;
using OpenDirectoryCall = int (*)(const char*, int*);

sqlite3_vfs* system_vfs = nullptr;
sqlite3_vfs power_cut_vfs;
sqlite3_io_methods io_methods;
OpenDirectoryCall system_open_directory = nullptr;
bool directory_was_opened = false;

// SQLite's file for the system stands right behind this.
struct RecordedFile {
  sqlite3_file base;
  const char* path;  // SQLite keeps it until the file is closed
};

sqlite3_file* SystemFile(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<RecordedFile*>(file) + 1);
}
const char* PathOf(sqlite3_file* file) { return reinterpret_cast<RecordedFile*>(file)->path; }

void Note(Kind kind, const char* path, std::uint64_t offset = 0, std::string_view bytes = {}) {
  PowerCutRecorder* const recorder = PowerCutRecorder::current();
  if (recorder != nullptr && path != nullptr) recorder->Note(kind, path, offset, bytes);
}

// The system's VFS opens a directory for nothing but syncing it, while it syncs or deletes a file.
int OpenDirectory(const char* path, int* fd) {
  directory_was_opened = true;
  return system_open_directory(path, fd);
}
void NoteDirectorySync(const char* path) {
  if (directory_was_opened) Note(Kind::kSyncDirectory, ParentOf(path).c_str());
  directory_was_opened = false;
}

// ---- files ----

int Close(sqlite3_file* file) {
  const int code = SystemFile(file)->pMethods->xClose(SystemFile(file));
  file->pMethods = nullptr;
  return code;
}
int Read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
  return SystemFile(file)->pMethods->xRead(SystemFile(file), bytes, size, offset);
}
int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  Note(Kind::kWrite, PathOf(file), static_cast<std::uint64_t>(offset),
       {static_cast<const char*>(bytes), static_cast<std::size_t>(size)});
  return SystemFile(file)->pMethods->xWrite(SystemFile(file), bytes, size, offset);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  Note(Kind::kTruncate, PathOf(file), static_cast<std::uint64_t>(size));
  return SystemFile(file)->pMethods->xTruncate(SystemFile(file), size);
}
int Sync(sqlite3_file* file, int flags) {
  directory_was_opened = false;
  const int code = SystemFile(file)->pMethods->xSync(SystemFile(file), flags);
  Note(Kind::kSyncFile, PathOf(file));
  NoteDirectorySync(PathOf(file));
  return code;
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return SystemFile(file)->pMethods->xFileSize(SystemFile(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return SystemFile(file)->pMethods->xLock(SystemFile(file), level);
}
int Unlock(sqlite3_file* file, int level) {
  return SystemFile(file)->pMethods->xUnlock(SystemFile(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* held) {
  return SystemFile(file)->pMethods->xCheckReservedLock(SystemFile(file), held);
}
int FileControl(sqlite3_file* file, int operation, void* argument) {
  return SystemFile(file)->pMethods->xFileControl(SystemFile(file), operation, argument);
}
int SectorSize(sqlite3_file* file) {
  return SystemFile(file)->pMethods->xSectorSize(SystemFile(file));
}
int DeviceCharacteristics(sqlite3_file* file) {
  return SystemFile(file)->pMethods->xDeviceCharacteristics(SystemFile(file));
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** at) {
  return SystemFile(file)->pMethods->xShmMap(SystemFile(file), page, size, extend, at);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return SystemFile(file)->pMethods->xShmLock(SystemFile(file), offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) { SystemFile(file)->pMethods->xShmBarrier(SystemFile(file)); }
int ShmUnmap(sqlite3_file* file, int remove) {
  return SystemFile(file)->pMethods->xShmUnmap(SystemFile(file), remove);
}

// ---- names ----

int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* flags_out) {
  const bool is_new = path != nullptr && ::access(path, F_OK) != 0;
  auto* const recorded = reinterpret_cast<RecordedFile*>(file);
  recorded->path = path;
  recorded->base.pMethods = nullptr;
  const int code = system_vfs->xOpen(system_vfs, path, SystemFile(file), flags, flags_out);
  if (code != SQLITE_OK) return code;
  if (is_new) Note(Kind::kMakeFile, path);
  recorded->base.pMethods = &io_methods;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char* path, int sync_directory) {
  directory_was_opened = false;
  const int code = system_vfs->xDelete(system_vfs, path, sync_directory);
  if (code == SQLITE_OK) Note(Kind::kRemove, path);
  NoteDirectorySync(path);
  return code;
}

// The log's salts are random; a run is to be the same each time.
std::mt19937_64 randomness;
int Randomness(sqlite3_vfs*, int size, char* out) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(randomness());
  return size;
}

// Version 2 of the methods has shared memory and no memory-mapped reads.
void FillMethods() {
  io_methods = {};
  io_methods.iVersion = 2;
  io_methods.xClose = Close;
  io_methods.xRead = Read;
  io_methods.xWrite = Write;
  io_methods.xTruncate = Truncate;
  io_methods.xSync = Sync;
  io_methods.xFileSize = FileSize;
  io_methods.xLock = Lock;
  io_methods.xUnlock = Unlock;
  io_methods.xCheckReservedLock = CheckReservedLock;
  io_methods.xFileControl = FileControl;
  io_methods.xSectorSize = SectorSize;
  io_methods.xDeviceCharacteristics = DeviceCharacteristics;
  io_methods.xShmMap = ShmMap;
  io_methods.xShmLock = ShmLock;
  io_methods.xShmBarrier = ShmBarrier;
  io_methods.xShmUnmap = ShmUnmap;
}

}  // namespace

void InstallPowerCutVfs() {
  system_vfs = sqlite3_vfs_find("unix");
  HAUL_CHECK(system_vfs != nullptr && system_vfs->iVersion >= 3);
  FillMethods();
  // What is not replaced is told which VFS it is called for by pAppData, which is the system's.
  power_cut_vfs = *system_vfs;
  power_cut_vfs.zName = "power-cut";
  power_cut_vfs.szOsFile = static_cast<int>(sizeof(RecordedFile)) + system_vfs->szOsFile;
  power_cut_vfs.xOpen = Open;
  power_cut_vfs.xDelete = Delete;
  power_cut_vfs.xRandomness = Randomness;
  system_open_directory =
      reinterpret_cast<OpenDirectoryCall>(system_vfs->xGetSystemCall(system_vfs, "openDirectory"));
  HAUL_CHECK(system_open_directory != nullptr);
  HAUL_CHECK(system_vfs->xSetSystemCall(system_vfs, "openDirectory",
                                        reinterpret_cast<sqlite3_syscall_ptr>(OpenDirectory)) ==
             SQLITE_OK);
  HAUL_CHECK(sqlite3_vfs_register(&power_cut_vfs, 1) == SQLITE_OK);
}

void SeedPowerCutVfs(std::uint64_t seed) {
  randomness.seed(seed);
  sqlite3_randomness(0, nullptr);  // the next to need some asks the default VFS again
}

void RemovePowerCutVfs() {
  sqlite3_vfs_unregister(&power_cut_vfs);
  system_vfs->xSetSystemCall(system_vfs, "openDirectory", nullptr);
  sqlite3_vfs_register(system_vfs, 1);
}

}  // namespace haul::coordinator
