#include "coordinator/store/disk_model_for_test.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "common/check.h"

namespace haul::coordinator {
namespace {

constexpr std::uint64_t kSectorBytes = 512;

bool Chance(std::mt19937_64& random, unsigned percent) { return random() % 100 < percent; }

// Writes that reach beyond the end leave what is between them undefined.
void Put(std::string& content, std::uint64_t offset, std::string_view bytes,
         std::string_view fill) {
  while (content.size() < offset) content += fill[content.size() % fill.size()];
  const std::size_t within = std::min<std::uint64_t>(bytes.size(), content.size() - offset);
  content.replace(offset, within, bytes.substr(0, within));
  content += bytes.substr(within);
}

// Of one write: all of it, some of its sectors, or its first bytes.
void PutTorn(std::string& content, std::uint64_t offset, std::string_view bytes,
             std::string_view fill, std::mt19937_64& random) {
  switch (random() % 3) {
    case 0:
      return Put(content, offset, bytes, fill);
    case 1:
      return Put(content, offset, bytes.substr(0, random() % (bytes.size() + 1)), fill);
    default:
      break;
  }
  for (std::uint64_t at = 0; at < bytes.size();) {
    const std::uint64_t length = kSectorBytes - (offset + at) % kSectorBytes;
    if (Chance(random, 50)) Put(content, offset + at, bytes.substr(at, length), fill);
    at += length;
  }
}

}  // namespace

std::string ParentOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string ToString(const DiskOperation& operation) {
  using Kind = DiskOperation::Kind;
  const std::string at = std::to_string(operation.offset);
  switch (operation.kind) {
    case Kind::kMakeFile:
      return "make " + operation.path;
    case Kind::kMakeDirectory:
      return "mkdir " + operation.path;
    case Kind::kWrite:
      return "write " + operation.path + " at " + at + " +" +
             std::to_string(operation.bytes.size());
    case Kind::kTruncate:
      return "truncate " + operation.path + " to " + at;
    case Kind::kSyncFile:
      return "sync " + operation.path;
    case Kind::kSyncDirectory:
      return "sync directory '" + operation.path + "'";
    case Kind::kRename:
      return "rename " + operation.path + " to " + operation.to;
    case Kind::kRemove:
      return "remove " + operation.path;
  }
  HAUL_UNREACHABLE("an operation without a name");
}

void DiskImage::Materialise(const std::string& root) const {
  for (const std::string& directory : directories) {
    std::filesystem::create_directory(std::filesystem::path(root) / directory);
  }
  for (const auto& [path, content] : files) {
    std::ofstream file(std::filesystem::path(root) / path, std::ios::binary);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    HAUL_CHECK(file.good());
  }
}

DiskModel::DiskModel(const DiskImage& image) {
  for (const std::string& directory : image.directories) live_[directory] = kDirectory;
  for (const auto& [path, content] : image.files) {
    live_[path] = static_cast<int>(files_.size());
    files_.push_back({content, {}});
  }
  durable_ = live_;
}

DiskModel::File& DiskModel::FileAt(const std::string& path) {
  const auto it = live_.find(path);
  HAUL_CHECK(it != live_.end() && it->second >= 0);
  return files_[static_cast<std::size_t>(it->second)];
}

void DiskModel::ChangeName(const std::string& path, int node, std::uint64_t group) {
  if (node == kNone) {
    live_.erase(path);
  } else {
    live_[path] = node;
  }
  pending_names_.push_back({path, node, group});
}

void DiskModel::ApplyWhole(const Change& change, std::string& content) {
  if (change.truncates) {
    content.resize(change.offset);
  } else {
    Put(content, change.offset, change.bytes, std::string_view("\0", 1));
  }
}

void DiskModel::Apply(const DiskOperation& operation) {
  using Kind = DiskOperation::Kind;
  switch (operation.kind) {
    case Kind::kMakeFile:
      ChangeName(operation.path, static_cast<int>(files_.size()), ++last_group_);
      files_.emplace_back();
      return;
    case Kind::kMakeDirectory:
      return ChangeName(operation.path, kDirectory, ++last_group_);
    case Kind::kWrite:
      FileAt(operation.path).pending.push_back({false, operation.offset, operation.bytes});
      return;
    case Kind::kTruncate:
      FileAt(operation.path).pending.push_back({true, operation.offset, {}});
      return;
    case Kind::kSyncFile: {
      File& file = FileAt(operation.path);
      for (const Change& change : file.pending) ApplyWhole(change, file.durable);
      file.pending.clear();
      return;
    }
    case Kind::kSyncDirectory: {
      std::vector<NameChange> rest;
      for (const NameChange& change : pending_names_) {
        if (ParentOf(change.path) != operation.path) {
          rest.push_back(change);
        } else if (change.node == kNone) {
          durable_.erase(change.path);
        } else {
          durable_[change.path] = change.node;
        }
      }
      pending_names_ = std::move(rest);
      return;
    }
    case Kind::kRename: {
      const int node = live_.at(operation.path);
      ChangeName(operation.to, node, ++last_group_);
      return ChangeName(operation.path, kNone, last_group_);
    }
    case Kind::kRemove:
      return ChangeName(operation.path, kNone, ++last_group_);
  }
}

std::string DiskModel::ContentAfterCut(const File& file, Survival survival,
                                       std::mt19937_64& random) {
  std::string content = file.durable;
  switch (survival) {
    case Survival::kNothing:
      return content;
    case Survival::kEverything:
      for (const Change& change : file.pending) ApplyWhole(change, content);
      return content;
    case Survival::kAnything:
      break;
  }
  const std::string garbage = {static_cast<char>(random()), static_cast<char>(random()), '\x7f'};
  const std::string fill = Chance(random, 50) ? std::string(1, '\0') : garbage;
  const unsigned kept_percent = 10 + static_cast<unsigned>(random() % 85);
  for (const Change& change : file.pending) {
    if (change.truncates) {
      if (Chance(random, kept_percent)) content.resize(change.offset);
    } else if (Chance(random, kept_percent)) {
      PutTorn(content, change.offset, change.bytes, fill, random);
    } else if (Chance(random, 30)) {
      // The file has grown, and what it grew by is not there.
      Put(content, std::max<std::uint64_t>(content.size(), change.offset + change.bytes.size()), "",
          fill);
    }
  }
  return content;
}

DiskModel::Names DiskModel::NamesAfterCut(Survival survival, std::mt19937_64& random) const {
  Names names = durable_;
  std::uint64_t group = 0;
  bool kept = survival == Survival::kEverything;
  for (const NameChange& change : pending_names_) {
    if (survival == Survival::kAnything && change.group != group) kept = Chance(random, 50);
    group = change.group;
    if (!kept) continue;
    if (change.node == kNone) {
      names.erase(change.path);
    } else {
      names[change.path] = change.node;
    }
  }
  return names;
}

DiskImage DiskModel::Cut(Survival survival, std::mt19937_64& random) const {
  DiskImage image;
  std::set<std::string> directories = {""};
  // Ordered by path, so a directory comes before what is in it. What is in one that is lost is
  // lost.
  for (const auto& [path, node] : NamesAfterCut(survival, random)) {
    if (!directories.contains(ParentOf(path))) continue;
    if (node == kDirectory) {
      directories.insert(path);
      image.directories.push_back(path);
    } else {
      image.files[path] = ContentAfterCut(files_[static_cast<std::size_t>(node)], survival, random);
    }
  }
  return image;
}

}  // namespace haul::coordinator
