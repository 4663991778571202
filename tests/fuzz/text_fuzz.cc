// What people write: durations, sizes, cpus, choices of tasks, arrays, jobs, input sources; and
// references to outputs. The input is the text itself; of a command line its words end in line
// ends.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "cli/inputs.h"
#include "common/check.h"
#include "common/units.h"
#include "common/utf8.h"
#include "coordinator/store/output_files.h"
#include "haul/client.h"

namespace haul::fuzz {
namespace {

constexpr std::uint64_t kMostTasks = std::numeric_limits<std::int64_t>::max();

// An error is one line, whatever was written.
template <typename T>
bool IsRight(const absl::StatusOr<T>& parsed) {
  if (parsed.ok()) return true;
  const std::string message(parsed.status().message());
  HAUL_CHECK(parsed.status().code() == absl::StatusCode::kInvalidArgument);
  HAUL_CHECK(!message.empty() && message.size() < 400 && IsPrintableUtf8(message));
  return false;
}

void CheckNumbers(std::string_view text) {
  if (const auto duration_ms = ParseDurationMs(text); IsRight(duration_ms)) {
    HAUL_CHECK(!FormatDurationMs(*duration_ms).empty());
    // What is written in whole milliseconds reads back as the same.
    const auto again = ParseDurationMs(std::to_string(*duration_ms) + "ms");
    HAUL_CHECK(again.ok() && *again == *duration_ms);
  }
  if (const auto bytes = ParseBytes(text); IsRight(bytes)) {
    HAUL_CHECK(!FormatBytes(*bytes).empty());
    const auto again = ParseBytes(std::to_string(*bytes));
    HAUL_CHECK(again.ok() && *again == *bytes);
  }
  if (const auto cpus = ParseCpusMilli(text); IsRight(cpus)) {
    HAUL_CHECK(*cpus >= 1);
    const auto again = ParseCpusMilli(FormatCpus(*cpus));
    HAUL_CHECK(again.ok() && *again == *cpus);
  }
}

std::string Write(const Stride& stride) {
  return std::to_string(stride.first) + "-" + std::to_string(stride.last) + ":" +
         std::to_string(stride.step);
}

void CheckStride(const Stride& stride) {
  HAUL_CHECK(stride.step > 0 && stride.first <= stride.last && stride.last <= kMostTasks);
  HAUL_CHECK(stride.count() > 0 && stride.Contains(stride.first) && stride.Contains(stride.last));
  HAUL_CHECK(!stride.Contains(stride.last + 1));
  HAUL_CHECK(stride.first + (stride.count() - 1) * stride.step == stride.last);
}

void CheckChoices(std::string_view text) {
  if (const auto array = ParseArray(text); IsRight(array)) {
    CheckStride(*array);
    const auto again = ParseArray(Write(*array));
    HAUL_CHECK(again.ok() && *again == *array);
  }
  const auto selector = ParseSelector(text);
  if (!IsRight(selector)) return;
  HAUL_CHECK(!selector->failed || selector->strides.empty());
  const TaskRange hull = selector->Hull();
  std::string written;
  for (const Stride& stride : selector->strides) {
    CheckStride(stride);
    HAUL_CHECK(selector->Contains(stride.first) && selector->Contains(stride.last));
    HAUL_CHECK(hull.first <= stride.first && stride.last < hull.end());
    written += (written.empty() ? "" : ",") + Write(stride);
  }
  if (selector->strides.empty()) return HAUL_CHECK(hull.count == 0);
  const auto again = ParseSelector(written);
  HAUL_CHECK(again.ok() && *again == *selector);
}

void CheckJob(std::string_view text) {
  const client::JobRef job = client::JobRef::Parse(text);
  const bool is_last = job.id() == nullptr && job.name() == nullptr;
  HAUL_CHECK(is_last == (text == "last"));
  HAUL_CHECK(job.name() == nullptr || *job.name() == text);
}

// A reference leads to a file: it is one in one way of writing alone.
void CheckOutput(std::string_view text) {
  const auto name = coordinator::OutputName::Parse(text);
  if (IsRight(name)) HAUL_CHECK(name->Reference() == text);
}

void CheckUtf8(std::string_view text) {
  const std::string made = ToUtf8(text);
  HAUL_CHECK(IsUtf8(made) && (!IsUtf8(text) || made == text));
  HAUL_CHECK(!IsPrintableUtf8(text) || IsUtf8(text));
  for (std::size_t most = 0; most < 8; ++most) {
    const std::string_view cut = CutUtf8(made, most);
    HAUL_CHECK(cut.size() <= most && IsUtf8(cut) && made.starts_with(cut));
  }
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    words.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return words;
}

// Every value that the sources give has one part for each of them.
void CheckValues(const std::vector<cli::SourceText>& sources) {
  for (const cli::SourceText& source : sources) {
    if (source.is_file) return;  // nothing here reads the machine's files
  }
  const auto inputs = cli::OpenInputs(sources);
  if (!inputs.ok()) return HAUL_CHECK(sources.empty());
  constexpr int kEnough = 200;
  std::string value;
  std::string first;
  for (int i = 0; i < kEnough && (*inputs)->Next(&value); ++i) {
    if (i == 0) first = value;
    HAUL_CHECK(cli::SplitValue(value).size() >= sources.size());
  }
  HAUL_CHECK((*inputs)->status().ok());
  HAUL_CHECK((*inputs)->Rewind());
  if ((*inputs)->Next(&value)) HAUL_CHECK(value == first);
}

void CheckTail(std::string_view text) {
  std::vector<std::string> words = Words(text);
  if (!words.empty() && !cli::StartsTail(words[0])) words.insert(words.begin(), "--");
  const auto tail = cli::ParseTail(words);
  if (!tail.ok()) return HAUL_CHECK(!tail.status().message().empty());
  std::size_t kept = tail->command.size();
  for (std::size_t i = 0; i < tail->sources.size(); ++i) {
    const cli::SourceText& source = tail->sources[i];
    HAUL_CHECK(!source.linked || i > 0);
    HAUL_CHECK(!source.is_file || source.values.empty());
    kept += source.is_file ? 1 : source.values.size();
  }
  HAUL_CHECK(kept <= words.size());
  CheckValues(tail->sources);
}

}  // namespace
}  // namespace haul::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  haul::fuzz::CheckNumbers(text);
  haul::fuzz::CheckChoices(text);
  haul::fuzz::CheckJob(text);
  haul::fuzz::CheckOutput(text);
  haul::fuzz::CheckUtf8(text);
  haul::fuzz::CheckTail(text);
  return 0;
}
