// One line on stderr that tells how a job gets on; on a terminal only, and drawn at most ten times
// a second, by a thread of its own. The methods are for one thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "haul/client.h"

namespace haul::cli {

class Progress {
 public:
  // `enabled`: stderr is a terminal, and nothing else was asked for.
  explicit Progress(bool enabled);
  ~Progress() { End(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool enabled() const { return enabled_; }
  void Update(const client::JobStatus& job);
  // Takes the line away for good.
  void End();

  // While one lives the line is away, so that other text may be written.
  class Hidden {
   public:
    explicit Hidden(Progress& progress);
    ~Hidden();
    Hidden(const Hidden&) = delete;
    Hidden& operator=(const Hidden&) = delete;

   private:
    Progress& progress_;
    const std::unique_lock<std::mutex> lock_;
  };

 private:
  using Time = std::chrono::steady_clock::time_point;
  void DrawLoop(const std::stop_token& stop);
  // With mutex_ held.
  void Measure(Time now);
  void Erase();

  const bool enabled_;
  std::mutex mutex_;  // guards what follows, and stderr while the line may be drawn
  std::condition_variable_any wake_;
  bool shown_ = false;
  bool stale_ = false;  // there is something newer to show than what is shown
  std::optional<client::JobStatus> job_;
  std::optional<Time> measured_at_;
  std::uint64_t measured_done_ = 0;
  double rate_ = 0;  // tasks a second, over the last seconds
  std::jthread drawer_;
};

// The line itself, cut to `columns`.
std::string ProgressLine(const client::JobStatus& job, double tasks_per_second,
                         std::size_t columns);
// "950", "12.3k", "4.56M".
std::string FormatRate(double per_second);

}  // namespace haul::cli
