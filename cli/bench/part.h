// The parts of `haul bench run`: what is measured, what it is held against in the same run, and
// what it is to reach. Main thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/bench/cluster.h"
#include "haul/client.h"

namespace haul::cli {

struct BenchSizes {
  std::uint64_t tasks = 10'000'000;  // of an array job of functions that do nothing
  std::uint64_t values = 1'000'000;  // tasks with an input or a result of their own
  std::uint64_t commands = 5'000;
  std::uint64_t calls = 2'000;  // one after the other
  int threads = 2;              // of the worker
  bool volatile_jobs = false;
};

// What a part is measured in. Without a cluster, client() must not be called.
struct BenchContext {
  const BenchSizes& sizes;
  Client* connected = nullptr;
  const BenchCluster* cluster = nullptr;  // none where the user named a coordinator
  Client& client() const { return *connected; }
};
using Measure = std::function<client::Result<double>(const BenchContext&)>;

// Measured by turns with the part itself.
struct Yardstick {
  std::string name;
  Measure measure;
  std::optional<double> to_reach;  // measured / yardstick
  bool any_cluster = false;        // measured in the part's own cluster, wherever that is
  bool durable = false;            // commits what it does, as the part with volatile jobs does not
};

struct BenchPart {
  std::string name;
  std::string unit;
  std::optional<double> to_reach;
  bool less_is_better = false;
  // Workers of the part's own cluster; none: it starts what it needs itself.
  std::optional<int> workers = 1;
  int threads = 0;           // of each; 0: as asked for
  bool any_cluster = false;  // can be measured where --coordinator says
  Measure measure;
  std::vector<Yardstick> against;
};

std::vector<BenchPart> FunctionParts();
std::vector<BenchPart> CommandParts();
std::vector<BenchPart> LatencyParts();
std::vector<BenchPart> MemoryParts();
std::vector<BenchPart> ProgramParts();
std::vector<BenchPart> GrowthParts();

// Takes from the part what says nothing of it: with volatile jobs a yardstick that commits, and in
// a cluster that the user named the marks and floors of this machine.
void LeaveOutWhatDiffers(BenchPart& part, const BenchSizes& sizes, bool own_cluster);

// ---- what they share

// The seconds from submit to the end of a job whose tasks must all succeed.
client::Result<double> TimeJob(Client& client, const client::JobSpec& spec);
client::Result<double> TimeJob(Client& client, const client::JobSpec& spec,
                               client::InputSource& inputs);
// Asks again and again until it holds. kFailed: not within the limit; "60 s passed before WHAT".
client::Status AwaitThat(const std::string& what, std::chrono::seconds limit,
                         const std::function<client::Result<bool>()>& holds);
// Of the examples' library.
client::JobSpec NoopJob(std::uint64_t tasks, bool volatile_job);
client::JobSpec CommandJob(std::vector<std::string> arguments, std::uint64_t tasks,
                           bool volatile_job);

// A value for each task, made as it is asked for.
class MadeSource : public client::InputSource {
 public:
  MadeSource(std::uint64_t count, std::function<std::string(std::uint64_t)> make)
      : count_(count), make_(std::move(make)) {}
  bool Next(std::string* value) override {
    if (next_ == count_) return false;
    *value = make_(next_++);
    return true;
  }
  bool Rewind() override {
    next_ = 0;
    return true;
  }

 private:
  const std::uint64_t count_;
  const std::function<std::string(std::uint64_t)> make_;
  std::uint64_t next_ = 0;
};

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

double Median(std::vector<double> values);  // of at least one
// The least that `share` of the values do not exceed.
double Percentile(std::vector<double> values, double share);

}  // namespace haul::cli
