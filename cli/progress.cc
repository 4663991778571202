#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/format.h"
#include "common/units.h"

namespace haul::cli {
namespace {

constexpr std::chrono::milliseconds kRedrawInterval{100};
constexpr double kRateHalfLifeSeconds = 2;

std::size_t TerminalColumns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string Bar(double share) {
  constexpr std::size_t kWidth = 20;
  const auto filled = static_cast<std::size_t>(std::lround(share * kWidth));
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "]";
}

}  // namespace

std::string FormatRate(double per_second) {
  if (per_second >= 1e6) return absl::StrFormat("%.2fM", per_second / 1e6);
  if (per_second >= 1e4) return absl::StrFormat("%.1fk", per_second / 1e3);
  if (per_second >= 10) return absl::StrFormat("%.0f", per_second);
  return absl::StrFormat("%.1f", per_second);
}

std::string ProgressLine(const client::JobStatus& job, double tasks_per_second,
                         std::size_t columns) {
  const std::uint64_t total = std::max<std::uint64_t>(job.task_count, 1);
  const std::uint64_t done = std::min(job.done(), total);
  constexpr std::size_t kLeastColumnsForBar = 60;
  std::string line = absl::StrCat("job ", job.id.value, " ");
  if (columns >= kLeastColumnsForBar) {
    absl::StrAppend(&line, Bar(static_cast<double>(done) / static_cast<double>(total)), " ");
  }
  absl::StrAppend(&line, done, "/", total);
  const std::uint64_t unsuccessful = job.failed + job.cancelled + job.lost;
  if (unsuccessful > 0) absl::StrAppend(&line, "  ", unsuccessful, " failed");
  if (job.assigned == 0 && !job.waiting_reason.empty() && !job.ended()) {
    absl::StrAppend(&line, "  waiting: ", Printable(job.waiting_reason));
  } else if (tasks_per_second > 0) {
    absl::StrAppend(&line, "  ", FormatRate(tasks_per_second), "/s");
    const double left_ms = static_cast<double>(total - done) / tasks_per_second * 1000;
    constexpr double kMostMs = 100.0 * 24 * 3600 * 1000;
    if (done < total && left_ms < kMostMs) {
      absl::StrAppend(&line, "  ETA ", FormatDurationMs(static_cast<std::uint64_t>(left_ms)));
    }
  }
  // Cut between characters, and one column short: a full line would wrap on some terminals.
  std::size_t end = std::min(line.size(), columns > 0 ? columns - 1 : 0);
  while (end > 0 && end < line.size() && (line[end] & 0xC0) == 0x80) --end;
  line.resize(end);
  return line;
}

Progress::Progress(bool enabled) : enabled_(enabled) {
  if (enabled_) drawer_ = std::jthread([this](const std::stop_token& stop) { DrawLoop(stop); });
}

void Progress::Update(const client::JobStatus& job) {
  if (!enabled_) return;
  const std::lock_guard lock(mutex_);
  job_ = job;
  Measure(std::chrono::steady_clock::now());
  stale_ = true;
  wake_.notify_one();
}

void Progress::End() {
  if (!drawer_.joinable()) return;
  drawer_.request_stop();
  drawer_.join();
  const std::lock_guard lock(mutex_);
  Erase();
}

Progress::Hidden::Hidden(Progress& progress) : progress_(progress), lock_(progress.mutex_) {
  progress_.Erase();
}

Progress::Hidden::~Hidden() {
  progress_.stale_ = true;
  progress_.wake_.notify_one();
}

void Progress::DrawLoop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return stale_ && job_.has_value(); })) {
    stale_ = false;
    Erase();
    std::fputs(ProgressLine(*job_, rate_, TerminalColumns()).c_str(), stderr);
    std::fflush(stderr);
    shown_ = true;
    wake_.wait_for(lock, stop, kRedrawInterval, [] { return false; });
  }
}

void Progress::Measure(Time now) {
  if (!measured_at_.has_value()) {
    measured_at_ = now;
    measured_done_ = job_->done();
    return;
  }
  const double seconds = std::chrono::duration<double>(now - *measured_at_).count();
  constexpr double kLeastSeconds = 0.1;
  if (seconds < kLeastSeconds) return;
  const double rate = static_cast<double>(job_->done() - measured_done_) / seconds;
  const double keep = rate_ == 0 ? 0 : std::exp2(-seconds / kRateHalfLifeSeconds);
  rate_ = rate_ * keep + rate * (1 - keep);
  measured_at_ = now;
  measured_done_ = job_->done();
}

void Progress::Erase() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

}  // namespace haul::cli
