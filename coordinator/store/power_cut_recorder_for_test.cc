#include "coordinator/store/power_cut_recorder_for_test.h"

#include <utility>

#include "common/check.h"

namespace haul::coordinator {
namespace {

PowerCutRecorder* current_recorder = nullptr;

bool EndsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

PowerCutRecorder::PowerCutRecorder(std::string root, IgnoredSync ignored)
    : root_(std::move(root)), ignored_(std::move(ignored)) {
  HAUL_CHECK(current_recorder == nullptr);
  current_recorder = this;
  InstallPowerCutVfs();
}

PowerCutRecorder::~PowerCutRecorder() {
  RemovePowerCutVfs();
  current_recorder = nullptr;
}

PowerCutRecorder* PowerCutRecorder::current() { return current_recorder; }

bool PowerCutRecorder::IsWatched(const std::string& path) const {
  if (path == root_) return true;
  return path.compare(0, root_.size() + 1, root_ + "/") == 0 && !EndsWith(path, "-shm") &&
         !EndsWith(path, "/lock");
}

std::string PowerCutRecorder::Relative(const std::string& path) const {
  return path == root_ ? "" : path.substr(root_.size() + 1);
}

void PowerCutRecorder::Note(DiskOperation::Kind kind, const std::string& path, std::uint64_t offset,
                            std::string_view bytes) {
  if (!IsWatched(path)) return;
  DiskOperation operation{kind, Relative(path), {}, offset, std::string(bytes)};
  if (ignored_ != nullptr && ignored_(operation)) return;
  operations_.push_back(std::move(operation));
}

void PowerCutRecorder::NoteRename(const std::string& from, const std::string& to) {
  if (!IsWatched(from)) return;
  operations_.push_back({DiskOperation::Kind::kRename, Relative(from), Relative(to), 0, {}});
}

}  // namespace haul::coordinator
