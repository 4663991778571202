// One line on stderr that tells how a job gets on; on a terminal only, and redrawn at most ten
// times a second. One thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "haul/client.h"

namespace haul::cli {

class Progress {
 public:
  // `enabled`: stderr is a terminal, and nothing else was asked for.
  explicit Progress(bool enabled) : enabled_(enabled) {}
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(const client::JobStatus& job);
  // Takes the line away, so that other text may be written; Redraw puts it back.
  void Clear();
  void Redraw();

 private:
  void Draw();

  const bool enabled_;
  bool shown_ = false;
  std::optional<client::JobStatus> job_;
  std::optional<std::chrono::steady_clock::time_point> drawn_at_;
  // Tasks a second, over the last seconds.
  std::optional<std::chrono::steady_clock::time_point> measured_at_;
  std::uint64_t measured_done_ = 0;
  double rate_ = 0;
};

// The line itself, cut to `columns`.
std::string ProgressLine(const client::JobStatus& job, double tasks_per_second,
                         std::size_t columns);
// "950", "12.3k", "4.56M".
std::string FormatRate(double per_second);

}  // namespace haul::cli
