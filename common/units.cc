#include "common/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace haul {
namespace {

// What is wrong may be long or hold anything; an error stays one readable line.
std::string Quote(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kShown))
    quoted += absl::ascii_isprint(static_cast<unsigned char>(c)) ? c : '?';
  return quoted + (text.size() > kShown ? "…\"" : "\"");
}

absl::Status Bad(std::string_view what, std::string_view text, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is not %s: write %s", Quote(text), what, expected));
}

bool ParseNumber(std::string_view text, std::uint64_t* out) {
  const char* end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, *out);
  return result.ec == std::errc() && result.ptr == end;
}

// "5", "1-10" or "1-10:2".
bool ParseStride(std::string_view text, Stride* out) {
  Stride stride;
  const std::size_t colon = text.find(':');
  const std::string_view range = text.substr(0, colon);
  const std::size_t dash = range.find('-');
  if (!ParseNumber(range.substr(0, dash), &stride.first)) return false;
  stride.last = stride.first;
  if (dash != std::string_view::npos && !ParseNumber(range.substr(dash + 1), &stride.last)) {
    return false;
  }
  if (colon != std::string_view::npos) {
    if (dash == std::string_view::npos || !ParseNumber(text.substr(colon + 1), &stride.step)) {
      return false;
    }
  }
  if (stride.step == 0 || stride.last < stride.first) return false;
  if (stride.last > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return false;
  }
  stride.last = stride.first + (stride.last - stride.first) / stride.step * stride.step;
  *out = stride;
  return true;
}

}  // namespace

absl::StatusOr<std::uint64_t> ParseDurationMs(std::string_view text) {
  constexpr std::string_view kWhat = "a duration";
  constexpr std::string_view kExpected = "for example 500ms, 15m or 1h30m";
  absl::Duration duration;
  if (!absl::ParseDuration(std::string(text), &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return Bad(kWhat, text, kExpected);
  }
  const std::int64_t milliseconds = absl::ToInt64Milliseconds(duration);
  if (milliseconds == 0 && duration != absl::ZeroDuration()) {
    return Bad(kWhat, text, "at least 1ms");
  }
  return static_cast<std::uint64_t>(milliseconds);
}

std::string FormatDurationMs(std::uint64_t duration_ms) {
  if (duration_ms < 1000) return absl::StrCat(duration_ms, "ms");
  if (duration_ms < 60'000)
    return absl::StrFormat("%.1fs", std::floor(static_cast<double>(duration_ms) / 100) / 10);
  const std::uint64_t seconds = duration_ms / 1000;
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
}

absl::StatusOr<std::uint64_t> ParseBytes(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 10> kUnits = {{
      {"", 1},
      {"B", 1},
      {"KiB", 1ull << 10},
      {"MiB", 1ull << 20},
      {"GiB", 1ull << 30},
      {"TiB", 1ull << 40},
      {"kB", 1000},
      {"MB", 1000'000},
      {"GB", 1000'000'000},
      {"TB", 1000'000'000'000},
  }};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string_view unit = text.substr(digits);
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  std::uint64_t number = 0;
  for (const auto& [name, factor] : kUnits) {
    if (unit != name || !ParseNumber(text.substr(0, digits), &number)) continue;
    if (number > std::numeric_limits<std::uint64_t>::max() / factor) break;
    return number * factor;
  }
  return Bad("a size", text, "for example 512, 64KiB or 10MB");
}

std::string FormatBytes(std::uint64_t byte_count) {
  if (byte_count < 1024) return absl::StrCat(byte_count, " B");
  constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(byte_count) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

absl::StatusOr<std::uint32_t> ParseCpusMilli(std::string_view text) {
  constexpr std::string_view kWhat = "a number of cpus";
  double cpus = 0;
  if (!absl::SimpleAtod(std::string(text), &cpus) || !std::isfinite(cpus)) {
    return Bad(kWhat, text, "for example 0.1, 1 or 4");
  }
  const double milli = std::round(cpus * 1000);
  if (milli < 1) return Bad(kWhat, text, "at least 0.001");
  if (milli > std::numeric_limits<std::uint32_t>::max()) {
    return Bad(kWhat, text, "at most 4294967");
  }
  return static_cast<std::uint32_t>(milli);
}

std::string FormatCpus(std::uint64_t cpus_milli) {
  std::string text = absl::StrFormat("%d.%03d", cpus_milli / 1000, cpus_milli % 1000);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

bool Selector::Contains(TaskIndex index) const {
  if (strides.empty()) return true;
  return std::any_of(strides.begin(), strides.end(),
                     [index](const Stride& stride) { return stride.Contains(index); });
}

TaskRange Selector::Hull() const {
  if (strides.empty()) return {};
  TaskIndex first = strides.front().first;
  TaskIndex last = strides.front().last;
  for (const Stride& stride : strides) {
    first = std::min(first, stride.first);
    last = std::max(last, stride.last);
  }
  return {first, last - first + 1};
}

absl::StatusOr<Selector> ParseSelector(std::string_view text) {
  Selector selector;
  if (text == "all") return selector;
  if (text == "failed") {
    selector.failed = true;
    return selector;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    Stride stride;
    if (!ParseStride(text.substr(begin, end - begin), &stride)) {
      return Bad("a choice of tasks", text, "for example 5, 1-10:2, 1,3,5-8, failed or all");
    }
    selector.strides.push_back(stride);
    begin = end + 1;
  }
  return selector;
}

absl::StatusOr<Stride> ParseArray(std::string_view text) {
  Stride stride;
  if (!ParseStride(text, &stride)) {
    return Bad("an array of indices", text, "FIRST-LAST or FIRST-LAST:STEP, for example 0-99:2");
  }
  return stride;
}

std::string FormatRfc3339(std::int64_t unix_us) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", absl::FromUnixMicros(unix_us),
                          absl::UTCTimeZone());
}

}  // namespace haul
